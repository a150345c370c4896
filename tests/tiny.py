"""Tiny random Stable Diffusion pipelines, built in memory: everything but the weights is real.

Queries and keys are scaled up so that attention maps are far from uniform; with flat maps most of what the
tests say would hold for wrong code too.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = "a red house castle car on snowy hill at night the cat in hat burger lasagne bear teddy with and big"
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(length: int = 24) -> CLIPTokenizer:
    """Byte-level BPE in CLIP's format. Words of `WORDS` are one token, others several, any unicode goes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab: dict[str, int] = {}
    for token in [*alphabet, *(a + "</w>" for a in alphabet)]:
        vocab.setdefault(token, len(vocab))
    merges: list[str] = []
    for word in WORDS.split():
        left = word[0]
        for i, char in enumerate(word[1:], 1):
            right = char + ("</w>" if i == len(word) - 1 else "")
            if f"{left} {right}" not in merges:
                merges.append(f"{left} {right}")
            left += right
            vocab.setdefault(left, len(vocab))
    for token in (START, END):
        vocab[token] = len(vocab)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length}
        config |= {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return CLIPTokenizer.from_pretrained(folder)


def scheduler(prediction: str = "epsilon", kind: str = "ddim") -> Any:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if kind == "pndm":  # what the folder of Stable Diffusion 1.5 holds
        return PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    if prediction == "v_prediction":  # as the bundled model
        return DDIMScheduler(
            **betas,
            clip_sample=False,
            steps_offset=1,
            prediction_type=prediction,
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        )
    return DDIMScheduler(
        **betas, clip_sample=False, steps_offset=1, set_alpha_to_one=False, prediction_type=prediction
    )


def sharpen(unet: UNet2DConditionModel) -> None:
    """Scale queries, keys and what the text adds."""
    for name, parameter in unet.named_parameters():
        if ".to_q." in name or ".to_k." in name:
            parameter.data.mul_(3)
        elif ".attn2.to_v." in name or ".attn2.to_out." in name:
            parameter.data.mul_(2)  # so that the text matters


def pipeline(
    prediction: str = "epsilon",
    *,
    length: int = 24,
    kind: str = "ddim",
    sample_size: Any = 16,
    seed: int = 0,
    **unet_config: Any,
) -> StableDiffusionPipeline:
    """A pipeline with cross-attention at two resolutions and in the mid block, and a 4-fold autoencoder."""
    torch.manual_seed(seed)
    words = tokenizer(length)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=length,
            projection_dim=32,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    text_encoder.embeddings.token_embedding.weight.data.mul_(20)
    config = {
        "sample_size": sample_size,
        "block_out_channels": (16, 32, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    unet = UNet2DConditionModel(**(config | unet_config))
    sharpen(unet)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        sample_size=64,
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder.eval(),
        tokenizer=words,
        unet=unet.eval(),
        scheduler=scheduler(prediction, kind),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def xl_pipeline(
    prediction: str = "epsilon", *, kind: str = "ddim", zeros: bool = True, seed: int = 0, **unet_config: Any
) -> StableDiffusionXLPipeline:
    """SDXL's build: two text encoders of other sizes, pooled text and time ids, several blocks a layer."""
    one = pipeline(prediction, kind=kind, seed=seed)
    words = tokenizer()
    words.pad_token = "!"  # as SDXL's second tokenizer
    text_encoder_2 = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=words.model_max_length,
            projection_dim=24,
            hidden_act="gelu",
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    text_encoder_2.text_model.embeddings.token_embedding.weight.data.mul_(20)
    config = {
        "sample_size": 16,
        "block_out_channels": (16, 32, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (2, 4, 8),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 24,
        "cross_attention_dim": 32 + 16,
        "norm_num_groups": 8,
    }
    unet = UNet2DConditionModel(**(config | unet_config))
    sharpen(unet)
    pipe = StableDiffusionXLPipeline(
        vae=one.vae,
        text_encoder=one.text_encoder,
        text_encoder_2=text_encoder_2.eval(),
        tokenizer=one.tokenizer,
        tokenizer_2=words,
        unet=unet.eval(),
        scheduler=one.scheduler,
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
