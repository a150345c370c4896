"""The autoencoder: latents to pictures and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor

from ..errors import BadInput, P2PError
from ..memory import decode_fits, empty_cache
from .offload import is_hooked


class Autoencoder:
    """A pipeline's autoencoder. dtype: what it computes in. factor: pixels to a latent, a side."""

    def __init__(self, pipe: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.pipe, self.device, self.dtype = pipe, device, dtype
        blocks = pipe.vae.config.get("block_out_channels") or pipe.vae.config.decoder_block_out_channels
        self.factor = 2 ** (len(blocks) - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (1, C, h, w) -> pixels (1, 3, H, W) in -1..1. In tiles where the device's memory is low."""
        x, spread = latents.to(self.device, self.dtype), self._channel_spread()
        scale = self.pipe.vae.config.scaling_factor
        pixels = self._decoded(x * spread[0] / scale + spread[1] if spread else x / scale)
        self._free_hooks()
        return pixels

    def encode(self, picture: Image.Image) -> Tensor:
        """An RGB picture -> latents (1, C, h, w), the mean of what the encoder says. Raises `BadInput`."""
        if isinstance(self.pipe.vae, AutoencoderTiny):
            raise BadInput("An AutoencoderTiny brings no picture to latents well; expected an AutoencoderKL.")
        x = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        x = x.to(self.device, self.dtype) / 127.5 - 1
        z, spread = self.pipe.vae.encode(x).latent_dist.mean, self._channel_spread()
        self._free_hooks()
        z = (z.contiguous() - spread[1]) / spread[0] if spread else z.contiguous()
        return z * self.pipe.vae.config.scaling_factor  # type: ignore[no-any-return]

    def picture(self, pixels: Tensor, final: bool = False) -> Image.Image:
        """Pixels (1, 3, H, W) in -1..1 -> picture. final: with the pipeline's watermark and safety checker,
        where it has them; the checker's black picture is diffusers' own."""
        flagged = False
        if final and getattr(self.pipe, "watermark", None) is not None:
            pixels = self.pipe.watermark.apply_watermark(pixels)
        if final and getattr(self.pipe, "safety_checker", None) is not None:
            pixels, found = self.pipe.run_safety_checker(pixels, self.device, self.dtype)
            flagged = any(found or ())
        process = self.pipe.image_processor.postprocess
        return process(pixels, output_type="pil", do_denormalize=[not flagged])[0]  # type: ignore[no-any-return]

    def _decoded(self, x: Tensor) -> Tensor:
        vae, (h, w) = self.pipe.vae, x.shape[-2:]
        if decode_fits(vae, (h * self.factor, w * self.factor), x.dtype, self.device):
            with suppress(torch.OutOfMemoryError):
                return vae.decode(x, return_dict=False)[0]  # type: ignore[no-any-return]
        empty_cache(self.device)
        with tiled(vae, max(8, min(64, max(h, w) // 2)), self.factor):
            return vae.decode(x, return_dict=False)[0]  # type: ignore[no-any-return]

    def _free_hooks(self) -> None:
        """Back to the host after the last part of a run, by the hooks of `enable_model_cpu_offload`."""
        if is_hooked(self.pipe.vae):
            self.pipe.maybe_free_model_hooks()

    def _channel_spread(self) -> tuple[Tensor, Tensor] | None:
        """(std, mean), (C, 1, 1) each, where the autoencoder's config says them for each channel."""
        std, mean = (getattr(self.pipe.vae.config, f"latents_{name}", None) for name in ("std", "mean"))
        if std is None or mean is None:
            return None
        of = partial(torch.tensor, dtype=self.dtype, device=self.device)
        return of(std).reshape(-1, 1, 1), of(mean).reshape(-1, 1, 1)


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


def check_finite(x: Tensor, part: str, dtype: torch.dtype) -> None:
    """Raises `P2PError` for numbers that would be a black picture. part: whose they are."""
    if not bool(x.isfinite().all()):
        half = dtype == torch.float16
        raise P2PError(
            f"{part} gives numbers that are NaN or infinite, which would be a black picture; expected finite "
            + (
                "ones. float16 overflows with some models: dtype='bf16' or 'fp32' doesn't."
                if half
                else "ones. A weight of the model is broken, or a fader is far too large."
            )
        )
