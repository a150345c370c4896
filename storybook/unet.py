"""The UNet, its text encoder and scheduler, and what they learn.

v-prediction (Salimans & Ho 2022) with zero terminal SNR (Lin et al. 2024) and min-SNR weights with gamma 5
(Hang et al. 2023).
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .tokenizer import LENGTH
from .vae import CHANNELS

WIDTH = 128  # of the text encoder
ROUGH_TIMES = 600  # another hand's drawings are seen with no more noise than at this time of 1000


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Word and position embeddings alone: no layers, so that no token tells another's word.

    With two layers the UNet learned to read everything from the end mark and the padding behind it: taking
    "snowy" away changed nothing as long as those stayed, so a fader on it did nothing either.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=0,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def unet(channels: tuple[int, ...]) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # which diffusers takes as the number of heads
        norm_num_groups=16,
    )


def times(u: Tensor, count: int) -> Tensor:
    """(B,) times below `count`, one from each of B equal stretches; u (B,) in [0, 1).

    The same mean as B free draws, less noise in the gradient. (B - 1) + u can round up to B.
    """
    B = len(u)
    stretches = torch.arange(B, device=u.device) + u
    return (stretches * (count / B)).long().clamp(max=count - 1)


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """(B, LENGTH) of captions, padded."""
    found = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return found.input_ids


def losses_of(
    nets: nn.ModuleDict, x: Tensor, ids: Tensor, t: Tensor, eps: Tensor, bars: Tensor
) -> tuple[Tensor, Tensor]:
    """(B,) squared errors of the velocity, and their min-SNR weights.

    x, eps (B, C, 16, 16): clean latents and noise; ids (B, LENGTH); t (B,) times; bars: alphas_cumprod.
    """
    a = bars[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x + (1 - a).sqrt() * eps
    v = a.sqrt() * eps - (1 - a).sqrt() * x
    out = nets["unet"](x_t, t, nets["text_encoder"](ids)[0]).sample.float()
    snr = bars[t] / (1 - bars[t])
    weight = snr.clamp(max=5) / (snr + 1)
    return (out - v).pow(2).mean((1, 2, 3)), weight.clamp(min=0.1) / 0.45
