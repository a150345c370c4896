"""Going on with the autoencoder's decoder alone; the latents, and so a UNet trained on them, stay valid.

It learns from exact latents of drawings, from latents as the UNet makes them, and, later,
from a critic: outlines as crisp as drawn are worth more than the last decibel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .common import Lanes, Run, as_float, autocast, rate
from .critic import Critic, critic_loss, decoder_loss
from .drawings import renders
from .scenes import Scene
from .vae import decoded, figures, latents_of, loss_of

EVERY = 10  # minutes between figures, and between checkpoints
HELD = 48  # held-out pictures that figures are taken of
PEAK = 5e-4
CRITIC_PEAK = 4e-4
CRITIC_FROM, CRITIC_FULL = 0.2, 0.5  # of the progress: when the critic begins to be heard, and when fully
CRITIC_SHARE = 0.1  # of the gradient at the decoder's last layer, when fully; with 0.3 it draws noise
SOFT = 1200  # pictures whose latents are made by a UNet as well
ROUGH = 1 / 8  # of the pictures are by another hand
Softened = Callable[[Tensor, list[Scene]], Tensor]


def train(
    run: Run,
    device: torch.device,
    *,
    pictures: int,
    batch: int,
    part: int,
    seed: int,
    bf16: bool,
    softened: Softened | None = None,
) -> None:
    """Train on whole pictures and write `vae/` in the run's folder anew.

    softened: latents (B, C, 16, 16) as a UNet would make them of such latents, which half of each batch is
    decoded from; it is asked of the first SOFT pictures, since it takes longer than drawing them.
    """
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(run.folder / "vae").to(device).eval()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    parameters, critic = [p for p in vae.parameters() if p.requires_grad], Critic().to(device)
    optimizer = torch.optim.AdamW(parameters, PEAK, betas=(0.9, 0.95), weight_decay=1e-4)
    critics_optimizer = torch.optim.AdamW(critic.parameters(), CRITIC_PEAK, betas=(0.5, 0.9))
    state = run.resume()
    if state:
        vae.load_state_dict(state["vae"])
        critic.load_state_dict(state["critic"])
        optimizer.load_state_dict(state["optimizer"])
        critics_optimizer.load_state_dict(state["critics_optimizer"])
    data, z, soft = _pictures(vae, pictures, seed + 1, softened)
    held, exact, held_soft = _pictures(vae, HELD, seed + 2, softened, held_out=True)
    rng, lanes = np.random.default_rng([seed, run.step]), Lanes(device)
    last_layer = vae.decoder.conv_out.weight

    def losses(x: Tensor, latents: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        with autocast(device, bf16):
            y = vae.decode(latents).sample
        y = y.float()
        loss = error = loss_of(x, y)
        share = CRITIC_SHARE * min(1.0, (run.progress - CRITIC_FROM) / (CRITIC_FULL - CRITIC_FROM))
        if share > 0:
            with autocast(device, bf16):
                heard = decoder_loss(critic(x), critic(y))
            norms = [
                torch.autograd.grad(term, last_layer, retain_graph=True)[0].norm() for term in (error, heard)
            ]
            loss = error + share * norms[0] / norms[1].clamp_min(1e-6) * heard
        return loss, (error.detach(), y.detach())

    def critics_losses(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, bf16):
            loss = critic_loss(critic(x)[-1], critic(y)[-1])
        return loss, loss.detach()

    def look() -> dict[str, dict[str, float]]:
        styles, x = held[1], as_float(held[0])
        found = {"exact": figures(x, decoded(vae, exact), styles)}
        return found | ({"soft": figures(x, decoded(vae, held_soft), styles)} if softened else {})

    def save() -> None:
        run.save(
            {
                "vae": vae.state_dict(),
                "critic": critic.state_dict(),
                "optimizer": optimizer.state_dict(),
                "critics_optimizer": critics_optimizer.state_dict(),
            }
        )

    run.log(**look())
    run.begin()
    last, seen, errors, scores = run.spent, run.samples, [], []
    while run.progress < 1:
        half = batch // 2
        picked = torch.from_numpy(rng.integers([len(z)] * half + [len(soft)] * (batch - half)))
        latents = torch.cat([z[picked[:half]], soft[picked[half:]]])
        latents = (latents + 0.02 * torch.randn(latents.shape)).to(device)
        x = as_float(data[0][picked]).to(device)
        mixed = torch.randperm(batch)  # so that a part has exact and soft latents
        parts = list(zip(x[mixed].split(part), latents[mixed].split(part), strict=True))
        reports = lanes.gradients(parameters, losses, parts)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, PEAK, hold=0.6)
        optimizer.step()
        pairs = [(x, y) for (x, _), (_, y) in zip(parts, reports, strict=True)]
        scores += lanes.gradients(list(critic.parameters()), critics_losses, pairs)
        critics_optimizer.step()
        errors += [error for error, _ in reports]
        run.step, run.samples = run.step + 1, run.samples + batch
        if run.spent - last > EVERY:
            run.log(
                loss=round(float(torch.stack(errors).mean()), 4),
                critic=round(float(torch.stack(scores).mean()), 3),
                per_second=round((run.samples - seen) / (run.spent - last) / 60, 2),
                **look(),
            )
            save()
            last, seen, errors, scores = run.spent, run.samples, [], []
    save()
    found = look()
    vae.save_pretrained(run.folder / "vae")
    run.log(**found, done=True)


def _pictures(
    vae: AutoencoderKL, count: int, seed: int, softened: Softened | None, *, held_out: bool = False
) -> tuple[tuple[Tensor, list[str]], Tensor, Tensor]:
    """Pictures with their styles, their latents, and the first of these as a UNet makes them."""
    rough = 0 if held_out else round(count * ROUGH)
    pictures, scenes = renders(count - rough, seed, held_out=held_out)
    if rough:
        theirs, their_scenes = renders(rough, seed, rough=True)
        pictures, scenes = np.concatenate([pictures, theirs]), scenes + their_scenes
    data = torch.from_numpy(pictures)
    mixed = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    data, scenes = data[mixed], [scenes[i] for i in mixed]
    z = latents_of(vae, data)
    soft = softened(z[:SOFT], scenes[:SOFT]) if softened else z
    return (data, [s.style for s in scenes]), z, soft
