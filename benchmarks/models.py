"""The models that are measured. Speed and memory do not depend on what the weights are."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from p2p_core import PromptToPrompt
from p2p_core.model.loading import choose_device, choose_dtype
from tests.tiny import pipeline, tokenizer

# the published configurations of the UNets, and the widths of their text encoders
SD15: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD21 = SD15 | {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
RANDOM = {
    "sd15": (SD15, (768,), "Stable Diffusion 1.5"),
    "sd21": (SD21, (1024,), "Stable Diffusion 2.1"),
    "sdxl": (SDXL, (768, 1280), "SDXL"),
}
NAMES = ("storybook", *RANDOM)


def load(name: str, **options: Any) -> tuple[PromptToPrompt, str]:
    """A model and a sentence on its weights. options: those of `PromptToPrompt`."""
    if name == "storybook":
        p2p, weights = PromptToPrompt.from_pretrained("storybook-base", **options), "storybook-base's weights"
    elif name in RANDOM:
        p2p = PromptToPrompt(random_pipeline(name, options.get("dtype"), options.get("device")), **options)
        weights = f"{RANDOM[name][2]}'s UNet with random weights, text encoder and VAE stand-ins"
    else:
        p2p = PromptToPrompt(pipeline("v_prediction"), **options)
        weights = "random, to test this program"
    p2p.pipe.set_progress_bar_config(disable=True)
    return p2p, weights


def random_pipeline(name: str, dtype: Any = None, device: Any = None) -> Any:
    """A pipeline whose UNet has a published configuration, randomly initialised.

    Text encoders have the width and length of the model's own but one layer, and the VAE is tiny: both stay
    outside of what is timed.
    """
    unet_config, widths, _ = RANDOM[name]
    torch.manual_seed(0)
    words = tokenizer(77)
    encoders = []
    for n, width in enumerate(widths):
        kind = CLIPTextModelWithProjection if n else CLIPTextModel
        config = CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=1,
            num_attention_heads=width // 64,
            max_position_embeddings=77,
            projection_dim=width,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
        encoders.append(kind(config).eval())
    place = choose_device(device)
    with torch.device(place):  # in float32, 10 GB for SDXL, then rounded: every dtype has the same weights
        unet = UNet2DConditionModel(layers_per_block=2, **unet_config)
    unet = unet.to(choose_dtype(dtype, place))
    if place.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        norm_num_groups=2,
        sample_size=512,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        set_alpha_to_one=False,
        prediction_type="v_prediction" if name == "sd21" else "epsilon",
    )
    parts = {"vae": vae.eval(), "unet": unet.eval(), "scheduler": scheduler, "tokenizer": words}
    parts["text_encoder"] = encoders[0]
    pipe: Any
    if len(encoders) > 1:
        pipe = StableDiffusionXLPipeline(
            **parts, text_encoder_2=encoders[1], tokenizer_2=words, add_watermarker=False
        )
    else:
        checker = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipe = StableDiffusionPipeline(**parts, **checker)
    pipe.set_progress_bar_config(disable=True)
    return pipe
