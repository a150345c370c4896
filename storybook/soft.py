"""Latents as a UNet makes them, for a decoder to learn from."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import caption
from .scenes import Scene
from .tokenizer import LENGTH
from .unet import scheduler

# Timesteps. More noise moves what is in a picture, and a decoder that must guess where draws softly.
NOISED = (40, 221)


@torch.no_grad()
def softened(
    folder: Path,
    z: Tensor,
    scenes: list[Scene],
    device: torch.device,
    *,
    steps: int = 3,
    guidance_scale: float = 5.0,
    seed: int = 0,
) -> Tensor:
    """Latents as the run's UNet makes them: z (n, C, 16, 16), noised to a timestep in `NOISED`, and brought
    back in a few steps of DDIM with guidance, as when a picture is made.

    Such latents keep z's picture but are softer, the more so the more noise there was.
    """
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    model = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    nets = nn.ModuleDict({"text_encoder": text_encoder, "unet": model}).to(device).eval()
    bars = scheduler().alphas_cumprod
    generator = torch.Generator().manual_seed(seed)

    def embedded(words: list[str]) -> Tensor:
        ids = tokenizer(words, padding="max_length", max_length=LENGTH, return_tensors="pt")
        return nets["text_encoder"](ids.input_ids.to(device))[0]

    made = []
    for first in range(0, len(z), 16):
        x0, some = z[first : first + 16], scenes[first : first + 16]
        text = torch.cat([embedded([""] * len(x0)), embedded([caption(s) for s in some])])
        top = int(torch.randint(*NOISED, (), generator=generator))
        levels = [round(top * (steps - k) / steps) for k in range(steps)]
        noise = torch.randn(x0.shape, generator=generator)
        for t in levels:
            a = bars[t]
            x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
            v = nets["unet"](torch.cat([x_t] * 2).to(device), t, text).sample.float().cpu()
            empty, said = v.chunk(2)
            v = empty + guidance_scale * (said - empty)
            x0, noise = a.sqrt() * x_t - (1 - a).sqrt() * v, a.sqrt() * v + (1 - a).sqrt() * x_t
        made.append(x0)
    return torch.cat(made)
