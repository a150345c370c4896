"""The UNet and its text encoder, trained together on latents of renders.

v-prediction (Salimans & Ho 2022) with zero terminal SNR (Lin et al. 2024), min-SNR weights with gamma 5
(Hang et al. 2023), an exponential moving average of the weights, captions dropped one time in ten.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import caption, training_caption
from .common import Run, Threads, autocast, drawing, rate, renders
from .evaluate import draw, held_out, judged
from .judge import WEIGHTS, Judge
from .scenes import Scene
from .tokenizer import LENGTH
from .vae import CHANNELS, digest, latents_of

SHARD = 4000
WIDTH = 128  # of the text encoder
PROMPTS = (
    "a red house on a snowy hill at night",
    "a blue car on a street",
    "a green cat in a forest in autumn",
    "a fluffy white rabbit in a field at sunset",
    "a purple castle in a desert, with a rainbow",
    "a pink balloon on a beach",
    "a yellow lighthouse on a beach at night, starry",
    "an orange dog on a rainy street",
    "a blue mushroom in a forest at night",
    "a red rocket in a desert at sunset",
    "a pencil sketch of a pink tree in a blossoming field",
    "a watercolor of a white bear on a hill in winter",
)  # looked at while training, always the same
JUDGED = 48  # held-out prompts drawn and judged while training


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


def make_latents(folder: Path, count: int, seed: int, device: torch.device, *, bf16: bool) -> None:
    """Shards of latents and scenes. Shards that exist are kept, so it can be stopped and given again.

    Each keeps the digest of the encoder that made it; one of another encoder is refused.
    """
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    mark = digest(vae)
    vae.to(device).eval()
    with drawing() as pool:
        for number in range((count + SHARD - 1) // SHARD):
            file = folder / f"latents-{number:03d}.pt"
            if file.exists():
                shard(file, mark)
                continue
            pictures, scenes, _ = renders(SHARD, seed + 100 + number, pool=pool)
            z = latents_of(vae, pictures, bf16=bf16)
            aside = file.with_suffix(".tmp")
            torch.save({"latents": z.half(), "scenes": [asdict(s) for s in scenes], "encoder": mark}, aside)
            aside.replace(file)
            print("latents:", file.name, flush=True)


def shard(file: Path, mark: str) -> dict[str, Any]:
    """A shard of latents made by the encoder with this digest."""
    found: dict[str, Any] = torch.load(file, weights_only=True)
    if found.get("encoder") != mark:
        raise ValueError(
            f"{file.name} holds latents of another autoencoder; expected digest {mark}, "
            f"got {found.get('encoder')}. Remove the latents-*.pt and make them anew."
        )
    return found


class Data:
    """The shards there are. New ones may appear while training goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = digest(AutoencoderKL.from_pretrained(folder / "vae"))
        self.files: set[str] = set()
        self.latents = torch.empty(0, CHANNELS, 16, 16)
        self.scenes: list[Scene] = []
        self.refresh()

    def refresh(self) -> None:
        for file in sorted(self.folder.glob("latents-*.pt")):
            if file.name not in self.files:
                found = shard(file, self.mark)
                self.latents = torch.cat([self.latents, found["latents"].float()])
                self.scenes += [Scene(**s) for s in found["scenes"]]
                self.files.add(file.name)


def train(
    run: Run,
    device: torch.device,
    *,
    channels: tuple[int, ...],
    batch: int,
    peak: float,
    seed: int,
    bf16: bool,
    compiled: bool = False,
    begin_with: Path | None = None,
    ema: float = 0.998,
) -> None:
    """Train for the run's minutes and write `unet/` and `text_encoder/` (the averaged weights).

    compiled: through torch.compile, which takes minutes at first and is then a little faster.
    begin_with: a folder with a trained UNet of this shape to begin with; the text encoder is new.
    """
    torch.manual_seed(seed + run.step)
    tokenizer = CLIPTokenizer.from_pretrained(run.folder / "tokenizer")
    nets = nn.ModuleDict({"text_encoder": text_encoder(tokenizer), "unet": unet(channels)}).to(device)
    if begin_with is not None:
        nets["unet"].load_state_dict(UNet2DConditionModel.from_pretrained(begin_with).state_dict())
    averaged = copy.deepcopy(nets).eval().requires_grad_(False)
    if device.type == "cpu":  # plain matrix products: the fused kernel's gradient takes twice as long there
        nets["unet"].set_attn_processor(AttnProcessor())
    params = list(nets.parameters())
    optimizer = torch.optim.AdamW(params, peak, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    state = run.resume()
    if state:
        nets.load_state_dict(state["nets"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    if compiled:
        nets["unet"].forward = torch.compile(nets["unet"].forward)
    bars = scheduler().alphas_cumprod.to(device)
    data, rng, losses = Data(run.folder), np.random.default_rng(seed + run.step), []
    threads = Threads() if not compiled else None  # compiled code is made for one number of threads
    last_log, last_sheet, seen = run.spent, run.spent, run.samples
    while run.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(run.progress, run.step, peak, hold=0.5)
        picked = rng.integers(len(data.scenes), size=batch)
        captions = [training_caption(data.scenes[i], rng) for i in picked]
        with autocast(device, bf16):
            per_sample, weight = losses_of(nets, tokenizer, data.latents[picked].to(device), captions, bars)
        optimizer.zero_grad()
        (per_sample * weight).mean().backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        run.step, run.samples = run.step + 1, run.samples + batch
        if threads:
            threads()
        losses.append(per_sample.detach().mean())  # read once a minute: a GPU need not wait at every step
        decay = min(ema, (1 + run.step) / (10 + run.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), params, 1 - decay)
        if run.spent - last_log > 1:
            speed = (run.samples - seen) / (run.spent - last_log) / 60
            run.log(
                loss=round(float(torch.stack(losses).mean()), 4),
                per_second=round(speed, 1),
                threads=torch.get_num_threads(),
                data=len(data.scenes),
            )
            last_log, seen, losses = run.spent, run.samples, []
            data.refresh()
        if run.spent - last_sheet > 10:
            last_sheet = run.spent
            _snapshot(run, nets, averaged, optimizer, tokenizer)
    _snapshot(run, nets, averaged, optimizer, tokenizer)
    run.log(done=True)


def times(u: Tensor, count: int) -> Tensor:
    """(B,) times below `count`, one from each of B equal stretches; u (B,) in [0, 1).

    The same mean as B free draws, less noise in the gradient. (B - 1) + u can round up to B.
    """
    B = len(u)
    stretches = torch.arange(B, device=u.device) + u
    return (stretches * (count / B)).long().clamp(max=count - 1)


def losses_of(
    nets: nn.ModuleDict, tokenizer: CLIPTokenizer, x: Tensor, captions: list[str], bars: Tensor
) -> tuple[Tensor, Tensor]:
    """(B,) squared errors of the velocity, and their min-SNR weights. x (B, 8, 16, 16)."""
    B = len(x)
    ids = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    t = times(torch.rand(B, device=x.device), len(bars))
    a = bars[t].view(-1, 1, 1, 1)
    eps = torch.randn_like(x)
    x_t = a.sqrt() * x + (1 - a).sqrt() * eps
    v = a.sqrt() * eps - (1 - a).sqrt() * x
    text = nets["text_encoder"](ids.input_ids.to(x.device))[0]
    out = nets["unet"](x_t, t, text).sample.float()
    snr = bars[t] / (1 - bars[t])
    weight = snr.clamp(max=5) / (snr + 1)
    return (out - v).pow(2).mean((1, 2, 3)), weight.clamp(min=0.1) / 0.45


@torch.no_grad()
def softened(
    folder: Path,
    z: Tensor,
    scenes: list[Scene],
    device: torch.device,
    *,
    steps: int = 4,
    guidance_scale: float = 5.0,
    seed: int = 0,
) -> Tensor:
    """Latents as the run's UNet makes them: z (n, 8, 16, 16), noised to a timestep in 100..500, and brought
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
        top = int(torch.randint(100, 501, (), generator=generator))
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
    images = draw(pipe, PROMPTS, steps=20, guidance=5.0, seed=0)
    sheet = np.vstack([np.hstack([np.asarray(i) for i in images[k : k + 6]]) for k in (0, 6)])
    Image.fromarray(sheet).save(run.folder / f"sheet-{run.samples:07d}.png")
    if WEIGHTS.exists():
        scenes = held_out(JUDGED, seed=77)
        images = draw(pipe, [caption(s) for s in scenes], steps=12, guidance=5.0, seed=500)
        run.log(shown=judged(scenes, images, Judge.load()))
