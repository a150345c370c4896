"""Training the UNet and its text encoder together on latents of drawings, or going on with trained ones.

An exponential moving average of the weights is what is written. Another hand's drawings are seen with little
noise only: what is drawn from pure noise stays in the world's own style, and such a drawing survives its
inversion and its edits.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import caption, training_caption
from .common import Lanes, Run, autocast, rate
from .evaluate import draw, held_out, judged, judged_styles
from .judge import WEIGHTS, Judge
from .latents import Latents
from .unet import ROUGH_TIMES, losses_of, scheduler, text_encoder, times, token_ids, unet

PROMPTS = (
    "a red house on a snowy hill at night",
    "a blue car on a street",
    "a green cat in a forest in autumn",
    "a fluffy white rabbit in a field at sunset",
    "a purple castle in a desert, with a rainbow",
    "pixel art of a pink balloon on a beach",
    "a yellow lighthouse on a beach at night, starry",
    "an orange dog on a rainy street",
    "pixel art of a blue mushroom in a forest at night",
    "a pencil sketch of a red rocket in a desert at sunset",
    "a pencil sketch of a pink tree in a blossoming field",
    "a watercolor of a white bear on a hill in winter",
)  # looked at while training, always the same
JUDGED = 64  # held-out prompts drawn and judged while training
ROUGH_SHARE = 1 / 8  # of a batch


def begin(run: Run, channels: tuple[int, ...], first: Path | None) -> nn.ModuleDict:
    """The networks before training: new, or with `first`, a pipeline's folder, those of the first edition."""
    tokenizer = CLIPTokenizer.from_pretrained(run.folder / "tokenizer")
    nets = nn.ModuleDict({"text_encoder": text_encoder(tokenizer), "unet": unet(channels)})
    if first is not None:
        words = CLIPTextModel.from_pretrained(first / "text_encoder", dtype=torch.float32)
        nets["text_encoder"].load_state_dict(words.state_dict())
        trained = UNet2DConditionModel.from_pretrained(first / "unet", dtype=torch.float32)
        nets["unet"].load_state_dict(trained.state_dict())
    return nets


def train(
    run: Run,
    device: torch.device,
    *,
    channels: tuple[int, ...],
    batch: int,
    part: int,
    peak: float,
    seed: int,
    bf16: bool,
    first: Path | None = None,
    ema: float = 0.9995,
) -> None:
    """Train for the run's minutes and write `unet/` and `text_encoder/` (the averaged weights).

    first: the folder of the first edition, to go on from. part: samples that a lane takes at a time.
    """
    torch.manual_seed(seed + run.step)
    tokenizer = CLIPTokenizer.from_pretrained(run.folder / "tokenizer")
    nets = begin(run, channels, first).to(device)
    averaged = copy.deepcopy(nets).eval().requires_grad_(False)
    if device.type == "cpu":  # plain matrix products: the fused kernel's gradient takes twice as long there
        nets["unet"].set_attn_processor(AttnProcessor())
    parameters = list(nets.parameters())
    optimizer = torch.optim.AdamW(parameters, peak, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    state = run.resume()
    if state:
        nets.load_state_dict(state["nets"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    bars = scheduler().alphas_cumprod.to(device)
    data, rough = Latents(run.folder), Latents(run.folder, "rough")
    rng, lanes = np.random.default_rng([seed, run.step]), Lanes(device)

    def losses(x: Tensor, ids: Tensor, t: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, bf16):
            per_sample, weight = losses_of(nets, x, ids, t, eps, bars)
        return (per_sample * weight).mean(), per_sample.detach().mean()

    last_log, last_sheet, seen, errors = run.spent, run.spent, run.samples, []
    while run.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, peak, hold=0.5)
        few = round(batch * ROUGH_SHARE) if len(rough) else 0
        x, scenes = data.batch(rng.integers(len(data), size=batch - few))
        t = times(torch.rand(batch - few), len(bars))
        if few:
            theirs, their_scenes = rough.batch(rng.integers(len(rough), size=few))
            x, scenes = torch.cat([x, theirs]), scenes + their_scenes
            t = torch.cat([t, times(torch.rand(few), ROUGH_TIMES)])
        ids = token_ids(tokenizer, [training_caption(s, rng) for s in scenes])
        mixed = torch.randperm(batch)  # so that a part has all kinds of times
        values = (v[mixed].to(device).split(part) for v in (x, ids, t, torch.randn_like(x)))
        errors += lanes.gradients(parameters, losses, list(zip(*values, strict=True)))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        decay = min(ema, (1 + run.step) / (10 + run.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), parameters, 1 - decay)
        if run.spent - last_log > 2:
            speed = (run.samples - seen) / (run.spent - last_log) / 60
            error = round(float(torch.stack(errors).mean()), 4)
            run.log(loss=error, per_second=round(speed, 1), data=len(data), rough=len(rough))
            last_log, seen, errors = run.spent, run.samples, []
            data.refresh()
            rough.refresh()
        if run.spent - last_sheet > 20:
            last_sheet = run.spent
            _snapshot(run, nets, averaged, optimizer, tokenizer)
    _snapshot(run, nets, averaged, optimizer, tokenizer)
    run.log(done=True)


def _snapshot(
    run: Run, nets: nn.ModuleDict, averaged: nn.ModuleDict, optimizer: Any, tokenizer: CLIPTokenizer
) -> None:
    """Checkpoint, averaged weights as diffusers folders, and a sheet of samples to look at."""
    run.save(
        {
            "nets": nets.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
    )
    for name in ("text_encoder", "unet"):
        averaged[name].save_pretrained(run.folder / name)
    vae = AutoencoderKL.from_pretrained(run.folder / "vae").to(averaged["unet"].device).eval()
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=averaged["text_encoder"],
        tokenizer=tokenizer,
        unet=averaged["unet"],
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    images = draw(pipe, PROMPTS, steps=12, guidance=5.0, seed=0)
    sheet = np.vstack([np.hstack([np.asarray(i) for i in images[k : k + 6]]) for k in (0, 6)])
    Image.fromarray(sheet).save(run.folder / f"sheet-{run.samples:07d}.png")
    if WEIGHTS.exists():
        scenes, judge = held_out(JUDGED, seed=77), Judge.load()
        images = draw(pipe, [caption(s) for s in scenes], steps=12, guidance=5.0, seed=500)
        of_styles = {style: row["all"] for style, row in judged_styles(scenes, images, judge).items()}
        run.log(shown=judged(scenes, images, judge), styles=of_styles)
