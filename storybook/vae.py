"""The autoencoder: a plain AutoencoderKL with thin high-resolution levels, 256 x 256 <-> 16 x 16 x 8.

Convolutions at full resolution cost most and help least, so those levels have few channels.
"""

from __future__ import annotations

import hashlib

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .common import as_float, autocast, psnr

CHANNELS = 8  # of the latents
LEVELS = (16, 16, 32, 96, 192)


def make(channels: tuple[int, ...] = LEVELS) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=16 << (len(channels) - 1),
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def digest(vae: AutoencoderKL) -> str:
    """Of the weights that make latents: the encoder's. Another decoder leaves latents valid."""
    mark = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for name, value in sorted(part.state_dict().items()):
            mark.update(name.encode())
            mark.update(value.detach().float().cpu().numpy().tobytes())
    return mark.hexdigest()[:16]


@torch.no_grad()
def latents_of(vae: AutoencoderKL, pictures: Tensor, *, bf16: bool = False) -> Tensor:
    """Latents (n, C, 16, 16) float32 of uint8 pictures. Small batches: they stay in a CPU's cache."""
    size = 4 if vae.device.type == "cpu" else 250
    with autocast(vae.device, bf16):
        latents = [vae.encode(as_float(b).to(vae.device)).latent_dist.mean for b in pictures.split(size)]
    return torch.cat(latents).float().cpu()


@torch.no_grad()
def decoded(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """Pictures (n, 3, H, W) in -1..1 of latents, on the CPU."""
    size = 4 if vae.device.type == "cpu" else 250
    return torch.cat([vae.decode(b.to(vae.device)).sample.float().clamp(-1, 1).cpu() for b in z.split(size)])


def loss_of(x: Tensor, y: Tensor) -> Tensor:
    """Absolute and squared error, and the error of the gradients, which keeps outlines crisp."""
    e = y - x
    edges = (e[..., 1:] - e[..., :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()
    return e.abs().mean() + 2 * (e * e).mean() + 0.5 * edges


def steepness(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) mean gradient magnitude of pictures (n, 3, H, W), and the root of its mean square.

    A soft step is as high as a steep one and so has the same mean; only the mean square tells them apart.
    """
    across, down = x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]
    squares = (across.square() + down.square()).sum(1)
    return squares.sqrt().mean((1, 2)), squares.mean((1, 2)).sqrt()


def figures(x: Tensor, y: Tensor, styles: list[str]) -> dict[str, float]:
    """PSNR of reconstructions y of pictures x, in all and per style; per style their sharpness and how steep
    their edges are (the two of `steepness`), each over that of x."""
    found = {"psnr": round(psnr(x, y), 2)}
    for style in dict.fromkeys(styles):
        mine = torch.tensor([s == style for s in styles])
        found[f"psnr {style}"] = round(psnr(x[mine], y[mine]), 2)
        for name, of_y, of_x in zip(
            ("sharpness", "edges"), steepness(y[mine]), steepness(x[mine]), strict=True
        ):
            found[f"{name} {style}"] = round(float(of_y.mean() / of_x.mean()), 3)
    return found
