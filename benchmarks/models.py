"""The models that are measured. Speed and memory do not depend on what the weights are."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from p2p_core import PromptToPrompt
from tests.tiny import pipeline, tokenizer


def load(name: str) -> tuple[PromptToPrompt, str]:
    """A model and a sentence on its weights."""
    if name == "storybook":
        p2p, weights = PromptToPrompt.from_pretrained("storybook"), "the bundled weights"
    elif name == "sd15":
        p2p = PromptToPrompt(sd15())
        weights = "Stable Diffusion 1.5's UNet with random weights, text encoder and VAE stand-ins"
    else:
        p2p, weights = PromptToPrompt(pipeline("v_prediction")), "random, to test this program"
    p2p.pipe.set_progress_bar_config(disable=True)
    return p2p, weights


def sd15() -> Any:
    """A pipeline whose UNet has Stable Diffusion 1.5's published configuration, randomly initialised.

    The text encoder has CLIP ViT-L's width and length but one layer, and the VAE is tiny: both stay outside
    of what is timed.
    """
    torch.manual_seed(0)
    words = tokenizer(77)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=1,
            num_attention_heads=12,
            max_position_embeddings=77,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        cross_attention_dim=768,
        attention_head_dim=8,
    )
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
    )
    pipe = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=words,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
