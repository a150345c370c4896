"""Faders that keep the picture: weights as shares beside gains, and the amount of a whole edit.

`python -m benchmarks.faders` writes docs/faders.json and .md.

- **modes**: a word of degree's fader in both modes. How well the judged degree follows it; the PSNR to the
  picture at c = 1 where the degree has first moved by `MOVED`, up and down, so at equal degree; and how often
  the subject is still read as it was where the fader stands at its highest.
- **amounts**: edits of every kind at amounts from 0 to 1. How well what was asked for follows the amount (a
  word of degree's degree; of others, how much more the judge believes the new word than the old), and the
  PSNR to the source at an amount of one half and at 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p2p_core import Edit, PromptToPrompt
from storybook.captions import caption
from storybook.judge import Judge
from storybook.scenes import ATTRIBUTES, DEGREES

from .answers import Row
from .edits_tuning import METHODS, best
from .measures import correlation, psnr
from .pages import write_page
from .studio import Studio
from .tasks import Setting, Task, by_source, fader_scenes, tasks

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = (-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
AMOUNTS = tuple(np.linspace(0, 1, 11).round(1).tolist())
MODES = ("gain", "share")
MOVED = 0.2  # of a degree, which goes from 0 to 1
FADER = Setting(cross=1.0, self_=0.3)
Pictures = Sequence[np.ndarray]


def mode_rows(studio: Studio, word: str, count: int) -> Iterator[Row]:
    """A row for each scene with a word of degree and each mode of its fader."""
    for i, scene in enumerate(fader_scenes(word, count)):
        source = studio.generated(scene, seed=5000 + i)
        asked = Edit(caption(scene), cross_steps=FADER.cross, self_steps=FADER.self_)
        edits = [asked.replace(weights={word: c}, weights_mode=mode) for mode in MODES for c in WEIGHTS]
        pictures = studio.edited(source, edits)
        for mode, made in zip(MODES, (pictures[: len(WEIGHTS)], pictures[len(WEIGHTS) :]), strict=True):
            readings = studio.judge.read(made)
            yield {
                "word": word,
                "mode": mode,
                **moves([r[word] for r in readings], made),
                "subject at 4": float(readings[-1]["subject"] == readings[WEIGHTS.index(1.0)]["subject"]),
            }
        studio.p2p.forget(source)


def moves(degrees: Sequence[float], pictures: Pictures) -> dict[str, float]:
    """How a fader over `WEIGHTS` moves its degree, and the PSNR to c = 1 where it first moved far enough."""
    at_one = WEIGHTS.index(1.0)

    def first(numbers: Sequence[int], sign: int) -> tuple[float, float]:
        """(the degree's move, the PSNR), nan where it never moves so far."""
        for n in numbers:
            move = sign * (degrees[n] - degrees[at_one])
            if move >= MOVED:
                return move, psnr(pictures[at_one], pictures[n])
        return float("nan"), float("nan")

    up, up_psnr = first(range(at_one + 1, len(WEIGHTS)), 1)
    down, down_psnr = first(range(at_one - 1, -1, -1), -1)
    usual = [n for n, c in enumerate(WEIGHTS) if abs(c) <= 2]
    return {
        "spearman": correlation([WEIGHTS[n] for n in usual], [degrees[n] for n in usual]),
        "moved up": up,
        "psnr up": up_psnr,
        "moved down": down,
        "psnr down": down_psnr,
        "psnr at 4": psnr(pictures[at_one], pictures[-1]),
    }


def amount_rows(studio: Studio, group: Sequence[Task]) -> Iterator[Row]:
    """A row for each edit of one source."""
    source = studio.generated(group[0].source, seed=1000 + group[0].number)
    before = np.asarray(source.image)
    half, whole = AMOUNTS.index(0.5), AMOUNTS.index(1.0)
    for task in group:
        setting = best("color" if task.word == "fluffy" else task.kind, METHODS[1], "generated")
        made = studio.edited(source, [task.edit(setting).replace(amount=a) for a in AMOUNTS])
        yield {
            "kind": task.kind,
            "spearman": correlation(AMOUNTS, degree_of(studio.judge, task, made)),
            "psnr at 0": psnr(before, made[0]),
            "psnr at half": psnr(before, made[half]),
            "psnr at 1": psnr(before, made[whole]),
        }
    studio.p2p.forget(source)


@torch.no_grad()
def degree_of(judge: Judge, task: Task, pictures: Pictures) -> list[float]:
    """How far each picture shows what an edit asks for; of two words, the difference of their logits."""
    if task.kind == "degree":
        return [reading[task.word] for reading in judge.read(pictures)]
    x = torch.stack([torch.from_numpy(np.array(p)) for p in pictures]).permute(0, 3, 1, 2)
    words = ATTRIBUTES[task.kind]
    new, old = (words.index(getattr(scene, task.kind)) for scene in (task.target, task.source))
    logits = judge(x.float() / 127.5 - 1)[task.kind].float()
    return (logits[:, new] - logits[:, old]).tolist()  # type: ignore[no-any-return]


HEADS = {
    "spearman": "Spearman",
    "moved up": "moved up",
    "psnr up": "PSNR there",
    "moved down": "moved down",
    "psnr down": "PSNR there",
    "psnr at 4": "PSNR at c = 4",
    "subject at 4": "subject kept at c = 4",
    "psnr at 0": "PSNR at 0",
    "psnr at half": "PSNR at 1/2",
    "psnr at 1": "PSNR at 1",
}


HEAD = """# Faders that keep the picture

Made by `python -m benchmarks.faders --steps {steps} --guidance {guidance:g} --scenes {scenes} --sources
{sources}`; the same command gives this page again. Generated pictures; the judge reads them.
"""
ABOUT = {
    "modes": """
## Weights as gains and as shares

A word of degree's fader. *Spearman*: of the weight in -2..2 with the judged degree. *Moved up, down*: by how
much the degree has moved where it first moved by {moved}, and there the PSNR to the picture at 1, so at equal
degree. *Subject kept*: how often it is read as at 1 where the fader stands at 4.
""",
    "amounts": """
## The amount of an edit

Edits of every kind at amounts from 0 to 1. *Spearman*: of the amount with what was asked for (a degree; of
others how much more the judge believes the new word than the old). PSNR to the source.
""",
}
KEYS = {"modes": ("word", "mode"), "amounts": ("kind",)}


def means(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """A row for each combination of keys, and one for all words or kinds."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        for name in (row[keys[0]], "all"):
            groups.setdefault((name, *(row[key] for key in keys[1:])), []).append(row)
    found = []
    for names, some in sorted(groups.items(), key=lambda item: item[0][0] == "all"):
        figures: Row = {}
        for name in HEADS:
            values = np.array([row.get(name, np.nan) for row in some], float)
            if not np.isnan(values).all():
                figures[name] = round(float(np.nanmean(values)), 3)
        found.append({**dict(zip(keys, names, strict=True)), "edits": len(some), **figures})
    return found


def page(result: Mapping[str, Any]) -> str:
    """The Markdown page."""
    text = HEAD.format(**result["settings"])
    for part, keys in KEYS.items():
        rows = result[part]
        names = [name for name in HEADS if any(name in row for row in rows)]
        text += ABOUT[part].format(moved=MOVED)
        text += f"\n| {' | '.join([*keys, 'edits', *(HEADS[n] for n in names)])} |\n"
        text += f"|{'---|' * len(keys)}{'--:|' * (1 + len(names))}\n"
        for row in rows:
            cells = [cell(name, row.get(name)) for name in names]
            text += f"| {' | '.join([*(row[key] for key in keys), str(row['edits']), *cells])} |\n"
    return text


def cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name.startswith("subject"):
        return f"{100 * value:.0f} %"
    return f"{value:.1f}" if name.startswith("psnr") else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=6, help="for each word of degree")
    parser.add_argument("--sources", type=int, default=12, help="scenes whose edits are tried at amounts")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for faders.json and .md")
    args = parser.parse_args()

    p2p = PromptToPrompt.from_pretrained("storybook")
    p2p.set_progress_bar_config(disable=True)
    studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=args.guidance)
    modes = [row for word in DEGREES for row in mode_rows(studio, word, args.scenes)]
    amounts = [row for group in by_source(tasks(args.sources)) for row in amount_rows(studio, group)]
    names = ("steps", "guidance", "scenes", "sources")
    result: dict[str, Any] = {"settings": {name: getattr(args, name) for name in names}}
    result |= {"modes": means(modes, KEYS["modes"]), "amounts": means(amounts, KEYS["amounts"])}
    write_page(args.out, "faders", result, page(result))


if __name__ == "__main__":
    main()
