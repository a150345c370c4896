"""Edits against their known answers: `python -m benchmarks.edits`.

Over 300 edits from a fixed list (`benchmarks.tasks`), twice:

- **drawings**: the source is a drawing of the world, brought to the model by direct inversion. The drawing of
  the same layout with the target's words is the ideal edit, and which pixels may change is known exactly.
- **generated**: the source is generated from the source prompt. The judge says where the subject is.

Every edit is made by every method at its own best setting (`benchmarks.edits_tuning`): from the same noise
with nothing injected, with cross-attention injected, with cross- and self-attention, with a local blend as
well; and this last with each of the three left out. Faders are moved over [-2, 2], and words' maps are
compared with their true regions.

Writes docs/edits.json, .md and .png and docs/faders.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p2p_core import Edit, PromptToPrompt
from storybook.captions import caption
from storybook.draw import render
from storybook.judge import Judge
from storybook.scenes import DEGREES

from .answers import FADERS, WORDS_OF, Row, fader_region, fader_row, map_rows, measured
from .answers import may_change as may_change  # for benchmarks.inversion
from .edits_report import AUTO, fader_figure, figure, page
from .edits_tuning import METHODS, PICTURES, best, known, map_threshold
from .studio import Studio
from .tasks import KINDS, LOCAL, SOURCES, Setting, Task, by_source, fader_scenes, map_scenes, tasks

ROOT = Path(__file__).resolve().parent.parent

FADER = Setting(cross=1.0, self_=0.3)
# What drawings are edited with elsewhere: the best windows, and the best blend where it is at the subject.
BEST: dict[str, Setting] = {
    kind: best(kind, METHODS[-1] if kind in LOCAL else METHODS[1], "drawings") for kind in known()
}


def methods(task: Task, pictures: str) -> dict[str, Setting]:
    """The rows of the table, each at its own best setting, and the last with a part left out."""
    kind = "color" if task.word == "fluffy" else task.kind
    rows = {"same seed": Setting()}
    rows |= {m: best(kind, m, pictures) for m in METHODS if task.blended or "blend" not in m}
    if task.blended:
        whole = rows[METHODS[-1]]
        rows["without cross-attention"] = replace(whole, cross=0.0)
        rows["without self-attention"] = replace(whole, self_=0.0)
        rows["without the blend"] = replace(whole, threshold=None)
    return rows


def methods_of(kind: str) -> list[str]:
    return [m for m in METHODS if "blend" not in m or kind in (*LOCAL, "place")]


# --- the whole ------------------------------------------------------------------------------------------


def means(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """The mean of every figure over the rows that share these keys, with how many they are.

    "n" says of how many a figure is the mean where some had none.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[k] for k in keys)].append(row)
    out = []
    for key, group in groups.items():
        mean: Row = dict(zip(keys, key, strict=True)) | {"edits": len(group)}
        for name, value in group[0].items():
            if isinstance(value, float) and name not in keys:
                values = [r[name] for r in group if not np.isnan(r[name])]
                mean[name] = round(float(np.mean(values)), 4) if values else None
                if values and len(values) < len(group):
                    mean.setdefault("n", {})[name] = len(values)
        out.append(mean)
    return out


Examples = list[tuple[Task, np.ndarray, dict[str, np.ndarray]]]  # an edit, its source, each method's picture


def edits_of_source(
    studio: Studio, group: list[Task], wanted: Sequence[str] | None, *, drawn: bool
) -> tuple[list[Row], list[Row], Examples]:
    """All edits of one source by all methods, or the wanted: (rows of edits, rows of maps, pictures)."""
    first = group[0]
    rows, maps, examples = [], [], []
    if drawn:
        source = studio.drawn(first.source, first.layout)
        maps += map_rows(source, first.source, first.layout, ("subject", "color", "place"))
    else:
        source = studio.generated(first.source, seed=1000 + first.number)
    before = np.asarray(source.image)
    asked = [
        (i, method, task.edit(setting))
        for i, task in enumerate(group)
        for method, setting in methods(task, PICTURES[0 if drawn else 1]).items()
        if wanted is None or method in wanted
    ]
    if wanted is None or AUTO in wanted:
        asked += [(i, AUTO, studio.p2p.suggest(source, caption(task.target))) for i, task in enumerate(group)]
    made: list[dict[str, np.ndarray]] = [{} for _ in group]
    for (i, method, _), picture in zip(asked, studio.edited(source, [e for *_, e in asked]), strict=True):
        made[i][method] = picture
    for task, pictures in zip(group, made, strict=True):
        rows += measured(studio.judge, task, before, pictures, drawn=drawn)
        if drawn:
            rows += measured(studio.judge, task, before, floors(studio, task, before), drawn=True)
        examples.append((task, before, pictures))
    studio.p2p.forget(source)
    return rows, maps, examples


def floors(studio: Studio, task: Task, before: np.ndarray) -> dict[str, np.ndarray]:
    """What an edit's distance to the ideal compares with: no edit at all, and the ideal through the VAE."""
    with torch.no_grad():
        through = np.asarray(studio.p2p.decode(studio.encoded(render(task.target, task.layout))))
    return {"(no edit)": before, "(the ideal, through the VAE)": through}


def run_maps(studio: Studio, count: int, seed: int = 0) -> list[Row]:
    """Rows of the maps of words that the list's sources have not, in drawings that have them."""
    rows: list[Row] = []
    for kind, scene, layout in map_scenes(count, seed):
        source = studio.drawn(scene, layout)
        rows += map_rows(source, scene, layout, (kind,))
        studio.p2p.forget(source)
    return rows


def run_fader(studio: Studio, word: str, count: int, *, drawn: bool) -> tuple[list[Row], list[np.ndarray]]:
    """Rows of a word's fader, and the pictures of its first scene over `FADERS`."""
    rows, strip = [], []
    for i, scene in enumerate(fader_scenes(word, count)):
        layout = 5000 + i
        source = studio.source(scene, layout, seed=layout, drawn=drawn)
        edits = [
            Edit(caption(scene), cross_steps=FADER.cross, self_steps=FADER.self_, weights={word: c})
            for c in FADERS
        ]
        pictures = studio.edited(source, edits)
        strip = strip or pictures
        readings = studio.judge.read(pictures)
        region = fader_region(scene, word, layout) if drawn else None
        rows.append(fader_row(word, [r[word] for r in readings], readings, pictures, region))
        studio.p2p.forget(source)
    return rows, strip


class Work:
    """Parts of a run, kept in a folder (if there is one), so that a run that was stopped goes on.

    Parts of other settings are not taken: `of` is part of their names.
    """

    def __init__(self, folder: Path | None, of: str) -> None:
        self.name, self.folder, self.of = of, folder, hashlib.sha256(of.encode()).hexdigest()[:8]
        self.begun = time.monotonic()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        file = self.folder / f"{name}-{self.of}.pkl" if self.folder else None
        if file and file.exists():
            return pickle.loads(file.read_bytes())
        begun = time.monotonic()
        found = (make(), time.monotonic() - begun)
        if file:
            aside = file.with_suffix(".tmp")
            aside.write_bytes(pickle.dumps(found))
            aside.replace(file)
        print(f"{name}: {time.monotonic() - self.begun:.0f} s", flush=True)
        return found


def chosen_rows(args: argparse.Namespace) -> list[str]:
    """The arguments that leave out a part of the table."""
    return [w for n in ("kinds", "methods") if (v := getattr(args, n)) for w in (f"--{n}", *v)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=SOURCES, help="scenes, some nine edits of each")
    parser.add_argument("--faders", type=int, default=6, help="scenes for each word of degree")
    parser.add_argument("--maps", type=int, default=4, help="drawings for each word that is seldom there")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="only these kinds of edit")
    parser.add_argument("--methods", nargs="*", choices=("same seed", *METHODS, AUTO), help="only these rows")
    parser.add_argument("--name", default="edits", help="of the files that are written")
    parser.add_argument("--work", type=Path, help="folder to keep parts in: a run that was stopped goes on")
    parser.add_argument(
        "--help-along",
        action="store_true",
        help="work on the edits from their end, for another process with the same --work; write no page",
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for edits.*")
    args = parser.parse_args(argv)
    if args.help_along and not args.work:
        parser.error("--help-along needs the --work folder of the process that it helps")

    p2p = PromptToPrompt.from_pretrained(args.model)
    studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=args.guidance)
    todo = [t for t in tasks(args.sources) if not args.kinds or t.kind in args.kinds]
    chosen = {
        pictures: {kind: {m: str(best(kind, m, pictures)) for m in methods_of(kind)} for kind in KINDS}
        for pictures in PICTURES
    }
    work = Work(
        args.work, f"{args.model} {args.steps} {args.guidance} {chosen} {FADER} {args.faders} {args.maps}"
    )
    only = " ".join(["", *chosen_rows(args)])
    if only:
        work = Work(args.work, work.name + only)
    seconds = 0.0

    def part(name: str, make: Callable[[], Any]) -> Any:
        nonlocal seconds
        found, took = work.part(name, make)
        seconds += took
        return found

    def edited(group: Sequence[Task], drawn: bool) -> Any:
        name = f"{PICTURES[0 if drawn else 1]}-{group[0].number:02d}"
        return part(name, partial(edits_of_source, studio, group, args.methods, drawn=drawn))

    if args.help_along:
        for group in reversed([*by_source(todo)]):
            for drawn in (False, True):
                edited(group, drawn)
        return
    maps = part("maps", partial(run_maps, studio, args.maps))
    faders, drawn_faders, strips = [], [], {}
    for word in DEGREES if args.faders else ():
        rows, strips[word] = part(f"fader-{word}", partial(run_fader, studio, word, args.faders, drawn=False))
        faders += rows
        drawn_faders += part(
            f"fader-drawn-{word}", partial(run_fader, studio, word, args.faders, drawn=True)
        )[0]
    drawings, generated, examples = [], [], []
    for group in by_source(todo):
        for drawn, found in ((True, drawings), (False, generated)):
            rows, some_maps, pictures = edited(group, drawn)
            found += rows
            maps = maps + some_maps
            examples += pictures if drawn else []
    maps.sort(key=lambda row: list(WORDS_OF).index(row["words of"]))
    keys = ("kind", "method")
    result = {
        "settings": {
            "model": args.model,
            "sources": args.sources,
            "only": " ".join(["", *map(shlex.quote, chosen_rows(args))]),
            "edits": len(todo),
            "faders": args.faders,
            "steps": args.steps,
            "guidance_scale": args.guidance,
            "best": chosen,
            "map thresholds": {
                kind: map_threshold(kind) for kind in dict.fromkeys(r["words of"] for r in maps)
            },
            "fader": str(FADER),
            "torch": torch.__version__,
            "device": str(p2p.device),
        },
        "drawings": means(drawings, keys),
        "generated": means(generated, keys),
        "tokens": means(
            [r for r in generated if r["kind"] == "subject" and r["method"] == METHODS[-1]], ("in pieces",)
        ),
        "tokens of drawings": means(
            [r for r in drawings if r["kind"] == "subject" and r["method"] == METHODS[-1]], ("in pieces",)
        ),
        "faders": means(faders, ("word",)),
        "faders of drawings": means(drawn_faders, ("word",)),
        "maps": means(maps, ("words of", "threshold")),
        "seconds": round(seconds),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / f"{args.name}.md").write_text(page(result))
    if not only:
        figure(examples).save(args.out / "edits.png", optimize=True)
        fader_figure(strips, FADERS).save(args.out / "faders.png", optimize=True)
    print(page(result))


if __name__ == "__main__":
    main()
