"""The autoencoder: a plain AutoencoderKL with thin high-resolution levels, 128 x 128 <-> 16 x 16 x 8.

Convolutions at full resolution cost most and help least, so those levels have few channels.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .common import Run, Threads, as_float, autocast, psnr, rate, renders

CROP = 64
CHANNELS = 8  # of the latents


def make(channels: tuple[int, ...] = (16, 32, 96, 192)) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def loss_of(x: Tensor, y: Tensor) -> Tensor:
    """Absolute and squared error, and the error of the gradients, which keeps outlines crisp."""
    e = y - x
    edges = (e[..., 1:] - e[..., :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()
    return e.abs().mean() + 2 * (e * e).mean() + 0.5 * edges


def train(
    run: Run,
    device: torch.device,
    *,
    pictures: int,
    batch: int,
    seed: int,
    bf16: bool,
    decoder_only: bool = False,
) -> None:
    """Train on random crops and write `vae/` in the run's folder.

    decoder_only: go on with the decoder alone; the latents, and so a UNet trained on them, stay valid.
    """
    torch.manual_seed(seed)
    folder = run.folder / "vae"
    vae = AutoencoderKL.from_pretrained(folder) if decoder_only else make()
    vae.to(device).train()
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, 2e-3, betas=(0.9, 0.95), weight_decay=1e-4)
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
    data, _, _ = renders(pictures, seed + 1)
    held, _, _ = renders(48, seed + 2, held_out=True)
    held = as_float(held).to(device)
    generator = torch.Generator().manual_seed(seed + run.step)
    last, threads = run.spent, Threads()
    while run.progress < 1:
        peak = 1e-3 if decoder_only else 2e-3
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, peak, hold=0.4)
        picked = torch.randint(len(data), (batch,), generator=generator)
        corner = torch.randint(128 - CROP + 1, (batch, 2), generator=generator)
        corner -= corner % 8 if decoder_only else 0
        crops = [data[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in zip(picked, corner, strict=True)]
        x = as_float(torch.stack(crops)).to(device)
        with autocast(device, bf16):
            if decoder_only:
                with torch.no_grad():
                    z = vae.encode(x).latent_dist.mean
                y, kl = vae.decode(z + 0.02 * torch.randn_like(z)).sample, 0.0
            else:
                posterior = vae.encode(x).latent_dist
                y, kl = vae.decode(posterior.sample()).sample, 4e-6 * posterior.kl().mean()
        loss = loss_of(x, y.float()) + kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        threads()
        if run.spent - last > 2:
            last = run.spent
            run.log(loss=round(float(loss.detach()), 4), psnr=round(reconstruction(vae, held), 2))
            run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    run.log(psnr=round(reconstruction(vae, held), 2), done=True)
    run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    if not decoder_only:
        whiten(vae, as_float(data[:1000]).to(device))
    vae.eval().save_pretrained(folder)


@torch.no_grad()
def reconstruction(vae: AutoencoderKL, x: Tensor) -> float:
    """PSNR of whole held-out pictures through the autoencoder."""
    vae.eval()
    y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
    vae.train()
    return psnr(x, y)


@torch.no_grad()
def whiten(vae: AutoencoderKL, x: Tensor) -> None:
    """Fold the latents' mean and spread per channel into the 1 x 1 convolutions around them.

    A pipeline applies one scaling factor only; after this it is 1 and every channel has mean 0, spread 1.
    """
    vae.eval()
    z = torch.cat([vae.encode(b).latent_dist.mean for b in x.split(50)])
    mean, spread = z.mean((0, 2, 3)), z.std((0, 2, 3))
    C = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:C] /= spread[:, None, None, None]
    quant.bias[:C] = (quant.bias[:C] - mean) / spread
    quant.bias[C:] -= 2 * spread.log()
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= spread[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def latents_of(vae: AutoencoderKL, pictures: Tensor, *, bf16: bool) -> Tensor:
    """Latents (n, 8, 16, 16) float32 of uint8 pictures. Small batches: they stay in a CPU's cache."""
    size = 10 if vae.device.type == "cpu" else 250
    with autocast(vae.device, bf16):
        latents = [vae.encode(as_float(b).to(vae.device)).latent_dist.mean for b in pictures.split(size)]
    return torch.cat(latents).float().cpu()
