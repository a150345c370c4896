"""A thin `Model` around a diffusers pipeline: latents and pictures, text, and the UNet's call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .attention import Call, Processor, Site, find_sites, installed
from .errors import BadLatents, BadSize, UnsupportedModel, shown
from .loading import PARTS
from .sampler import guided
from .texts import Text, TextEncoders, weights_stamp
from .words import Prompt


class Model:
    """A pipeline's parts behind embed, noise shape, predict and decode. Sizes are read from its configs."""

    def __init__(
        self,
        pipe: Any,
        device: torch.device,
        dtype: torch.dtype,
        name: str,
        preview_vae: Any = None,
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
        self.pipe, self.name, self.device, self.dtype = pipe, name, device, dtype
        self.texts = TextEncoders(pipe, device, dtype)
        upcast = self.texts.two and dtype == torch.float16 and pipe.vae.config.force_upcast
        self.vae_dtype = torch.float32 if upcast else dtype  # SDXL's autoencoder overflows in float16
        for part in (pipe.unet, *self.texts.encoders):
            part.to(device=device, dtype=dtype).eval()
        pipe.vae.to(device=device, dtype=self.vae_dtype).eval()
        if device.type == "cuda":  # what convolutions run fastest on there
            for part in (pipe.unet, pipe.vae):
                part.to(memory_format=torch.channels_last)
        self.unet = pipe.unet
        self._version = ""
        self.sites = find_sites(self.unet)
        self._layers = {site: self.unet.get_submodule(site.name) for site in self.sites}
        self.channels = int(self.unet.config.in_channels)
        self.factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        size = self.unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        self.default_size = (h * self.factor, w * self.factor)
        self._processors = {site: Processor(site) for site in self.sites}
        self._times: dict[tuple[float, torch.dtype], Tensor] = {}
        if preview_vae is not None:
            if getattr(preview_vae, "decode", None) is None or not isinstance(preview_vae, torch.nn.Module):
                raise UnsupportedModel(
                    "preview_vae is a small autoencoder for the same latents, such as diffusers' "
                    f"AutoencoderTiny; got {type(preview_vae).__name__}."
                )
            preview_vae.to(device=device, dtype=dtype).eval()
        self.preview_vae = preview_vae
        self._rgb: Tensor | None = None  # (C + 1, 3): latents -> RGB by least squares
        self._light_vae = sum(p.numel() for p in pipe.vae.decoder.parameters()) < 10_000_000

    @cached_property
    def fingerprint(self) -> str:
        """Tells models apart, in any process: a digest of every weight's name, shape and beginning."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.unet, self.pipe.vae, *self.texts.encoders):
            for name, weight in part.state_dict().items():
                digest.update(f"{name}{tuple(weight.shape)}".encode())
                digest.update(weight.detach().flatten()[:16].float().cpu().numpy().tobytes())
        return digest.hexdigest()

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
        return guided(guidance_scale) and not self.texts.reads_guidance

    @torch.no_grad()
    def text(
        self,
        rows: Sequence[Prompt | Tensor],
        size: tuple[int, int],
        guidance_scale: float = 1.0,
        unconditional: int = 0,
    ) -> Text:
        """A batch of prompts, or of embeddings (1, S, d) in their place, for latents of (h, w).

        unconditional: the number of rows, from the first, that are so.
        """
        pixels = (size[0] * self.factor, size[1] * self.factor)
        return self.texts.text(rows, guidance_scale, pixels, unconditional)

    def predict(self, x: Tensor, t: Tensor, text: Text | Tensor, call: Call) -> Tensor:
        """The UNet's output for latents (B, C, h, w) at timestep t with text of B or 2B rows.

        With 2B rows of text, the unconditional ones first, the latents are taken twice. A tensor (., S, d) is
        a text that is projected in this call alone.
        """
        if isinstance(text, Tensor):
            text = Text(rows=text)
        else:
            call.projected = text.projected
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
        """A timestep on the device: copied there once, so that no step waits for it."""
        if t.device == self.device:
            return t
        key = (float(t), t.dtype)
        if key not in self._times:
            self._times[key] = t.to(self.device)
        return self._times[key]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture."""
        vae = self.pipe.vae
        x = latents.reshape(1, *latents.shape[-3:]).to(self.device, self.vae_dtype)
        own = self._own_spread()
        x = x * own[0] / vae.config.scaling_factor + own[1] if own else x / vae.config.scaling_factor
        pixels = vae.decode(x, return_dict=False)[0]
        return self.pipe.image_processor.postprocess(pixels, output_type="pil")[0]

    @torch.no_grad()
    def encode(self, picture: Image.Image) -> Tensor:
        """An RGB picture of the model's size -> latents (1, C, h, w), the mean of what the encoder says."""
        vae = self.pipe.vae
        x = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        x = x.to(self.device, self.vae_dtype) / 127.5 - 1
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
        small or on a GPU, else by a linear map to RGB.

        The map is fitted to pictures decoded before, so it needs no constants of any one model.
        """
        x = latents.reshape(latents.shape[-3:])
        if self.preview_vae is not None:
            with torch.no_grad():
                pixels = self.preview_vae.decode(x[None].to(self.device, self.dtype), return_dict=False)[0]
            return self.pipe.image_processor.postprocess(pixels, output_type="pil")[0]
        if self._light_vae or self.device.type == "cuda" or self._rgb is None:
            return self.decode(x)
        C, h, w = x.shape
        flat = torch.cat([x.float().cpu().reshape(C, -1).T, torch.ones(h * w, 1)], 1)  # (h w, C + 1)
        rgb = (flat @ self._rgb).reshape(h, w, 3).clamp(0, 1).mul(255).byte().numpy()
        return Image.fromarray(rgb).resize((w * self.factor, h * self.factor), Image.Resampling.BILINEAR)

    def learn_preview(self, latents: Tensor, image: Image.Image) -> None:
        """Fit the linear preview to a decoded picture."""
        if not bool(latents.isfinite().all()):
            return
        C, h, w = latents.shape[-3:]
        flat = torch.cat([latents.float().cpu().reshape(C, -1).T, torch.ones(h * w, 1)], 1)
        small = np.asarray(image.convert("RGB").resize((w, h), Image.Resampling.BOX), np.float32) / 255
        self._rgb = torch.linalg.lstsq(flat, torch.from_numpy(small.reshape(-1, 3))).solution

    def layers(self) -> Mapping[Site, Any]:
        return self._layers
