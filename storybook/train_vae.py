"""Training the autoencoder: encoder and decoder together, for the least error.

The first channels of its latents are held at what the first edition's encoder makes of the same picture at
half the size, so that the first edition's UNet can go on; the others are free. All get the same little noise:
a learned one (KL weight 1e-6) grew as large as the free channels' spread within 2,500 crops, and they said
nothing.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from .common import Lanes, Run, as_float, rate
from .drawings import Pictures, renders
from .vae import ANCHORED, CHANNELS, decoded, figures, latents_of, make, whiten
from .widen import widen_vae

CROP = 128
HELD = 48  # held-out pictures that figures are taken of
PEAK = 2.5e-4  # learning rate
NOISE = 0.05  # added to latents, whose spread is about 1
LARGEST = 2.0  # free channels beyond it are held back: they could drown the noise else
ANCHOR = 0.3
EMA = 0.999
EVERY = 10  # minutes between figures, and between checkpoints


def loss_of(x: Tensor, y: Tensor) -> Tensor:
    """Absolute and squared error, and the error of the gradients, which keeps outlines crisp."""
    e = y - x
    edges = (e[..., 1:] - e[..., :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()
    return e.abs().mean() + 2 * (e * e).mean() + 0.5 * edges


def tinted(x: Tensor, generator: torch.Generator, share: float = 0.25) -> Tensor:
    """Some pictures (B, 3, H, W) in -1..1 in colours off the palette: another contrast, another tint."""
    B = len(x)
    gain = 1 + 0.2 * torch.randn(B, 3, 1, 1, generator=generator)
    shift = 0.15 * torch.randn(B, 3, 1, 1, generator=generator)
    chosen = torch.rand(B, 1, 1, 1, generator=generator) < share
    return torch.where(chosen, (x * gain + shift).clamp(-1, 1), x)


def train(run: Run, device: torch.device, *, first: Path, batch: int, part: int, seed: int) -> None:
    """Train on random crops of the run's pictures; write `vae/` in the run's folder.

    first: the first edition's folder. part: crops that a lane takes at a time.
    """
    torch.manual_seed(seed)
    teacher = AutoencoderKL.from_pretrained(first / "vae", torch_dtype=torch.float32).to(device).eval()
    teacher.requires_grad_(False)
    vae = widen_vae(make(), teacher, NOISE).to(device).train()
    averaged = copy.deepcopy(vae).eval().requires_grad_(False)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(parameters, PEAK, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    pictures, rng = Pictures(run.folder), np.random.default_rng([seed, run.step])
    generator = torch.Generator().manual_seed(seed + run.step)
    drawn, scenes = renders(HELD, seed + 2, held_out=True)
    held_bytes = torch.from_numpy(drawn)
    held = as_float(held_bytes)
    styles = [s.style for s in scenes]
    lanes = Lanes(device)

    def losses(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            anchor = teacher.encode(F.avg_pool2d(x, 2)).latent_dist.mean
        z = vae.encode(x).latent_dist.mean
        y = vae.decode(z + NOISE * noise).sample
        apart = F.mse_loss(z[:, :ANCHORED], anchor)
        error = loss_of(x, y)
        beyond = (z[:, ANCHORED:].abs() - LARGEST).clamp_min(0)
        loss = error + ANCHOR * apart + 0.1 * beyond.square().mean()
        return loss, torch.stack([error.detach(), apart.detach()])

    def save() -> None:
        run.save(
            {
                "vae": vae.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
        )

    def look() -> dict[str, float]:
        return figures(held, decoded(averaged, latents_of(averaged, held_bytes)), styles)

    run.begin()
    last, seen, reports = run.spent, run.samples, []
    while run.progress < 1:
        x = tinted(as_float(pictures.crops(batch, CROP, rng)), generator).to(device)
        noise = torch.randn(batch, CHANNELS, CROP // 16, CROP // 16, generator=generator)
        parts = list(zip(x.split(part), noise.to(device).split(part), strict=True))
        reports += lanes.gradients(parameters, losses, parts)
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, PEAK, hold=0.4)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        with torch.no_grad():
            decay = min(EMA, (1 + run.step) / (10 + run.step))
            torch._foreach_lerp_(list(averaged.parameters()), parameters, 1 - decay)
        if run.spent - last > EVERY:
            error, apart = torch.stack(reports).mean(0).tolist()
            speed = (run.samples - seen) / (run.spent - last) / 60
            run.log(loss=round(error, 4), anchor=round(apart, 4), per_second=round(speed, 1), **look())
            save()
            pictures.refresh()
            last, seen, reports = run.spent, run.samples, []
    save()
    whiten(averaged, as_float(pictures.crops(400, 256, rng)).to(device))
    averaged.save_pretrained(run.folder / "vae")
    run.log(**look(), done=True)  # last: a stop before it is made good by the next start
