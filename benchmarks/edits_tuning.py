"""The settings of the edit benchmark: tried on other scenes, chosen by one rule from a table that is kept.

`python -m benchmarks.edits_tuning` tries windows of injection and blends on scenes whose combinations of
subject, colour and place are not in the benchmark's list, and writes docs/edits-tuning.json. From it `best`
chooses for each kind of edit and each method, on drawings and on generated pictures by themselves: shown in
95 % first, then the rest kept, then nearest to the ideal edit (drawings) or most alike outside (generated).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from p2p_core import PromptToPrompt
from storybook.judge import Judge

from .answers import map_rows, quick
from .studio import Studio
from .tasks import KINDS, SUBJECTS, Setting, Task, by_source, map_scenes, tasks

TABLE = Path(__file__).resolve().parent.parent / "docs" / "edits-tuning.json"
PICTURES = ("drawings", "generated")
ENOUGH = 0.95  # shown in this share is as good as in more
CROSS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
SELF = (0.0, 0.2, 0.4)
BLENDS: dict[str, dict[str, float]] = {  # tried at every window; others at the best window (`--blends`)
    "local": {"threshold": 0.4, "start": 0.2},
    "place": {"threshold": 0.05, "start": 0.2, "subtract": 0.4},
}
OTHER_BLENDS: dict[str, list[dict[str, float]]] = {
    "local": [{"threshold": t, "start": s} for t in (0.2, 0.3, 0.4, 0.5) for s in (0.0, 0.2)],
    "place": [
        {"threshold": t, "start": s, "subtract": u}
        for t in (0.05, 0.15)
        for s in (0.0, 0.2)
        for u in (0.3, 0.4, 0.5)
    ],
}
METHODS = ("cross", "cross + self", "cross + self + blend")


def fits(row: dict[str, Any], method: str) -> bool:
    """Whether a row of the table is a setting of this method: each of the named parts on, the others off."""
    on = {"cross": row["cross"] > 0, "self": row["self"] > 0, "blend": row["threshold"] is not None}
    return all(value == (part in method.split(" + ")) for part, value in on.items())


def rank(row: dict[str, Any]) -> tuple[float, float, float]:
    """What is better is higher: shown, to `ENOUGH`; kept; then how near the pictures are."""
    near = row["psnr to ideal"] if row["pictures"] == "drawings" else row["psnr outside"]
    return min(row["shown"], ENOUGH), round(row["kept"], 2), near


@cache
def table(part: str = "rows") -> tuple[dict[str, Any], ...]:
    """The rows that are kept: none before anything was tried."""
    return tuple(json.loads(TABLE.read_text()).get(part, ())) if TABLE.exists() else ()


def known() -> list[str]:
    """The kinds of edit that were tried."""
    return [kind for kind in KINDS if any(row["kind"] == kind for row in table())]


def map_threshold(words_of: str) -> float:
    """Of the maps of a kind of words, the share of their maximum that found the regions best."""
    return float(
        max((r for r in table("maps") if r["words of"] == words_of), key=lambda r: r["iou"])["threshold"]
    )


def best(kind: str, method: str, pictures: str) -> Setting:
    """The chosen setting of a method for a kind of edit.

    Where all of a generated picture may change nothing says which setting is nearer, so the one that was
    chosen on drawings holds there too.
    """
    if not any(r["kind"] == kind and r["pictures"] == pictures for r in table()):
        pictures = "drawings"
    rows = [r for r in table() if r["kind"] == kind and r["pictures"] == pictures and fits(r, method)]
    row = max(rows, key=rank)
    more = {} if row["threshold"] is None else {k: row[k] for k in ("threshold", "start", "subtract")}
    return Setting(cross=row["cross"], self_=row["self"], **more)


# --- trying ---------------------------------------------------------------------------------------------


def windows(kind: str, *, blended: bool) -> Iterator[Setting]:
    """Every window without a blend and, where one makes sense, with the usual one."""
    for c in CROSS:
        for s in SELF:
            yield Setting(cross=c, self_=s)
            if blended:
                yield Setting(cross=c, self_=s, **BLENDS["place" if kind == "place" else "local"])


def spread(count: int) -> list[int]:
    """Numbers of `count` sources, as many subjects as can be."""
    return sorted({round(i * len(SUBJECTS) / count) for i in range(count)})


def tried(
    studio: Studio, group: Sequence[Task], settings: Sequence[Setting], *, drawn: bool
) -> Iterator[Any]:
    """(setting, figures) of every edit of one source by every setting."""
    first = group[0]
    source = studio.source(first.source, first.layout, seed=9000 + first.number, drawn=drawn)
    before = np.asarray(source.image)
    for task in group:
        pictures = studio.edited(source, [task.edit(setting) for setting in settings])
        yield from zip(settings, quick(studio.judge, task, before, pictures, drawn=drawn), strict=True)
    studio.p2p.forget(source)


def row(pictures: str, kind: str, setting: Setting, figures: Sequence[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "pictures": pictures,
        "kind": kind,
        "cross": setting.cross,
        "self": setting.self_,
        "threshold": setting.threshold,
        "start": None if setting.threshold is None else setting.start,
        "subtract": None if setting.threshold is None else setting.subtract,
        "edits": len(figures),
    }
    for name in ("shown", "kept", "psnr outside", "psnr to ideal"):
        values = np.array([f[name] for f in figures])
        values = values[~np.isnan(values)]
        found[name] = round(float(values.mean()), 4) if len(values) else None
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--pictures", nargs="*", choices=PICTURES, default=PICTURES)
    parser.add_argument("--sources", type=int, default=12)
    parser.add_argument("--cross", type=float, nargs="*", default=CROSS)
    parser.add_argument("--self", type=float, nargs="*", default=SELF, dest="self_")
    parser.add_argument("--blends", action="store_true", help="other blends, at the best windows so far")
    parser.add_argument("--maps", type=int, default=0, help="only maps: so many drawings of each seldom word")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args(argv)

    studio = Studio(
        PromptToPrompt.from_pretrained("storybook"), Judge.load(), steps=args.steps, guidance=args.guidance
    )
    begun = time.monotonic()
    if args.maps:
        save(args.out, "maps", try_maps(studio, args.sources, args.maps), args)
        return
    todo = [t for t in tasks(seed=1) if t.number in spread(args.sources)]
    for pictures in args.pictures:
        for kind in args.kinds:
            some = [t for t in todo if t.kind == kind]
            if not some:
                continue
            if args.blends:
                at = best(kind, METHODS[-1], pictures)
                name = "place" if kind == "place" else "local"
                settings = [
                    Setting(cross=at.cross, self_=at.self_, **blend)
                    for blend in OTHER_BLENDS[name]
                    if blend != BLENDS[name]
                ]
            else:
                settings = [
                    s
                    for s in windows(kind, blended=some[0].blended)
                    if s.cross in args.cross and s.self_ in args.self_
                ]
            figures: dict[Setting, list[dict[str, float]]] = {s: [] for s in settings}
            for group in by_source(some):
                for setting, found in tried(studio, group, settings, drawn=pictures == "drawings"):
                    figures[setting].append(found)
            save(args.out, "rows", [row(pictures, kind, s, f) for s, f in figures.items()], args)
            print(pictures, kind, len(settings), f"{time.monotonic() - begun:.0f} s", flush=True)


def try_maps(studio: Studio, sources: int, each: int) -> list[dict[str, Any]]:
    """How well maps find their regions on the other scenes, by threshold."""
    found: dict[tuple[str, float], list[float]] = {}
    scenes = [
        (("subject", "color", "place"), t[0].source, t[0].layout) for t in by_source(tasks(sources, seed=1))
    ]
    scenes += [((kind,), scene, layout) for kind, scene, layout in map_scenes(each, seed=1)]
    for kinds, scene, layout in scenes:
        source = studio.drawn(scene, layout)
        for r in map_rows(source, scene, layout, kinds):
            found.setdefault((r["words of"], r["threshold"]), []).append(r["iou"])
        studio.p2p.forget(source)
    return [
        {
            "words of": kind,
            "threshold": threshold,
            "maps": len(values),
            "iou": round(float(np.mean(values)), 4),
        }
        for (kind, threshold), values in found.items()
    ]


def save(out: Path, part: str, rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Into the table; what was tried before is replaced."""
    names = ("pictures", "kind", "cross", "self", "threshold", "start", "subtract", "words of")
    kept = json.loads(out.read_text()) if out.exists() else {}
    merged = {tuple(r.get(n) for n in names): r for r in [*kept.get(part, []), *rows]}
    kept[part] = list(merged.values())
    settings = {"seed": 1, "steps": args.steps, "guidance_scale": args.guidance}
    text = f'{{\n "settings": {json.dumps(settings)}'
    for name in ("rows", "maps"):
        lines = ",\n".join("  " + json.dumps(r) for r in kept.get(name, []))
        text += f',\n "{name}": [\n{lines}\n ]'
    out.write_text(text + "\n}\n")


if __name__ == "__main__":
    main()
