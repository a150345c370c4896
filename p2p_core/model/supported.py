"""Which pipelines the engine runs as diffusers does, and a sentence for every other."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedModel
from ..schedulers import check_scheduler
from .hub import PARTS


def check_pipeline(pipe: Any) -> None:
    """Raises `UnsupportedModel` for a pipeline of which a part would be left out, with what to do."""
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
