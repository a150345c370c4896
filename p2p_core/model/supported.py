"""Which pipelines the engine runs as diffusers does, and a sentence for every other.

A list of what is known is the only safe one: whatever a pipeline or its owner adds elsewhere (a ControlNet, a
start picture, attention of its own) would be left out without a word.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    LatentConsistencyModelPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from ..errors import UnsupportedModel
from ..schedulers import check_scheduler
from .hub import PARTS

PIPELINES = (StableDiffusionPipeline, StableDiffusionXLPipeline, LatentConsistencyModelPipeline)
# Attention that computes what ours does, in another way.
PROCESSORS = (
    "AttnProcessor", "AttnProcessor2_0", "XFormersAttnProcessor", "SlicedAttnProcessor",
    "FusedAttnProcessor2_0", "AttnProcessorNPU", "XLAFlashAttnProcessor2_0",
)  # fmt: skip
# Settings of a UNet with which it reads more than latents, times and text, or predicts more.
UNET = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "encoder_hid_dim_type": None,
    "attention_type": "default",
    "dual_cross_attention": False,
}


def check_pipeline(pipe: Any) -> None:
    """Raises `UnsupportedModel` for a pipeline of which a part would be left out, with what to do."""
    missing = [part for part in PARTS if getattr(pipe, part, None) is None]
    if missing:
        raise UnsupportedModel(
            "Expected a Stable Diffusion 1.x, 2.x or XL pipeline with unet, vae, text_encoder, tokenizer "
            f"and scheduler; {type(pipe).__name__} has no {', '.join(missing)}."
        )
    base = next((kind for kind in PIPELINES if isinstance(pipe, kind)), None)
    if base is None or type(pipe).__call__ is not base.__call__:
        raise UnsupportedModel(
            f"{type(pipe).__name__} adds to text-to-image what would be left out here; expected "
            f"{', '.join(kind.__name__ for kind in PIPELINES)}. StableDiffusionPipeline.from_pipe(pipe) "
            "makes one of its parts."
        )
    _check_unet(pipe.unet)
    _check_vae(pipe)
    lengths = {
        n.model_max_length for n in (pipe.tokenizer, getattr(pipe, "tokenizer_2", None)) if n is not None
    }
    if len(lengths) > 1:
        raise UnsupportedModel(
            f"Expected tokenizers of one length; got {' and '.join(map(str, lengths))} tokens."
        )
    check_scheduler(pipe.scheduler)


def _check_unet(unet: Any) -> None:
    kind, config = type(getattr(unet, "_orig_mod", unet)), unet.config
    if kind is not UNet2DConditionModel:
        raise UnsupportedModel(f"Expected a UNet2DConditionModel as the UNet; got {kind.__name__}.")
    other = [f"{name} {config.get(name)}" for name, usual in UNET.items() if config.get(name, usual) != usual]
    if other:
        raise UnsupportedModel(
            f"The UNet has {', '.join(other)}, which nothing here gives it (an IP-Adapter, a class, boxes); "
            "expected one that reads text alone: pipe.unload_ip_adapter(), or another UNet."
        )
    if config.out_channels != config.in_channels:
        raise UnsupportedModel(
            f"The UNet predicts {config.out_channels} channels for {config.in_channels}, as those that take "
            "more than latents (inpainting), or learn a variance, do; expected as many."
        )
    foreign = {type(processor).__name__ for processor in unet.attn_processors.values()} - {
        *PROCESSORS,
        "Processor",
    }
    if foreign:
        raise UnsupportedModel(
            f"The UNet's attention is {', '.join(sorted(foreign))}, which would be left out here; "
            "pipe.unet.set_default_attn_processor() removes it."
        )


def _check_vae(pipe: Any) -> None:
    vae, channels = pipe.vae, pipe.unet.config.out_channels
    if not isinstance(vae, (AutoencoderKL, AutoencoderTiny)):
        raise UnsupportedModel(
            f"Expected an AutoencoderKL, or an AutoencoderTiny to generate with; got {type(vae).__name__}."
        )
    if vae.config.latent_channels != channels:
        raise UnsupportedModel(
            f"Expected a UNet that takes the autoencoder's {vae.config.latent_channels} latent channels; got "
            f"one that takes {channels}."
        )
