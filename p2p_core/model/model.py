"""A thin `Model` around a diffusers pipeline: latents and pictures, text, and the UNet's call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..attention import AttentionLayer
from ..contexts import leave_inference_mode, lock_of, share_lock
from ..errors import BadLatents, BadSize, UnsupportedModel, shown
from ..injection import AttentionContext
from ..prompt import Prompt
from ..sampler import is_guided
from ..settings import floats_of
from .compiling import compile_regions
from .hub import MORE, PARTS
from .loading import DTYPES, cast, choose_dtype, find_preview_vae
from .offload import hook_device, is_group_offloaded, is_hooked, stored_weight
from .preview import LinearPreview
from .supported import check_pipeline
from .text_encoder import Conditioning, TextEncoders
from .unet_attention import Processor, find_attention_layers, installed
from .vae import Autoencoder, check_finite
from .watch import Watch

MAX_LIGHT_VAE_WEIGHTS = 10_000_000  # of a decoder that previews can wait for


class Model:
    """A pipeline's parts behind embed, noise shape, predict and decode. Sizes are read from its configs."""

    unet: Any
    device: torch.device
    dtype: torch.dtype
    _digest = ""

    def __init__(
        self,
        pipe: Any,
        device: torch.device,
        dtype: torch.dtype | None,
        name: str,
        preview_vae: Any = None,
        offload: bool = False,
        compiled: bool = False,
    ) -> None:
        self.pipe, self.name = pipe, name
        self._asked = device, dtype, offload, compiled
        self._unsampled = 0  # changes of what no digest tells apart
        self._read()
        light = sum(p.numel() for p in pipe.vae.decoder.parameters()) < MAX_LIGHT_VAE_WEIGHTS
        self.previews_by_decoding = light and not is_hooked(pipe.vae)  # hooks may move the UNet out for it
        if preview_vae == "auto" and (light or self.device.type != "cuda"):
            preview_vae = None  # Decoding is quick, or even a small decoder is slow.
        self.preview_vae = find_preview_vae(preview_vae, self.texts.two)
        if self.preview_vae is not None:
            cast(self.preview_vae, self.device, self.dtype).eval()
        self._linear = LinearPreview()

    def _read(self) -> None:
        """Read the pipeline as it is now, and put its parts where they run. Raises `UnsupportedModel`."""
        pipe, (device, asked, offload, compiled) = self.pipe, self._asked
        check_pipeline(pipe)
        hooked = hook_device(getattr(pipe, part, None) for part in (*PARTS, *MORE))
        vae_dtype = pipe.vae.dtype if asked is None else asked
        dtype = asked
        if dtype is None:
            dtype = pipe.unet.dtype if pipe.unet.dtype in DTYPES.values() else choose_dtype(None, device)
        if hooked is not None:
            device, dtype = hooked, pipe.unet.dtype
        first = not self._digest
        if not first and (device, dtype) != (self.device, self.dtype):
            raise UnsupportedModel(
                f"The pipeline has come to {dtype} on {device}; expected {self.dtype} on {self.device}. "
                "PromptToPrompt(pipe) makes one that runs it as it is now."
            )
        another = first or pipe.unet is not self.unet
        if another and not first:
            share_lock(pipe.unet, self.unet)
        self.unet, self.device, self.dtype = pipe.unet, device, dtype
        self.texts = TextEncoders(pipe, device, dtype)
        with lock_of(pipe.unet):
            vae_dtype = self._place(offload and device.type != "cpu" and hooked is None, vae_dtype)
            self._stored_dtype = pipe.unet.conv_in.weight.dtype
        self.vae = Autoencoder(pipe, device, vae_dtype)
        if compiled and another:
            compile_regions(pipe.unet)
        self.sites = find_attention_layers(self.unet)
        self._layers = {site: self.unet.get_submodule(site.name) for site in self.sites}
        self.channels = int(self.unet.config.in_channels)
        self.factor = self.vae.factor
        size = self.unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        self.default_size = (h * self.factor, w * self.factor)
        self._processors = {site: Processor(site) for site in self.sites}
        self.__dict__.pop("fingerprint", None)
        self._watch, before = Watch(pipe), self._digest
        self._digest = self._watch.digest()
        self._unsampled += self._digest == before
        self._version = f"{self._digest}{self._unsampled or ''}"

    def _place(self, offload: bool, vae_dtype: torch.dtype) -> torch.dtype:
        """Put each part where it runs, unless hooks do, or with `offload` have the pipeline's hooks do so.
        -> the autoencoder's dtype
        """
        vae = self.pipe.vae
        vae_dtype = vae.dtype if is_hooked(vae) else vae_dtype
        if self.texts.two and vae_dtype == torch.float16 and vae.config.force_upcast:
            if is_group_offloaded(vae):
                raise UnsupportedModel(
                    "This autoencoder overflows in float16, and group offloading doesn't let it be float32; "
                    'expected one that runs in float16, or enable_group_offload(exclude_modules="vae").'
                )
            vae_dtype = torch.float32
        home = torch.device("cpu") if offload else self.device
        for part in (self.unet, *self.texts.encoders, vae):
            if not is_hooked(part):
                leave_inference_mode(cast(part, home, vae_dtype if part is vae else self.dtype))
                if part is vae or (part is self.unet and self.device.type == "cuda"):
                    part.to(memory_format=torch.channels_last)  # Convolutions run fastest on it.
            elif part is vae and vae.dtype != vae_dtype:
                cast(part, None, vae_dtype)
            part.eval()
        if offload:
            self.pipe.enable_model_cpu_offload(device=self.device)
        return vae_dtype

    @cached_property
    def fingerprint(self) -> str:
        """Tells models apart, in any process: a digest of every weight's name, shape and beginning."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.unet, self.pipe.vae, *self.texts.encoders):
            for name, weight in part.state_dict().items():
                weight = stored_weight(part, name, weight)
                digest.update(f"{name}{tuple(weight.shape)}".encode())
                digest.update(weight.detach().flatten()[:16].float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def nbytes(self) -> tuple[int, int]:
        """Of a state (its latents, and the clean ones predicted on the way) and of a picture, at the default
        size."""
        h, w = self.default_size
        return 2 * self.channels * (h // self.factor) * (w // self.factor) * self.dtype.itemsize, 3 * h * w

    def latent_size(self, height: object, width: object) -> tuple[int, int]:
        """(h, w) of the latents for a picture size; None: the model's own. Raises `BadSize`."""
        sizes = []
        for name, value, default in (
            ("height", height, self.default_size[0]),
            ("width", width, self.default_size[1]),
        ):
            value = default if value is None else value
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 0 < value <= 4096 or value % self.factor:  # type: ignore[operator]
                raise BadSize(
                    f"The {name} is a multiple of {self.factor} pixels, at most 4096; got {shown(value)}."
                )
            sizes.append(int(value) // self.factor)  # type: ignore[arg-type]
        return sizes[0], sizes[1]

    def check_latents(self, latents: object, size: tuple[int, int]) -> Tensor:
        """Start latents as (1, C, h, w) in the model's dtype. Raises `BadLatents`."""
        shape = (1, self.channels, *size)
        if isinstance(latents, str):
            numbers = floats_of(latents)
            latents = numbers.reshape(shape) if numbers.size == np.prod(shape) else numbers
        if isinstance(latents, np.ndarray):
            latents = torch.from_numpy(latents)
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            raise BadLatents(
                f"latents are a tensor of floats of shape {shape}; got {type(latents).__name__}."
            )
        if tuple(latents.shape) not in (shape, shape[1:]):
            raise BadLatents(f"latents must have the shape {shape}; got {tuple(latents.shape)}.")
        if not bool(latents.isfinite().all()):
            raise BadLatents("latents must be finite; got some that are NaN or infinite.")
        return latents.reshape(shape).to(self.device, self.dtype)

    @torch.no_grad()
    def embed(self, prompt: Prompt) -> Tensor:
        """The text encoder's output, (1, S, d)."""
        return self.texts.encode(prompt)[0]

    def version(self) -> str:
        """Names the pipeline as it is. Whatever has changed in it since is read anew, and makes another name.

        Raises `UnsupportedModel` for what it has become.
        """
        self._check_dtype()
        if not self._watch.unchanged():
            self._read()
        return self._version

    def _check_dtype(self) -> None:
        """Raises `UnsupportedModel` if somebody has cast the pipeline, another engine, say."""
        now = self.unet.conv_in.weight.dtype
        if now != self._stored_dtype:
            raise UnsupportedModel(
                f"The pipeline was cast to {now} after this PromptToPrompt was made; expected "
                f"{self._stored_dtype}, as it was. PromptToPrompt(pipe) makes one that runs it as it is now."
            )

    def at_lora_scale(self, scale: float) -> AbstractContextManager[None]:
        """All its LoRAs at `scale` times the strength that the pipeline's owner gave them."""
        return self.texts.lora.at((self.unet, *self.texts.encoders), scale)

    def guided(self, guidance_scale: float) -> bool:
        """Whether an unconditional row is run beside the conditional one."""
        return is_guided(guidance_scale) and not self.texts.reads_guidance

    @torch.no_grad()
    def text(
        self,
        rows: Sequence[Prompt | Tensor],
        size: tuple[int, int],
        guidance_scale: float = 1.0,
        unconditional: int = 0,
    ) -> Conditioning:
        """A batch of prompts, or of embeddings (1, S, d) in their place, for latents of (h, w).

        unconditional: the number of rows, from the first, that are so.
        """
        pixels = (size[0] * self.factor, size[1] * self.factor)
        return self.texts.text(rows, guidance_scale, pixels, unconditional)

    def predict(self, x: Tensor, t: Tensor, text: Conditioning | Tensor, context: AttentionContext) -> Tensor:
        """The UNet's output for latents (B, C, h, w) at timestep t with text of B or 2B rows.

        With 2B rows of text, the unconditional ones first, the latents are taken twice. A tensor (., S, d) is
        a text that is projected in this call alone.
        """
        self._check_dtype()
        if isinstance(text, Tensor):
            text = Conditioning(rows=text)
        else:
            context.projections = text.projections
        x = torch.cat([x, x]) if text.rows.shape[0] == 2 * x.shape[0] else x
        injection, added = context.injection, text.added_cond
        with installed(self._layers, self._processors):
            out = self.unet(
                x,
                self._time(t),
                encoder_hidden_states=text.rows,
                timestep_cond=text.guidance,
                added_cond_kwargs=added if injection is None else injection.added_cond(added),
                cross_attention_kwargs={"p2p": context},
                return_dict=False,
            )[0]
        if len(context.fired) != len(self.sites):  # diffusers only warns when a processor isn't asked
            raise UnsupportedModel(f"{len(context.fired)} of {len(self.sites)} attention layers took part.")
        return out  # type: ignore[no-any-return]

    def _time(self, t: Tensor) -> Tensor:
        """A timestep on the device, where those of `AttentionStore.sampler` lie already."""
        return t if t.device.type == self.device.type else t.to(self.device)

    @torch.no_grad()
    def decode(self, latents: Tensor, final: bool = False) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture. In tiles where the device's memory is low.

        final: of a run's end, which raises `P2PError` instead of a black picture where numbers overflow.
        """
        z = latents.reshape(1, *latents.shape[-3:])
        pixels = self.vae.decode(z)
        if final:
            check_finite(z, "The model", self.dtype)
            check_finite(pixels, "The autoencoder", self.vae.dtype)
        if self.preview_vae is None and not self.previews_by_decoding:
            self._linear.learn(z.to(self.device), pixels)
        return self.vae.picture(pixels, final)

    @torch.no_grad()
    def encode(self, picture: Image.Image) -> Tensor:
        """An RGB picture of the model's size -> latents (1, C, h, w), the mean of what the encoder says."""
        return self.vae.encode(picture).to(self.dtype)

    def preview(self, latents: Tensor) -> Image.Image:
        """A quick look at latents: by the preview's autoencoder if there is one, decoded where the decoder is
        small, else by a linear map to RGB that is fitted to the pictures decoded before."""
        x = latents.reshape(latents.shape[-3:])
        if self.preview_vae is not None:
            with torch.no_grad():
                pixels = self.preview_vae.decode(x[None].to(self.device, self.dtype), return_dict=False)[0]
            return self.vae.picture(pixels)
        if self.previews_by_decoding or not self._linear.learned:
            return self.decode(x)
        return self._linear.picture(x, self.factor)

    def layers(self) -> Mapping[AttentionLayer, Any]:
        return self._layers
