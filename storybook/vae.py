"""The autoencoder: a plain AutoencoderKL with thin high-resolution levels, 128 x 128 <-> 16 x 16 x 8.

Convolutions at full resolution cost most and help least, so those levels have few channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .common import Run, Threads, as_float, autocast, drawing, psnr, rate, renders
from .draw import render
from .scenes import Scene, sample

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


def train(run: Run, device: torch.device, *, pictures: int, batch: int, seed: int, bf16: bool) -> None:
    """Train on random crops and write `vae/` in the run's folder."""
    torch.manual_seed(seed)
    vae = make().to(device).train()
    params = list(vae.parameters())
    optimizer = torch.optim.AdamW(params, 2e-3, betas=(0.9, 0.95), weight_decay=1e-4)
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
    with drawing() as pool:
        data, _, _ = renders(pictures, seed + 1, pool=pool)
        held, _, _ = renders(48, seed + 2, held_out=True)
    held = as_float(held).to(device)
    generator = torch.Generator().manual_seed(seed + run.step)
    run.begin()
    last, threads = run.spent, Threads()
    while run.progress < 1:
        picked = torch.randint(len(data), (batch,), generator=generator)
        corner = torch.randint(128 - CROP + 1, (batch, 2), generator=generator)
        crops = [data[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in zip(picked, corner, strict=True)]
        x = as_float(torch.stack(crops)).to(device)
        with autocast(device, bf16):
            posterior = vae.encode(x).latent_dist
            y, kl = vae.decode(posterior.sample()).sample, 4e-6 * posterior.kl().mean()
        loss = loss_of(x, y.float()) + kl
        _step(run, optimizer, loss, params, 2e-3)
        run.samples += batch
        threads()
        if run.spent - last > 2:
            last = run.spent
            run.log(loss=round(float(loss.detach()), 4), psnr=round(reconstruction(vae, held), 2))
            run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    found = round(reconstruction(vae, held), 2)
    whiten(vae, as_float(data[:1000]).to(device))
    vae.eval().save_pretrained(run.folder / "vae")
    run.log(psnr=found, done=True)  # last: a stop before it is made good by the next start


def _step(
    run: Run, optimizer: torch.optim.Optimizer, loss: Tensor, params: list[torch.nn.Parameter], peak: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate(run.progress, run.step, peak, hold=0.4)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    run.step += 1


Softened = Callable[[Tensor, list[Scene]], Tensor]


def train_decoder(
    run: Run,
    device: torch.device,
    *,
    pictures: int,
    batch: int,
    seed: int,
    bf16: bool,
    softened: Softened | None = None,
) -> None:
    """Go on with the decoder alone; the latents, and so a UNet trained on them, stay valid.

    A third of the pictures is pixel art, whose hard blocks are the hardest to decode. softened: latents
    (B, 8, 16, 16) as a UNet would make them of such latents, which half of the batch is decoded from, so that
    the decoder learns what a soft latent of pixel art means.
    """
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(run.folder / "vae").to(device).train()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, 5e-4, betas=(0.9, 0.95), weight_decay=1e-4)
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
    data, scenes = with_pixels(pictures, seed + 1)
    z = latents_of(vae, data, bf16=bf16)
    soft = softened(z, scenes) if softened else z
    held, held_scenes = with_pixels(48, seed + 2, held_out=True)
    exact = latents_of(vae, held, bf16=bf16)
    looked_at = {"psnr": exact} | ({"soft": softened(exact, held_scenes)} if softened else {})
    pixel = torch.tensor([s.style == "pixel" for s in held_scenes])
    generator = torch.Generator().manual_seed(seed + run.step)
    threads = Threads()

    def figures() -> dict[str, float]:
        """PSNR of pixel art and of the other styles, from exact and from softened latents."""
        found = {}
        for name, latents in looked_at.items():
            y = decoded(vae, latents)
            found[name] = round(psnr(as_float(held)[~pixel], y[~pixel]), 2)
            found[f"{name} of pixel art"] = round(psnr(as_float(held)[pixel], y[pixel]), 2)
        return found

    run.log(**figures())
    run.begin()
    last = run.spent
    while run.progress < 1:
        picked = torch.randint(len(data), (batch,), generator=generator)
        half = batch // 2
        latents = torch.cat([z[picked[:half]], soft[picked[half:]]])
        latents = (latents + 0.02 * torch.randn(latents.shape, generator=generator)).to(device)
        x = as_float(data[picked]).to(device)
        with autocast(device, bf16):
            y = vae.decode(latents).sample
        loss = loss_of(x, y.float())
        _step(run, optimizer, loss, params, 5e-4)
        run.samples += batch
        threads()
        if run.spent - last > 2:
            last = run.spent
            run.log(loss=round(float(loss.detach()), 4), **figures())
            run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    run.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict()})
    found = figures()
    vae.eval().save_pretrained(run.folder / "vae")
    run.log(**found, done=True)


def with_pixels(count: int, seed: int, *, held_out: bool = False) -> tuple[Tensor, list[Scene]]:
    """Pictures (count, 3, 128, 128) uint8 and their scenes; one in three is pixel art."""
    rng = np.random.default_rng([seed, count])
    pictures, scenes = np.empty((count, 3, 128, 128), np.uint8), []
    for i in range(count):
        scene = sample(rng, held_out=held_out)
        scenes.append(scene.but(style="pixel") if i % 3 == 0 else scene)
        pictures[i] = render(scenes[-1], int(rng.integers(1 << 40))).transpose(2, 0, 1)
    return torch.from_numpy(pictures), scenes


@torch.no_grad()
def decoded(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """Pictures (n, 3, 128, 128) in -1..1 of latents, on the CPU."""
    training = vae.training
    vae.eval()
    y = torch.cat([vae.decode(b.to(vae.device)).sample.float().clamp(-1, 1).cpu() for b in z.split(12)])
    vae.train(training)
    return y


def digest(vae: AutoencoderKL) -> str:
    """Of the weights that make latents: the encoder's. Another decoder leaves latents valid."""
    mark = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for name, value in sorted(part.state_dict().items()):
            mark.update(name.encode())
            mark.update(value.detach().float().cpu().numpy().tobytes())
    return mark.hexdigest()[:16]


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
