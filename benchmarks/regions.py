"""How sharp regions are: `python -m benchmarks.regions`.

- **maps**: the region of a word in drawings whose answer is known, from the word's own map as the paper has
  it, from that map sharpened by the source's self-attention, and from the keys of "a <word>" alone, which
  finds words that the prompt lacks too. Intersection over union; each way has the threshold that was best on
  other scenes.
- **local blend**: swaps of a subject or a colour at their best windows (`benchmarks.edits_tuning`), with the
  paper's maps and with sharpened ones: shown, rest kept, PSNR outside. The threshold of each is the highest
  of those that showed the most on other scenes.

Writes docs/regions.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from p2p_core import Edit, PromptToPrompt, Source
from storybook.draw import regions
from storybook.judge import Judge

from .answers import WORDS_OF, quick
from .edits_tuning import METHODS, best
from .measures import map_iou
from .pages import write_page
from .studio import Studio
from .tasks import LOCAL, Setting, Task, by_source, tasks

ROOT = Path(__file__).resolve().parent.parent
OF = ("subject", "color", "place")
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
BLENDS = (0.3, 0.4, 0.5, 0.6)
OTHER_SCENES = 1  # their seed
PICTURES = ("generated", "drawings")
Row = dict[str, Any]
WAYS: dict[str, Callable[[Source, str], np.ndarray]] = {
    "the word's map": lambda source, word: source.attention(word),
    "the word's map, sharpened": lambda source, word: source.sharpen(source.attention(word)),
    'keys of "a <word>"': lambda source, word: source.region(word, refine=False),
    'keys of "a <word>", sharpened': lambda source, word: source.region(word),
}
HEAD = """# Sharp regions

Made by `python -m benchmarks.regions --steps {steps} --guidance {guidance:g} --sources {sources}`; the same
command gives this page again. Every threshold was chosen on {others} other scenes.

## Maps of words in {sources} drawings

| words of | way | threshold | IoU |
|---|---|--:|--:|
"""
BLENDED = """
## Local blend: swaps of a subject or a colour

| pictures | maps | threshold | edits | shown | rest kept | PSNR outside |
|---|---|--:|--:|--:|--:|--:|
"""


def map_rows(studio: Studio, groups: Sequence[list[Task]]) -> Iterator[Row]:
    for first, *_ in groups:
        source = studio.drawn(first.source, first.layout)
        true = regions(first.source, first.layout)
        for of in OF:
            word = WORDS_OF[of](first.source)
            for way, find in WAYS.items():
                found = find(source, word)
                for t in THRESHOLDS:
                    yield {"of": of, "way": way, "threshold": t, "iou": map_iou(found, true[word], t)}
        studio.p2p.forget(source)


def blend_rows(
    studio: Studio, groups: Sequence[list[Task]], settings: Sequence[tuple[bool, float]], *, drawn: bool
) -> Iterator[Row]:
    """settings: (whether maps are sharpened, threshold)."""
    for group in groups:
        first = group[0]
        source = studio.source(first.source, first.layout, seed=1000 + first.number, drawn=drawn)
        before = np.asarray(source.image)
        for task in (t for t in group if t.kind in LOCAL):
            windows = best(task.kind, METHODS[-1], PICTURES[drawn])
            edits = [blended(task, windows, *setting) for setting in settings]
            pictures = studio.edited(source, edits)
            found = quick(studio.judge, task, before, pictures, drawn=drawn)
            for (refine, threshold), figures in zip(settings, found, strict=True):
                yield {"refine": refine, "threshold": threshold, **figures}
        studio.p2p.forget(source)


def blended(task: Task, windows: Setting, refine: bool, threshold: float) -> Edit:
    edit = task.edit(replace(windows, threshold=threshold))
    assert edit.blend is not None
    return edit.replace(blend=replace(edit.blend, refine=refine))


def mean(rows: Sequence[Row], name: str) -> float:
    values = np.array([row[name] for row in rows])
    return float(values[~np.isnan(values)].mean())


def chosen_map(tried: Sequence[Row], of: str, way: str) -> float:
    mine = [row for row in tried if (row["of"], row["way"]) == (of, way)]
    return max(THRESHOLDS, key=lambda t: mean([row for row in mine if row["threshold"] == t], "iou"))


def chosen_blend(tried: Sequence[Row], refine: bool) -> float:
    def rank(threshold: float) -> tuple[float, float]:
        some = [row for row in tried if (row["refine"], row["threshold"]) == (refine, threshold)]
        return mean(some, "shown"), threshold

    return max(BLENDS, key=rank)


def measure(studio: Studio, sources: int, others: int) -> dict[str, Any]:
    groups, other = (list(by_source(tasks(n, seed=s))) for n, s in ((sources, 0), (others, OTHER_SCENES)))
    tried, rows = list(map_rows(studio, other)), list(map_rows(studio, groups))
    result: dict[str, Any] = {"maps": [], "blends": []}
    for of in OF:
        for way in WAYS:
            t = chosen_map(tried, of, way)
            mine = [row for row in rows if (row["of"], row["way"], row["threshold"]) == (of, way, t)]
            found = {"words of": of, "way": way, "threshold": t, "iou": round(mean(mine, "iou"), 4)}
            result["maps"].append(found)
    every = [(refine, t) for refine in (False, True) for t in BLENDS]
    for pictures in PICTURES:
        drawn = pictures == "drawings"
        tuned = list(blend_rows(studio, other, every, drawn=drawn))
        settings = [(refine, chosen_blend(tuned, refine)) for refine in (False, True)]
        some = list(blend_rows(studio, groups, settings, drawn=drawn))
        for refine, threshold in settings:
            mine = [row for row in some if row["refine"] == refine]
            figures = {n: round(mean(mine, n), 4) for n in ("shown", "kept", "psnr outside")}
            result["blends"].append(
                {
                    "pictures": pictures,
                    "refine": refine,
                    "threshold": threshold,
                    "edits": len(mine),
                    **figures,
                }
            )
    return result


def page(result: dict[str, Any]) -> str:
    """The Markdown page."""
    text = HEAD.format(**result["settings"])
    for row in result["maps"]:
        text += f"| {row['words of']} | {row['way']} | {row['threshold']:g} | **{row['iou']:.3f}** |\n"
    text += BLENDED
    for row in result["blends"]:
        maps = "sharpened" if row["refine"] else "the paper's"
        text += (
            f"| {row['pictures']} | {maps} | {row['threshold']:g} | {row['edits']} "
            f"| {100 * row['shown']:.0f} % | {100 * row['kept']:.0f} % | {row['psnr outside']:.1f} |\n"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=32, help="scenes")
    parser.add_argument("--others", type=int, default=12, help="scenes to choose thresholds on")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for regions.*")
    args = parser.parse_args()

    p2p = PromptToPrompt.from_pretrained("storybook")
    p2p.set_progress_bar_config(disable=True)
    studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=args.guidance)
    result = measure(studio, args.sources, args.others)
    names = ("steps", "guidance", "sources", "others")
    result["settings"] = {name: getattr(args, name) for name in names}
    write_page(args.out, "regions", result, page(result))


if __name__ == "__main__":
    main()
