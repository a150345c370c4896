"""A faster UNet: one row instead of two, and fewer steps.

The student is told the guidance scale w by `time_cond_proj_dim`, as diffusers' pipelines tell it, and learns
the teacher's guided prediction (Meng et al. 2023, section 3.1). Given a number of steps, it learns as well to
do in one step of DDIM what the guided teacher does in several (progressive distillation, Salimans & Ho 2022,
section 3).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import training_caption
from .common import Lanes, Run, autocast, rate
from .latents import Latents
from .unet import scheduler, times, token_ids

GUIDANCE = (1.0, 8.0)  # scales that the student is taught
EMBEDDING = 64  # width of the scale's embedding
EMA = 0.999
Predict = Callable[[Tensor, Tensor], Tensor]  # (x_t, t) -> guided velocity


def student_of(teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same network with an input for the guidance scale, which it does not heed yet."""
    config = {name: value for name, value in teacher.config.items() if not name.startswith("_")}
    student = UNet2DConditionModel(**config | {"time_cond_proj_dim": EMBEDDING})
    weights = teacher.state_dict()
    name = "time_embedding.cond_proj.weight"
    student.load_state_dict(weights | {name: torch.zeros_like(student.state_dict()[name])})
    return student


def scale_embedding(w: Tensor, width: int = EMBEDDING) -> Tensor:
    """(B, width) of guidance scales (B,), as diffusers' pipelines embed them."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(np.log(10_000.0) / (half - 1)))
    angles = 1000 * (w[:, None] - 1) * frequencies.to(w.device)
    return torch.cat([angles.sin(), angles.cos()], 1)


def step(x: Tensor, v: Tensor, a: Tensor, a_next: Tensor) -> Tensor:
    """One step of DDIM from signal level a to a_next (alphas_cumprod, (B, 1, 1, 1)) by the velocity v."""
    x0 = a.sqrt() * x - (1 - a).sqrt() * v
    eps = a.sqrt() * v + (1 - a).sqrt() * x
    return a_next.sqrt() * x0 + (1 - a_next).sqrt() * eps


def velocity_between(x: Tensor, x_next: Tensor, a: Tensor, a_next: Tensor) -> Tensor:
    """The velocity that takes x to x_next in one `step`."""
    of_x = (a * a_next).sqrt() + ((1 - a) * (1 - a_next)).sqrt()
    of_v = ((1 - a_next) * a).sqrt() - (a_next * (1 - a)).sqrt()
    return (x_next - of_x * x) / of_v


def several_steps(predict: Predict, x: Tensor, t: Tensor, t_next: Tensor, bars: Tensor, count: int) -> Tensor:
    """From time t to t_next, (B,) each, in `count` steps of DDIM; below 0 is the end, without noise."""
    for k in range(count):
        now, then = (t + (t_next - t) * j // count for j in (k, k + 1))
        a, a_next = (_level(bars, time) for time in (now, then))
        x = step(x, predict(x, now), a, a_next)
    return x


def _level(bars: Tensor, t: Tensor) -> Tensor:
    """alphas_cumprod (B, 1, 1, 1) at times t; 1 below 0."""
    return torch.where(t < 0, torch.ones_like(bars[0]), bars[t.clamp_min(0)]).view(-1, 1, 1, 1)


def train(
    run: Run,
    device: torch.device,
    *,
    batch: int,
    part: int,
    peak: float,
    seed: int,
    bf16: bool,
    steps: int | None = None,
    substeps: int = 3,
) -> None:
    """Train a student of the run's `unet/` for its minutes and write it to a folder of the stage's name.

    steps: None for the guided prediction at any time alone; else that many steps take a picture from noise.
    """
    torch.manual_seed(seed + run.step)
    folder: Path = run.folder
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    words = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device).eval()
    teacher = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32).to(device).eval()
    teacher.requires_grad_(False)
    student = student_of(teacher).to(device).train()
    averaged = copy.deepcopy(student).eval().requires_grad_(False)
    if device.type == "cpu":  # plain matrix products: the fused kernel's gradient takes twice as long there
        student.set_attn_processor(AttnProcessor())
    parameters = list(student.parameters())
    optimizer = torch.optim.AdamW(parameters, peak, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    state = run.resume()
    if state:
        student.load_state_dict(state["student"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    bars, data = scheduler().alphas_cumprod.to(device), Latents(folder)
    rng, lanes = np.random.default_rng([seed, run.step]), Lanes(device)
    with torch.no_grad():
        empty = words(token_ids(tokenizer, [""]).to(device))[0]

    def losses(x_t: Tensor, ids: Tensor, t: Tensor, t_next: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), autocast(device, bf16):
            text = words(ids)[0]
            both = torch.cat([empty.expand_as(text), text])

            def guided(x: Tensor, time: Tensor) -> Tensor:
                without, said = (
                    teacher(torch.cat([x, x]), torch.cat([time, time]), both).sample.float().chunk(2)
                )
                return without + w.view(-1, 1, 1, 1) * (said - without)

            if steps is None:
                target = guided(x_t, t)
            else:
                x_next = several_steps(guided, x_t, t, t_next, bars, substeps)
                target = velocity_between(x_t, x_next, _level(bars, t), _level(bars, t_next))
        with autocast(device, bf16):
            out = student(x_t, t, text, timestep_cond=scale_embedding(w)).sample
        error = (out.float() - target).square().mean()
        return error, error.detach()

    def save() -> None:
        run.save(
            {
                "student": student.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
        )
        averaged.save_pretrained(folder / run.stage)

    last, seen, errors = run.spent, run.samples, []
    while run.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, peak, hold=0.5)
        x, scenes = data.batch(rng.integers(len(data), size=batch))
        ids = token_ids(tokenizer, [training_caption(s, rng) for s in scenes])
        t = times(torch.rand(batch), len(bars) if steps is None else steps)
        if steps is None:
            t_next = t
        else:  # the last time of each of the steps' stretches, as trailing spacing has it
            stretch = len(bars) // steps
            t, t_next = (t + 1) * stretch - 1, t * stretch - 1
        a = _level(bars.cpu(), t)
        x_t = a.sqrt() * x + (1 - a).sqrt() * torch.randn_like(x)
        w = GUIDANCE[0] + (GUIDANCE[1] - GUIDANCE[0]) * torch.rand(batch)
        mixed = torch.randperm(batch)  # so that a part has all kinds of times
        values = (v[mixed].to(device).split(part) for v in (x_t, ids, t, t_next, w))
        errors += lanes.gradients(parameters, losses, list(zip(*values, strict=True)))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        decay = min(EMA, (1 + run.step) / (10 + run.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), parameters, 1 - decay)
        if run.spent - last > 5:
            speed = (run.samples - seen) / (run.spent - last) / 60
            run.log(loss=round(float(torch.stack(errors).mean()), 4), per_second=round(speed, 1))
            save()
            last, seen, errors = run.spent, run.samples, []
    save()
    run.log(done=True)
