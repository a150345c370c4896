"""Does the bundled model show what prompts ask, and do edits change that and nothing else?

`python -m storybook.evaluate [--count N]` writes docs/evaluation.json, .md and .png. Prompts are of
combinations of subject, colour and place that were never trained on; the judge, which knows renders only,
reads the pictures.

The one module of `storybook` that imports `p2p_core`: it measures the whole, through the public API.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from p2p_core import Blend, Edit, PromptToPrompt, Source

from .captions import caption
from .judge import PRESENT, Judge
from .report import figure, table
from .scenes import ATTRIBUTES, Scene, sample

ROOT = Path(__file__).resolve().parent.parent
Reading = dict[str, Any]

KINDS = ("subject", "color", "place", "time", "style", "weather")
LOCAL = ("subject", "color")  # edits that should leave the rest of the picture alone
ARMS = ("same seed only", "injection", "injection + blend")
# The windows of cross- and self-attention injection: where the edit comes through and the rest stays.
WINDOWS: dict[str, tuple[float, float]] = {
    "subject": (0.5, 0.2),
    "color": (0.8, 0.6),
    "place": (0.6, 0.2),
    "time": (0.6, 0.4),
    "style": (0.5, 0.2),
    "weather": (0.8, 0.4),
}
FADERS = (-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One edit with its answer: the scene that the target prompt describes."""

    kind: str
    source: Scene
    target: Scene
    word: str  # the target's new word, as the judge calls it

    def edit(self, arm: str, windows: tuple[float, float] | None = None) -> Edit | None:
        """The edit of an arm; None where the arm makes no sense."""
        prompt = caption(self.target)
        if arm == "same seed only":
            return Edit(prompt, cross_steps=0.0, self_steps=0.0)
        cross, self_ = windows or WINDOWS[self.kind]
        blend = None
        if arm == "injection + blend":
            if self.kind not in LOCAL:
                return None
            blend = Blend(source_words=(self.source.subject,), target_words=(self.target.subject,))
        return Edit(prompt, cross_steps=cross, self_steps=self_, blend=blend)

    def shown(self, reading: Reading, source: Reading) -> bool:
        """Whether the picture shows what the edit asked for."""
        if self.kind == "weather":
            return reading[self.word] > max(PRESENT, source[self.word])
        return reading[self.kind] == self.word

    def kept(self, reading: Reading, source: Reading) -> bool:
        """Whether all that the edit didn't name is read as in the source picture."""
        return all(reading[name] == source[name] for name in ATTRIBUTES if name != self.kind)


def tasks_of(scene: Scene, rng: np.random.Generator) -> Iterator[Task]:
    """One edit of each kind, towards a random other word."""
    for kind in KINDS:
        if kind == "weather":
            word = str(rng.choice(("foggy", "snowy")))
            target = scene.but(**{word: 1.0})
        else:
            word = str(rng.choice([w for w in ATTRIBUTES[kind] if w != getattr(scene, kind)]))
            target = scene.but(**{kind: word})
        yield Task(kind=kind, source=scene, target=target, word=word)


def plain_scene(rng: np.random.Generator) -> Scene:
    """A held-out scene by day, drawn as an illustration: so that time and style are phrases to add."""
    clear = {"foggy": 0.0, "snowy": 0.0, "starry": 0.0}
    return sample(rng, held_out=True).but(time="day", style="illustration", **clear)


def psnr_outside(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """dB between two pictures (H, W, 3) uint8 where the mask (H, W) is false; 60 at most."""
    error = ((a.astype(float) - b.astype(float)) ** 2)[~mask]
    return float(10 * np.log10(255**2 / max(error.mean(), 0.065))) if error.size else float("nan")


def subject_region(readings: list[Reading], size: int) -> np.ndarray:
    """Union of the subjects' regions that the judge sees in pictures, one cell wider: (size, size) bool."""
    cells = np.max([r["mask"] for r in readings], axis=0) > 0.3
    wide = np.pad(cells, 1)
    n = len(cells)
    cells = np.any([wide[y : y + n, x : x + n] for y in range(3) for x in range(3)], axis=0)
    return np.kron(cells, np.ones((size // n, size // n), bool))


def overlap(a: Reading, b: Reading) -> float:
    """Intersection over union of where the subject stands in two pictures."""
    one, two = a["mask"] > 0.5, b["mask"] > 0.5
    return float((one & two).sum() / max(1, (one | two).sum()))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An edit's pictures: the source's, and one for each arm (or pair of windows) that was tried."""

    task: Task
    source: Image.Image
    edited: dict[Any, Image.Image]


class Artist:
    """Draws all the pictures; they are read when all are there."""

    def __init__(self, p2p: PromptToPrompt, *, steps: int, guidance: float, seed: int) -> None:
        self.p2p, self.steps, self.guidance, self.seed = p2p, steps, guidance, seed

    def source(self, scene: Scene, number: int) -> Source:
        return self.p2p.generate(
            caption(scene), seed=1000 + number, steps=self.steps, guidance_scale=self.guidance
        )

    def pictures(self, count: int) -> list[tuple[Scene, Image.Image]]:
        """Pictures of held-out prompts, of all times and styles."""
        rng, drawn = np.random.default_rng(self.seed), []
        for i in range(count):
            scene = sample(rng, held_out=True)
            source = self.source(scene, i)
            drawn.append((scene, source.image))
            self.p2p.forget(source)
        return drawn

    def edits(self, count: int) -> list[Drawn]:
        """Every kind of edit of `count` sources, by every arm."""
        rng, drawn = np.random.default_rng(self.seed + 1), []
        for i in range(count):
            scene = plain_scene(rng)
            source = self.source(scene, i)
            for task in tasks_of(scene, rng):
                asked = {arm: edit for arm in ARMS if (edit := task.edit(arm))}
                drawn.append(self._drawn(task, source, asked))
            self.p2p.forget(source)
        return drawn

    def sweep(self, count: int, kinds: tuple[str, ...]) -> list[Drawn]:
        """Pairs of windows tried on a few other sources."""
        grid = [(c, s) for c in (0.3, 0.5, 0.7, 0.9) for s in (0.0, 0.3, 0.6)]
        rng, drawn = np.random.default_rng(self.seed + 3), []
        for i in range(count):
            scene = plain_scene(rng)
            source = self.source(scene, 200 + i)
            for task in tasks_of(scene, rng):
                if task.kind in kinds:
                    asked = {w: edit for w in grid if (edit := task.edit("injection", w))}
                    drawn.append(self._drawn(task, source, asked))
            self.p2p.forget(source)
        return drawn

    def faders(self, count: int) -> dict[str, list[list[Image.Image]]]:
        """Per word, per source a picture for each fader; everything else injected for the whole run."""
        drawn: dict[str, list[list[Image.Image]]] = {"foggy": [], "snowy": []}
        for word, pictures in drawn.items():
            rng = np.random.default_rng(self.seed + 2)
            for i in range(count):
                scene = plain_scene(rng).but(**{word: 0.6})
                source = self.source(scene, 500 + i)
                edits = [
                    Edit(caption(scene), cross_steps=1.0, self_steps=0.0, weights={word: c}) for c in FADERS
                ]
                pictures.append([r.image for r in self.p2p.edit_many(source, edits)])
                self.p2p.forget(source)
        return drawn

    def _drawn(self, task: Task, source: Source, asked: dict[Any, Edit]) -> Drawn:
        results = self.p2p.edit_many(source, list(asked.values()))
        images = {name: result.image for name, result in zip(asked, results, strict=True)}
        return Drawn(task=task, source=source.image, edited=images)


def judged_pictures(drawn: list[tuple[Scene, Image.Image]], judge: Judge) -> dict[str, Any]:
    """How often a picture shows each thing that was asked, and all at once."""
    readings = judge.read([image for _, image in drawn])
    right = {
        name: [r[name] == getattr(scene, name) for r, (scene, _) in zip(readings, drawn, strict=True)]
        for name in ATTRIBUTES
    }
    shares = {name: round(float(np.mean(values)), 3) for name, values in right.items()}
    return {"prompts": len(drawn), **shares, "all": round(float(np.all([*right.values()], axis=0).mean()), 3)}


def judged_edits(drawn: list[Drawn], judge: Judge) -> list[dict[str, Any]]:
    """A row of means per kind of edit and arm."""
    found: dict[tuple[str, Any], list[dict[str, float]]] = {}
    for one in drawn:
        task = one.task
        before, *after = judge.read([one.source, *one.edited.values()])
        region = subject_region([before, *after], one.source.width)
        for (arm, image), reading in zip(one.edited.items(), after, strict=True):
            row = {
                "shown": float(task.shown(reading, before)),
                "kept": float(task.kept(reading, before)),
                "layout": overlap(before, reading),
            }
            row["both"] = row["shown"] * row["kept"]
            if task.kind in LOCAL:
                row["psnr"] = psnr_outside(np.asarray(one.source), np.asarray(image), region)
            found.setdefault((task.kind, arm), []).append(row)
    return [
        {
            "edit": kind,
            "arm": arm,
            "edits": len(values),
            **{k: round(float(np.nanmean([v[k] for v in values])), 3) for k in values[0]},
        }
        for (kind, arm), values in found.items()
    ]


def judged_faders(drawn: dict[str, list[list[Image.Image]]], judge: Judge) -> list[dict[str, Any]]:
    """The judged degree of a word against its fader c."""
    rows = []
    for word, pictures in drawn.items():
        degrees = [[r[word] for r in judge.read(row)] for row in pictures]
        means = {f"{c:g}": round(float(m), 3) for c, m in zip(FADERS, np.mean(degrees, axis=0), strict=True)}
        rows.append({"word": word, "pictures": len(pictures), **means})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=24, help="sources edited; twice as many are generated")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for evaluation.*")
    parser.add_argument("--sweep", nargs="*", choices=KINDS, help="only try windows, for these kinds of edit")
    args = parser.parse_args()

    begun = time.monotonic()
    p2p = PromptToPrompt.from_pretrained(args.model)
    artist = Artist(p2p, steps=args.steps, guidance=args.guidance, seed=args.seed)
    if args.sweep is not None:
        drawn = artist.sweep(args.count, tuple(args.sweep) or KINDS)
        for row in judged_edits(drawn, Judge.load()):
            print(json.dumps(row))
        return
    drawn = artist.edits(args.count)
    pictures, faders = artist.pictures(2 * args.count), artist.faders(max(2, args.count // 3))
    figure([(d.task.source, d.task.target, d.source, d.edited) for d in drawn], ARMS).save(
        args.out / "evaluation.png"
    )
    judge = Judge.load()
    result = {
        "settings": {
            "model": args.model,
            "count": args.count,
            "steps": args.steps,
            "guidance_scale": args.guidance,
            "seed": args.seed,
            "windows": {kind: {"cross": c, "self": s} for kind, (c, s) in WINDOWS.items()},
            "torch": torch.__version__,
            "device": str(p2p.device),
        },
        "generation": judged_pictures(pictures, judge),
        "edits": judged_edits(drawn, judge),
        "faders": judged_faders(faders, judge),
        "seconds": round(time.monotonic() - begun),
    }
    (args.out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.out / "evaluation.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
