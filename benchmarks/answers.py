"""What an edit did, against its known answer: shown, kept, how alike outside, how near the ideal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2p_core import Source
from storybook.draw import SIDE, regions, render, subject_mask
from storybook.judge import PRESENT, Judge
from storybook.scenes import ATTRIBUTES, DEGREES, Scene

from .measures import correlation, map_iou, psnr, ssim, structure, widened
from .tasks import Task

Reading = dict[str, Any]
Row = dict[str, Any]
SETTLED = 0.3  # a degree that moved by more than this has flipped
FADERS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)  # of maps, as shares of their maximum


def shown(task: Task, after: Reading, before: Reading) -> bool:
    """Whether the picture shows what the edit asked for; of a word of degree, at least half as much of it."""
    if task.kind == "degree":
        half = getattr(task.target, task.word) / 2
        return bool(after[task.word] >= max(half, before[task.word] + PRESENT))
    return bool(after[task.kind] == task.word)


def kept(task: Task, after: Reading, before: Reading) -> bool:
    """Whether all else is read as in the source picture: attributes, and every degree within `SETTLED`."""
    own = ATTRIBUTES["weather"] if task.kind == "weather" else (task.word,)
    return all(after[name] == before[name] for name in ATTRIBUTES if name != task.kind) and all(
        abs(after[name] - before[name]) <= SETTLED for name in DEGREES if name not in own
    )


def may_change(task: Task) -> np.ndarray:
    """Where the ideal edit differs from the drawing it starts from, a little wider: (SIDE, SIDE) bool."""
    if task.local:
        one, two = (subject_mask(s, task.layout) > 0 for s in (task.source, task.target))
        return widened(one | two)
    before, after = (render(s, task.layout).astype(int) for s in (task.source, task.target))
    return widened(np.abs(before - after).max(-1) > 12)


def seen(reading: Reading, above: float, size: int = SIDE) -> np.ndarray:
    """Where the judge sees the subject: (size, size) bool."""
    cells = reading["mask"] > above
    return np.kron(cells, np.ones((size // len(cells),) * 2, bool))


def changing(task: Task, readings: Sequence[Reading], *, drawn: bool) -> np.ndarray:
    """Where an edit may change a picture, a little wider: (SIDE, SIDE) bool.

    Of drawings it is known. In generated pictures it is where the judge sees the subject in any of them, the
    source being the first; all but the source's subject of a new place; and everything of other edits.
    """
    if drawn:
        return may_change(task)
    if task.kind == "place":
        return widened(~seen(readings[0], 0.5))
    if not task.local:
        return np.ones((SIDE, SIDE), bool)
    return widened(np.any([seen(r, 0.3) for r in readings], axis=0))


def outside_of(changes: np.ndarray) -> np.ndarray:
    """Where nothing should change: nowhere, if it is next to nothing."""
    return ~changes if (~changes).mean() > 0.05 else np.zeros_like(changes)


def quick(
    judge: Judge, task: Task, before: np.ndarray, pictures: Sequence[np.ndarray], *, drawn: bool
) -> Iterator[dict[str, float]]:
    """What settings are chosen by, for each picture of one edit."""
    first, *after = judge.read([before, *pictures])
    ideal = render(task.target, task.layout) if drawn else None
    for picture, reading in zip(pictures, after, strict=True):
        outside = outside_of(changing(task, [first, reading], drawn=drawn))
        yield {
            "shown": float(shown(task, reading, first)),
            "kept": float(kept(task, reading, first)),
            "psnr outside": psnr(before, picture, outside),
            "psnr to ideal": np.nan if ideal is None else psnr(ideal, picture),
        }


def measured(
    judge: Judge,
    task: Task,
    before: np.ndarray,
    pictures: dict[str, np.ndarray],
    *,
    drawn: bool,
    given: np.ndarray | None = None,
) -> Iterator[Row]:
    """One row for each method's picture of one edit. before: the source's picture. given: the real picture
    that it was inverted from, without what the autoencoder loses."""
    first, *after = judge.read([before, *pictures.values()])
    ideal = render(task.target, task.layout) if drawn else None
    outside = outside_of(changing(task, [first, *after], drawn=drawn))
    for (method, picture), reading in zip(pictures.items(), after, strict=True):
        row: Row = {
            "kind": task.kind,
            "word": task.word,
            "in pieces": task.pieces,
            "method": method,
            "shown": float(shown(task, reading, first)),
            "kept": float(kept(task, reading, first)),
            "psnr outside": psnr(before, picture, outside),
            "ssim outside": ssim(before, picture, outside),
            "structure outside": structure(judge, before, picture, outside),
        }
        row["both"] = row["shown"] * row["kept"]
        if given is not None:
            row["psnr outside, picture"] = psnr(given, picture, outside)
        if ideal is not None:
            row["psnr to ideal"] = psnr(ideal, picture)
            row["structure to ideal"] = structure(judge, ideal, picture)
        yield row


def fader_row(
    word: str,
    degrees: Sequence[float],
    readings: Sequence[Reading],
    pictures: Sequence[np.ndarray],
    region: np.ndarray | None = None,
) -> Row:
    """One source's fader: correlation of c with the degree, and what else moves where c is in 0..2.

    region: where the word itself may change the picture, (SIDE, SIDE) bool; the rest is compared with the
    picture at c = 1. None: it isn't known.
    """
    at_one = FADERS.index(1.0)
    mine, base = word if word in ATTRIBUTES["weather"] else None, readings[at_one]
    rest = None if region is None else outside_of(region)
    calm, moved = [], []
    for c, reading, picture in zip(FADERS, readings, pictures, strict=True):
        if c < 0 or c == 1:
            continue
        words = [n for n in ATTRIBUTES if not (n == "weather" and mine)]
        others = [n for n in DEGREES if n != word]
        calm.append(
            all(reading[n] == base[n] for n in words)
            and all(abs(reading[n] - base[n]) < SETTLED for n in others)
        )
        moved.append(np.nan if rest is None else psnr(pictures[at_one], picture, rest))
    return {
        "word": word,
        "spearman": correlation(FADERS, degrees),
        "calm": float(np.mean(calm)),
        "psnr of the rest": float(np.mean(moved)),
        **{f"{c:g}": degree for c, degree in zip(FADERS, degrees, strict=True)},
    }


def fader_region(scene: Scene, word: str, layout: int) -> np.ndarray:
    """Where all there can be of a word of degree changes a drawing, a little wider: (SIDE, SIDE) bool."""
    return widened(regions(scene.but(**{word: 1.0}), layout)[word])


WORDS_OF = {
    "subject": lambda s: s.subject,
    "color": lambda s: s.color,
    "place": lambda s: s.place,
    "time": lambda s: s.time,
    "season": lambda s: s.season,
    "weather": lambda s: s.weather,
    "sky": lambda s: "rainbow" if s.sky == "rainbow" else s.sky,
    "degree": lambda s: next((n for n in DEGREES if n not in ATTRIBUTES["weather"] and getattr(s, n)), ""),
}


def map_rows(source: Source, scene: Scene, layout: int, of: Sequence[str]) -> Iterator[Row]:
    """How well the map of a word finds its region in a drawing, at several thresholds. of: in `WORDS_OF`."""
    true = regions(scene, layout)
    for attribute in of:
        word = WORDS_OF[attribute](scene)
        found = source.attention(word)
        for threshold in THRESHOLDS:
            iou = map_iou(found, true[word], threshold)
            yield {"words of": attribute, "threshold": threshold, "iou": iou}
