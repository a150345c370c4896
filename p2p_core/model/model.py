"""A thin `Model` around a diffusers pipeline: latents and pictures, text, and the UNet's call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..attention import AttentionContext, AttentionLayer
from ..errors import BadLatents, BadSize, UnsupportedModel, shown
from ..memory import decode_fits, empty_cache, free_bytes
from ..prompt import Prompt
from ..sampler import is_guided
from ..schedulers import check_scheduler
from .compiling import compile_regions
from .loading import MORE, PARTS, find_preview_vae
from .preview import LinearPreview
from .text_encoder import Conditioning, TextEncoders, lent, weights_stamp
from .unet_attention import Processor, find_attention_layers, installed


class Model:
    """A pipeline's parts behind embed, noise shape, predict and decode. Sizes are read from its configs."""

    def __init__(
        self,
        pipe: Any,
        device: torch.device,
        dtype: torch.dtype,
        name: str,
        preview_vae: Any = None,
        offload: bool = False,
        compiled: bool = False,
    ) -> None:
        missing = [part for part in PARTS if getattr(pipe, part, None) is None]
        if missing:
            raise UnsupportedModel(
                "Expected a Stable Diffusion 1.x, 2.x or XL pipeline with unet, vae, text_encoder, tokenizer "
                f"and scheduler; {type(pipe).__name__} has no {', '.join(missing)}."
            )
        channels, latent_channels = pipe.unet.config.in_channels, pipe.vae.config.latent_channels
        if channels != latent_channels:
            raise UnsupportedModel(
                f"Expected a UNet that takes the autoencoder's {latent_channels} latent channels; got one "
                f"that takes {channels}, as those for inpainting do."
            )
        check_scheduler(pipe.scheduler)
        hooked = [part for part in (*PARTS, *MORE) if _hooked(getattr(pipe, part, None))]
        if hooked:
            raise UnsupportedModel(
                f"accelerate moves {', '.join(hooked)} about (enable_model_cpu_offload or a device_map); "
                "expected a pipeline without its hooks: pipe.remove_all_hooks() takes them away, and "
                "offload=True here saves memory too."
            )
        self.pipe, self.name, self.device, self.dtype = pipe, name, device, dtype
        self.offload = offload and device.type != "cpu"
        self.texts = TextEncoders(pipe, device, dtype, self.offload)
        upcast = self.texts.two and dtype == torch.float16 and pipe.vae.config.force_upcast
        self.vae_dtype = torch.float32 if upcast else dtype  # SDXL's autoencoder overflows in float16
        home = torch.device("cpu") if self.offload else device
        pipe.unet.to(device=device, dtype=dtype).eval()
        for encoder in self.texts.encoders:
            encoder.to(device=home, dtype=dtype).eval()
        pipe.vae.to(device=home, dtype=self.vae_dtype).eval()
        if device.type == "cuda":  # what convolutions run fastest on there
            for part in (pipe.unet, pipe.vae):
                part.to(memory_format=torch.channels_last)
        if compiled:
            compile_regions(pipe.unet)
        self.unet = pipe.unet
        self._version = ""
        self.sites = find_attention_layers(self.unet)
        self._layers = {site: self.unet.get_submodule(site.name) for site in self.sites}
        self.channels = int(self.unet.config.in_channels)
        self.factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        size = self.unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        self.default_size = (h * self.factor, w * self.factor)
        self._processors = {site: Processor(site) for site in self.sites}
        self._light_vae = sum(p.numel() for p in pipe.vae.decoder.parameters()) < 10_000_000
        if preview_vae == "auto" and (self._light_vae or device.type != "cuda"):
            preview_vae = None  # decoding is quick, or even a small decoder is not
        self.preview_vae = find_preview_vae(preview_vae, self.texts.two)
        if self.preview_vae is not None:
            self.preview_vae.to(device=device, dtype=dtype).eval()
        self._linear = LinearPreview()

    @cached_property
    def fingerprint(self) -> str:
        """Tells models apart, in any process: a digest of every weight's name, shape and beginning."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.unet, self.pipe.vae, *self.texts.encoders):
            for name, weight in part.state_dict().items():
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
            sizes.append(int(value) // self.factor)  # type: ignore[call-overload,arg-type]
        return sizes[0], sizes[1]

    def check_latents(self, latents: object, size: tuple[int, int]) -> Tensor:
        """Given start latents as (1, C, h, w) in the model's dtype. Raises `BadLatents`."""
        shape = (1, self.channels, *size)
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
        """A digest that changes with the weights: a LoRA that is loaded, scaled, fused or unloaded.

        When it does, the prompts' encodings are forgotten.
        """
        now = weights_stamp(self.unet, self.texts.encoders)
        if now != self._version:
            self.texts.forget()
            self._version = now
        return now

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

    def predict(self, x: Tensor, t: Tensor, text: Conditioning | Tensor, call: AttentionContext) -> Tensor:
        """The UNet's output for latents (B, C, h, w) at timestep t with text of B or 2B rows.

        With 2B rows of text, the unconditional ones first, the latents are taken twice. A tensor (., S, d) is
        a text that is projected in this call alone.
        """
        if isinstance(text, Tensor):
            text = Conditioning(rows=text)
        else:
            call.projections = text.projections
        x = torch.cat([x, x]) if text.rows.shape[0] == 2 * x.shape[0] else x
        with installed(self._layers, self._processors):
            out = self.unet(
                x,
                self._time(t),
                encoder_hidden_states=text.rows,
                timestep_cond=text.guidance,
                added_cond_kwargs=text.added,
                cross_attention_kwargs={"p2p": call},
                return_dict=False,
            )[0]
        if len(call.fired) != len(self.sites):  # diffusers only warns when a processor isn't asked
            raise UnsupportedModel(f"{len(call.fired)} of {len(self.sites)} attention layers took part.")
        return out

    def _time(self, t: Tensor) -> Tensor:
        """A timestep on the device, where those of `AttentionStore.sampler` lie already."""
        return t if t.device.type == self.device.type else t.to(self.device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture. In tiles where the device's memory is low."""
        z = latents.reshape(1, *latents.shape[-3:]).to(self.device)
        vae = self.pipe.vae
        x, own = z.to(self.vae_dtype), self._own_spread()
        x = x * own[0] / vae.config.scaling_factor + own[1] if own else x / vae.config.scaling_factor
        with lent(vae, self.device, self.offload):
            pixels = self._decoded(x)
        if self.preview_vae is None and not self._light_vae:
            self._linear.learn(z, pixels)
        return self.pipe.image_processor.postprocess(pixels, output_type="pil")[0]

    def _decoded(self, x: Tensor) -> Tensor:
        vae, (h, w) = self.pipe.vae, x.shape[-2:]
        pixels = (h * self.factor, w * self.factor)
        if decode_fits(vae, pixels, x.element_size(), free_bytes(self.device)):
            with suppress(torch.OutOfMemoryError):
                return vae.decode(x, return_dict=False)[0]
        empty_cache(self.device)
        with tiled(vae, max(8, min(64, max(h, w) // 2)), self.factor):
            return vae.decode(x, return_dict=False)[0]

    @torch.no_grad()
    def encode(self, picture: Image.Image) -> Tensor:
        """An RGB picture of the model's size -> latents (1, C, h, w), the mean of what the encoder says."""
        vae = self.pipe.vae
        x = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        x = x.to(self.device, self.vae_dtype) / 127.5 - 1
        with lent(vae, self.device, self.offload):
            z, own = vae.encode(x).latent_dist.mean, self._own_spread()
        z = ((z - own[1]) / own[0] if own else z) * vae.config.scaling_factor
        return z.to(self.dtype)  # type: ignore[no-any-return]

    def _own_spread(self) -> tuple[Tensor, Tensor] | None:
        """(std, mean), (C, 1, 1) each, where the autoencoder's config says them for each channel."""
        std, mean = (getattr(self.pipe.vae.config, f"latents_{name}", None) for name in ("std", "mean"))
        if std is None or mean is None:
            return None
        of = partial(torch.tensor, dtype=self.vae_dtype, device=self.device)
        return of(std).reshape(-1, 1, 1), of(mean).reshape(-1, 1, 1)

    def preview(self, latents: Tensor) -> Image.Image:
        """A quick look at latents: by the preview's autoencoder if there is one, decoded where the decoder is
        small, else by a linear map to RGB that is fitted to the pictures decoded before."""
        x = latents.reshape(latents.shape[-3:])
        if self.preview_vae is not None:
            with torch.no_grad():
                pixels = self.preview_vae.decode(x[None].to(self.device, self.dtype), return_dict=False)[0]
            return self.pipe.image_processor.postprocess(pixels, output_type="pil")[0]
        if self._light_vae or not self._linear.learned:
            return self.decode(x)
        return self._linear.picture(x, self.factor)

    def layers(self) -> Mapping[AttentionLayer, Any]:
        return self._layers


def _hooked(part: Any) -> bool:
    """Whether accelerate moves a part or some of its layers."""
    modules = part.modules() if isinstance(part, torch.nn.Module) else ()
    return any(hasattr(module, "_hf_hook") for module in modules)


@contextmanager
def tiled(vae: Any, latent: int, factor: int) -> Iterator[None]:
    """An autoencoder that decodes in overlapping tiles of so many latents a side; as before when it ends."""
    names = ("use_tiling", "tile_latent_min_size", "tile_sample_min_size")
    if any(not hasattr(vae, name) for name in names):
        yield
        return
    before = [getattr(vae, name) for name in names]
    try:
        for name, value in zip(names, (True, latent, latent * factor), strict=True):
            setattr(vae, name, value)
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(vae, name, value)
