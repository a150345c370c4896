"""The judge: a small network, trained on renders only, that reads a picture's words.

It sees what a prompt asks for - subject, colour, place, time of day, season, weather, sky and style, and how
much there is of each word of degree - and where the subject stands. `python -m storybook.judge` trains it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .scenes import ANIMALS, ATTRIBUTES, DEGREES, LEAST, WEATHERS

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "judge"
WEIGHTS = FOLDER / "judge.safetensors"
PRESENT = LEAST / 2  # a degree above this counts as there
SIDE = 128  # of a picture as it is read, whatever its own is
MASK = 32  # side of the subject's mask


def _block(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU())


class Judge(nn.Module):
    """(B, 3, SIDE, SIDE) in -1..1 -> logits per attribute, degrees in 0..1, logits of the subject's mask."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(_block(3, 24, 2), _block(24, 48, 2), _block(48, 64, 1))  # 32 x 32
        self.high = nn.Sequential(
            _block(64, 96, 2), _block(96, 128, 1), _block(128, 160, 2), _block(160, 160, 1)
        )
        self.mask = nn.Sequential(_block(64 + 160, 48, 1), nn.Conv2d(48, 1, 1))
        # What is asked of where the subject is, and what of the whole picture, small things included.
        width = 64 + 160 + 160 + 160 + 64 + 64
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(v)) for name, v in ATTRIBUTES.items()})
        self.degrees = nn.Sequential(nn.Linear(width, 128), nn.SiLU(), nn.Linear(128, len(DEGREES)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features, mask = self._read(x)
        out = {name: head(features) for name, head in self.heads.items()}
        return out | {"degrees": self.degrees(features), "mask": mask[:, 0]}

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 672), and logits of the subject's mask (B, 1, 32, 32)."""
        low = self.low(x)
        high = self.high(low)  # 8 x 8
        wide = F.interpolate(high, size=low.shape[-2:], mode="nearest")
        mask = self.mask(torch.cat([low, wide], 1))  # (B, 1, 32, 32)
        weight = torch.sigmoid(mask)
        inside = (low * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1)
        inside_high = (wide * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1)
        whole = [high.mean((2, 3)), high.amax((2, 3)), low.mean((2, 3)), low.amax((2, 3))]
        return torch.cat([inside, inside_high, *whole], 1), mask

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Judge:
        """The shipped judge, ready to read."""
        judge = cls()
        weights = {k: v.float() for k, v in load_file(path).items()}
        counters = {k: v for k, v in judge.state_dict().items() if k.endswith("num_batches_tracked")}
        judge.load_state_dict(counters | weights)  # all but these counters, which reading does not use
        return judge.eval()

    @torch.no_grad()
    def features(self, pictures: Sequence[Image.Image | np.ndarray]) -> Tensor:
        """(n, 672): what the heads read from."""
        return torch.cat(
            [
                self._read(torch.stack([as_input(p) for p in pictures[i : i + 64]]))[0]
                for i in range(0, len(pictures), 64)
            ]
        )

    @torch.no_grad()
    def read(self, pictures: Sequence[Image.Image | np.ndarray]) -> list[dict[str, Any]]:
        """Per picture: the word of each attribute, the degrees (0..1), and `mask` (32, 32) in 0..1."""
        x = torch.stack([as_input(p) for p in pictures])
        readings: list[dict[str, Any]] = []
        for batch in x.split(64):
            out = {k: v.float() for k, v in self(batch).items()}
            for b in range(len(batch)):
                words = {n: values[int(out[n][b].argmax())] for n, values in ATTRIBUTES.items()}
                degrees = {n: float(out["degrees"][b, i].clamp(0, 1)) for i, n in enumerate(DEGREES)}
                readings.append({**words, **degrees, "mask": torch.sigmoid(out["mask"][b]).numpy()})
        return readings


def as_input(picture: Image.Image | np.ndarray) -> Tensor:
    """(3, SIDE, SIDE) in -1..1 of a picture of any size."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1


def _worn(x: Tensor, generator: torch.Generator) -> Tensor:
    """Renders as a generator of pictures would make them: soft, noisy, a little off in colour."""
    B = len(x)
    soft = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False)
    share = torch.rand(B, 1, 1, 1, generator=generator)
    x = x + (soft - x) * share
    x = x + torch.randn(x.shape, generator=generator) * 0.08 * torch.rand(B, 1, 1, 1, generator=generator)
    return (x * (1 + 0.1 * torch.randn(B, 3, 1, 1, generator=generator))).clamp(-1, 1)


def _dataset(count: int, seed: int, *, held_out: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures uint8, attribute indices (n, 8), degrees (n, 7), masks (n, 32, 32)."""
    from .draw import render, subject_mask  # needs skia, which reading pictures does not
    from .scenes import sample

    rng = np.random.default_rng(seed)
    pictures = np.empty((count, 3, SIDE, SIDE), np.uint8)
    words = np.empty((count, len(ATTRIBUTES)), np.int64)
    degrees = np.empty((count, len(DEGREES)), np.float32)
    masks = np.empty((count, MASK, MASK), np.float32)
    for i in range(count):
        scene = sample(rng, held_out=held_out)
        if rng.random() < 0.5:  # what is rare in the world is as often here
            scene = scene.but(
                style=str(rng.choice(ATTRIBUTES["style"])),
                weather=str(rng.choice(ATTRIBUTES["weather"])),
                season=str(rng.choice(ATTRIBUTES["season"])),
            )
            often = [name for name in DEGREES if name not in WEATHERS and rng.random() < 0.4]
            amounts: dict[str, Any] = {name: float(rng.uniform(LEAST, 1)) for name in often}
            if scene.weather != "clear":
                amounts[scene.weather] = float(rng.uniform(LEAST, 1))
            if "starry" in amounts:
                amounts["time"] = "night"
            if scene.subject not in ANIMALS:
                amounts.pop("fluffy", None)
            scene = scene.but(**amounts)
        layout = int(rng.integers(1 << 40))
        pictures[i] = render(scene, layout, SIDE).transpose(2, 0, 1)
        words[i] = [values.index(getattr(scene, name)) for name, values in ATTRIBUTES.items()]
        degrees[i] = [getattr(scene, name) for name in DEGREES]
        masks[i] = subject_mask(scene, layout, MASK)
    return tuple(torch.from_numpy(a) for a in (pictures, words, degrees, masks))  # type: ignore[return-value]


def _loss(out: dict[str, Tensor], words: Tensor, degrees: Tensor, masks: Tensor) -> Tensor:
    loss = sum(F.cross_entropy(out[name].float(), words[:, i]) for i, name in enumerate(ATTRIBUTES))
    loss = loss + 30 * F.mse_loss(out["degrees"].float(), degrees)
    return loss + 2 * F.binary_cross_entropy_with_logits(out["mask"].float(), masks)


def train(count: int, epochs: int, seed: int, bf16: bool) -> dict[str, Any]:
    """Train, write the weights and the figures on held-out renders. Returns the figures."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pictures, words, degrees, masks = _dataset(count, seed)
    judge, batch = Judge(), 64
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=1e-3)
    total = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    for epoch in range(epochs):
        judge.train()
        for picked in torch.randperm(count, generator=generator).split(batch)[: count // batch]:
            x = _worn(pictures[picked].float() / 127.5 - 1, generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = judge(x)
            loss = _loss(out, words[picked], degrees[picked], masks[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print("judge", {"epoch": epoch + 1, "loss": round(float(loss.detach()), 4)}, flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() for k, v in judge.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(weights, WEIGHTS)
    figures = validate(Judge.load(), 1500, seed + 1)
    (FOLDER / "judge.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def _degree(read: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """How well a word of degree is read."""
    there = true > 0
    return {
        "mean error": round(float(np.abs(read - true).mean()), 4),
        "there or not": round(float(((read > PRESENT) == there).mean()), 4),
        "correlation where there": round(float(np.corrcoef(read[there], true[there])[0, 1]), 4),
    }


def validate(judge: Judge, count: int, seed: int) -> dict[str, Any]:
    """Shares read right on held-out renders and degrees' errors, in all and per style; IoU of masks."""
    pictures, words, degrees, masks = _dataset(count, seed, held_out=True)
    readings = judge.read(list(pictures.permute(0, 2, 3, 1).numpy()))
    styles = [ATTRIBUTES["style"][int(w)] for w in words[:, -1]]
    figures: dict[str, Any] = {"held-out renders": count}
    for i, (name, values) in enumerate(ATTRIBUTES.items()):
        right = np.array([r[name] == values[int(w)] for r, w in zip(readings, words[:, i], strict=True)])
        per_style = {s: round(float(right[[t == s for t in styles]].mean()), 4) for s in ATTRIBUTES["style"]}
        figures[name] = {"all": round(float(right.mean()), 4), **per_style}
    subjects = np.array([ATTRIBUTES["subject"][int(w)] for w in words[:, 0]])
    times = np.array([ATTRIBUTES["time"][int(w)] for w in words[:, list(ATTRIBUTES).index("time")]])
    sayable = {"fluffy": np.isin(subjects, ANIMALS), "starry": times == "night"}
    for i, name in enumerate(DEGREES):
        asked = sayable.get(name, np.full(count, True))  # of what it can be said
        read, true = np.array([r[name] for r in readings])[asked], degrees[:, i].numpy()[asked]
        of_style = np.array(styles)[asked]
        figures[name] = _degree(read, true) | {
            style: _degree(read[of_style == style], true[of_style == style]) for style in ATTRIBUTES["style"]
        }
    mine = np.stack([r["mask"] for r in readings]) > 0.5
    true_masks = masks.numpy() > 0.5
    iou = (mine & true_masks).sum((1, 2)) / (mine | true_masks).sum((1, 2)).clip(1)
    figures["subject mask IoU"] = round(float(iou.mean()), 4)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bf16", action="store_true", help="on CPUs with AMX")
    args = parser.parse_args()
    print(json.dumps(train(args.count, args.epochs, args.seed, args.bf16), indent=2))
