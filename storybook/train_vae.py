"""Teaching the encoder of 256 x 256 pictures the latents that the first edition's makes of their halves.

So the first edition's UNet stays valid and a UNet step costs what it cost. How much finer than those halves
pictures are is the decoder's work (train_decoder.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from .common import Lanes, Run, as_float, rate
from .drawings import Pictures, renders
from .vae import decoded, figures, latents_of, make
from .widen import widen_vae

CROP = 128
HELD = 48  # held-out pictures that figures are taken of
PEAK = 5e-4  # learning rate
EVERY = 2  # minutes between figures, and between checkpoints


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
    vae = widen_vae(make(), teacher).to(device).eval()
    parameters = [*vae.encoder.parameters(), *vae.quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parameters, PEAK, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
    pictures, rng = Pictures(run.folder), np.random.default_rng([seed, run.step])
    generator = torch.Generator().manual_seed(seed + run.step)
    drawn, scenes = renders(HELD, seed + 2, held_out=True)
    held = torch.from_numpy(drawn)
    styles = [s.style for s in scenes]
    lanes = Lanes(device)

    def wanted(x: Tensor) -> Tensor:
        with torch.no_grad():
            return teacher.encode(F.avg_pool2d(x, 2)).latent_dist.mean

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.mse_loss(vae.encode(x).latent_dist.mean, wanted(x))
        return loss, loss.detach()

    def look() -> dict[str, float]:
        x, z = as_float(held), latents_of(vae, held)
        apart = F.mse_loss(z, wanted(x.to(device)).cpu())
        return {"apart": round(float(apart), 5), **figures(x, decoded(vae, z), styles)}

    def save() -> None:
        run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})

    run.log(**look())
    run.begin()
    last, seen, reports = run.spent, run.samples, []
    while run.progress < 1:
        x = tinted(as_float(pictures.crops(batch, CROP, rng)), generator).to(device)
        reports += lanes.gradients(parameters, losses, [(some,) for some in x.split(part)])
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, PEAK, hold=0.4)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        if run.spent - last > EVERY:
            speed = (run.samples - seen) / (run.spent - last) / 60
            run.log(loss=round(float(torch.stack(reports).mean()), 5), per_second=round(speed, 1))
            save()
            pictures.refresh()
            last, seen, reports = run.spent, run.samples, []
    save()
    vae.save_pretrained(run.folder / "vae")
    run.log(**look(), done=True)  # last: a stop before it is made good by the next start
