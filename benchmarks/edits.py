"""Edits against their known answers: `python -m benchmarks.edits`.

Over 300 edits from a fixed list (`benchmarks.tasks`), twice:

- **drawings**: the source is a drawing of the world, brought to the model by direct inversion. The drawing of
  the same layout with the target's words is the ideal edit, and which pixels may change is known exactly.
- **generated**: the source is generated from the source prompt. The judge says where the subject is.

Every edit is made by every method: from the same noise with nothing injected, with cross-attention injected,
with cross- and self-attention, with a local blend as well, and with each of the three left out. Faders are
moved over [-2, 2], and words' maps are compared with their true regions.

Writes docs/edits.json, .md and .png and docs/faders.png. `--tune` tries settings on other scenes instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p2p_core import Edit, PromptToPrompt, Source
from p2p_core.inversion import ddim_path
from storybook.captions import caption
from storybook.draw import regions, render, subject_mask
from storybook.judge import PRESENT, Judge
from storybook.scenes import ATTRIBUTES, DEGREES, Scene

from .edits_report import fader_figure, figure, page
from .measures import correlation, map_iou, psnr, ssim, structure, widened
from .tasks import KINDS, SOURCES, Setting, Task, fader_scenes, tasks

ROOT = Path(__file__).resolve().parent.parent
Reading = dict[str, Any]
Row = dict[str, Any]

# The best windows (cross / self) and blend for each kind of edit, found with --tune on other scenes.
BEST: dict[str, Setting] = {
    "subject": Setting(cross=0.3, self_=0.2, threshold=0.4, start=0.2),
    "color": Setting(cross=0.7, self_=0.4, threshold=0.4, start=0.2),
    "place": Setting(cross=0.9, self_=0.4),
    "time": Setting(cross=0.7, self_=0.4),
    "season": Setting(cross=0.7, self_=0.4),
    "weather": Setting(cross=0.7, self_=0.4),
    "sky": Setting(cross=0.7, self_=0.4),
    "style": Setting(cross=0.5, self_=0.2),
    "degree": Setting(cross=0.5, self_=0.4),
}
FADER = Setting(cross=1.0, self_=0.3)
FADERS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
SETTLED = 0.3  # a degree that moved by more than this has flipped
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)  # of maps, as shares of their maximum
TRIED = [Setting(cross=c, self_=s) for c in (0.3, 0.5, 0.7, 0.9) for s in (0.0, 0.2, 0.4)]
TRIED_BLENDS = [(t, s) for t in (0.2, 0.3, 0.4) for s in (0.0, 0.2)]


def methods(task: Task) -> dict[str, Setting]:
    """The rows of the table, and what changing each of the three costs."""
    best = BEST["color" if task.word == "fluffy" else task.kind]
    rows = {
        "same seed": Setting(),
        "cross": Setting(cross=best.cross),
        "self": Setting(self_=best.self_),
        "cross + self": Setting(cross=best.cross, self_=best.self_),
    }
    if task.local:
        blend = {"threshold": best.threshold, "start": best.start}
        rows["cross + self + blend"] = Setting(cross=best.cross, self_=best.self_, **blend)
        rows["self + blend"] = Setting(self_=best.self_, **blend)
        rows["cross + blend"] = Setting(cross=best.cross, **blend)
        rows["blend"] = Setting(**blend)
    return rows


# --- where edits start ----------------------------------------------------------------------------------


class Studio:
    """Makes sources and edits them."""

    def __init__(self, p2p: PromptToPrompt, judge: Judge, *, steps: int, guidance: float) -> None:
        self.p2p, self.judge, self.steps, self.guidance = p2p, judge, steps, guidance

    def generated(self, scene: Scene, seed: int) -> Source:
        return self.p2p.generate(caption(scene), seed=seed, steps=self.steps, guidance_scale=self.guidance)

    def drawn(self, scene: Scene, layout: int) -> Source:
        """A drawing as a source, by direct inversion (Ju et al. 2024)."""
        prompt = caption(scene)
        with torch.no_grad():
            z = self.encoded(render(scene, layout))
            sampler = self.p2p.records.sampler(self.steps)
            path = ddim_path(self.p2p.model, sampler, z, self.p2p.prompt(prompt))
        along = self.p2p.record_along(prompt, path, guidance_scale=self.guidance)
        while True:
            try:
                next(along)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]

    def encoded(self, picture: np.ndarray) -> torch.Tensor:
        vae = self.p2p.pipe.vae
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].to(vae.device, vae.dtype) / 127.5 - 1
        return vae.encode(x).latent_dist.mean * vae.config.scaling_factor  # type: ignore[no-any-return]

    def edited(self, source: Source, edits: Iterable[Edit]) -> list[np.ndarray]:
        return [np.asarray(result.image) for result in self.p2p.edit_many(source, list(edits))]


def by_source(todo: Sequence[Task]) -> Iterator[list[Task]]:
    groups: dict[int, list[Task]] = defaultdict(list)
    for task in todo:
        groups[task.number].append(task)
    yield from groups.values()


# --- what is measured -----------------------------------------------------------------------------------


def shown(task: Task, after: Reading, before: Reading) -> bool:
    """Whether the picture shows what the edit asked for."""
    if task.kind == "degree":
        return bool(after[task.word] > max(PRESENT, before[task.word] + PRESENT))
    return bool(after[task.kind] == task.word)


def kept(task: Task, after: Reading, before: Reading) -> bool:
    """Whether every other attribute is read as in the source picture."""
    return all(after[name] == before[name] for name in ATTRIBUTES if name != task.kind)


def may_change(task: Task) -> np.ndarray:
    """Where the ideal edit differs from the drawing it starts from, a little wider: (128, 128) bool."""
    if task.local:
        one, two = (subject_mask(s, task.layout) > 0 for s in (task.source, task.target))
        return widened(one | two)
    before, after = (render(s, task.layout).astype(int) for s in (task.source, task.target))
    return widened(np.abs(before - after).max(-1) > 12)


def subject_region(readings: Sequence[Reading], size: int = 128) -> np.ndarray:
    """Union of the subjects' regions that the judge sees in pictures, a little wider: (size, size) bool."""
    cells = np.max([r["mask"] for r in readings], axis=0) > 0.3
    return widened(np.kron(cells, np.ones((size // len(cells),) * 2, bool)))


def measured(
    judge: Judge, task: Task, before: np.ndarray, pictures: dict[str, np.ndarray], *, drawn: bool
) -> Iterator[Row]:
    """One row for each method's picture of one edit. before: the source's picture."""
    first, *after = judge.read([before, *pictures.values()])
    if drawn:
        changes, ideal = may_change(task), render(task.target, task.layout)
    else:
        changes, ideal = subject_region([first, *after]), None
        if task.kind == "place":  # all may change but the subject
            changes = ~subject_region([first])
        elif not task.local:
            changes = np.ones_like(changes)
    outside = ~changes if (~changes).mean() > 0.05 else np.zeros_like(changes)
    for (method, picture), reading in zip(pictures.items(), after, strict=True):
        row: Row = {
            "kind": task.kind,
            "word": task.word,
            "in pieces": task.in_pieces,
            "method": method,
            "shown": float(shown(task, reading, first)),
            "kept": float(kept(task, reading, first)),
            "psnr outside": psnr(before, picture, outside),
            "ssim outside": ssim(before, picture, outside),
            "structure outside": structure(judge, before, picture, outside),
        }
        row["both"] = row["shown"] * row["kept"]
        if ideal is not None:
            row["psnr to ideal"] = psnr(ideal, picture)
            row["structure to ideal"] = structure(judge, ideal, picture)
        yield row


def fader_row(word: str, degrees: Sequence[float], readings: Sequence[Reading], pictures: Any) -> Row:
    """One source's fader: correlation of c with the degree, and what else moves where c is in 0..2."""
    at_one = FADERS.index(1.0)
    mine, base = word if word in ATTRIBUTES["weather"] else None, readings[at_one]
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
        moved.append(psnr(pictures[at_one], picture))
    return {
        "word": word,
        "spearman": correlation(FADERS, degrees),
        "calm": float(np.mean(calm)),
        "psnr to c = 1": float(np.mean(moved)),
        **{f"{c:g}": degree for c, degree in zip(FADERS, degrees, strict=True)},
    }


def map_rows(source: Source, scene: Scene, layout: int) -> Iterator[Row]:
    """For each word of a drawing's prompt how well its map finds its region, at several thresholds."""
    true = regions(scene, layout)
    for attribute in ("subject", "color", "place"):
        word = getattr(scene, attribute)
        found = source.attention(word)
        for threshold in THRESHOLDS:
            iou = map_iou(found, true[word], threshold)
            yield {"words of": attribute, "threshold": threshold, "iou": iou}


# --- the whole ------------------------------------------------------------------------------------------


def means(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """The mean of every figure over the rows that share these keys, with how many they are."""
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
        out.append(mean)
    return out


def run(studio: Studio, todo: list[Task], *, drawn: bool, examples: list[Any]) -> tuple[list[Row], list[Row]]:
    """All edits by all methods. Returns (rows of edits, rows of maps)."""
    rows: list[Row] = []
    maps: list[Row] = []
    begun = time.monotonic()
    for group in by_source(todo):
        first = group[0]
        if drawn:
            source = studio.drawn(first.source, first.layout)
            maps += map_rows(source, first.source, first.layout)
        else:
            source = studio.generated(first.source, seed=1000 + first.number)
        before = np.asarray(source.image)
        asked = [(task, method, setting) for task in group for method, setting in methods(task).items()]
        pictures = studio.edited(source, [task.edit(setting) for task, _, setting in asked])
        made: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
        for (task, method, _), picture in zip(asked, pictures, strict=True):
            made[group.index(task)][method] = picture
        for i, task in enumerate(group):
            rows += measured(studio.judge, task, before, made[i], drawn=drawn)
            if drawn:
                rows += measured(studio.judge, task, before, floors(studio, task, before), drawn=True)
            examples.append((task, before, made[i]))
        studio.p2p.forget(source)
        print(f"{first.number + 1} sources, {time.monotonic() - begun:.0f} s", flush=True)
    return rows, maps


def floors(studio: Studio, task: Task, before: np.ndarray) -> dict[str, np.ndarray]:
    """What an edit's distance to the ideal compares with: no edit at all, and the ideal through the VAE."""
    with torch.no_grad():
        through = np.asarray(studio.p2p.decode(studio.encoded(render(task.target, task.layout))))
    return {"(no edit)": before, "(the ideal, through the VAE)": through}


def run_faders(
    studio: Studio, count: int, setting: Setting, seed: int = 0
) -> tuple[list[Row], dict[str, list[np.ndarray]]]:
    """Rows of faders, and the pictures of each word's first scene over `FADERS`."""
    rows, strips = [], {}
    for word in DEGREES:
        for i, scene in enumerate(fader_scenes(word, count, seed)):
            source = studio.generated(scene, seed=5000 + 100 * seed + i)
            edits = [
                Edit(caption(scene), cross_steps=setting.cross, self_steps=setting.self_, weights={word: c})
                for c in FADERS
            ]
            pictures = studio.edited(source, edits)
            strips.setdefault(word, pictures)
            readings = studio.judge.read(pictures)
            rows.append(fader_row(word, [r[word] for r in readings], readings, pictures))
            studio.p2p.forget(source)
    return rows, strips


def tune(studio: Studio, sources: int, kinds: Sequence[str]) -> None:
    """Settings on other scenes, best last: a score of what is shown, kept, and alike outside."""
    picked = range(0, SOURCES, max(1, SOURCES // sources))  # so that few sources are of many subjects
    todo = [t for t in tasks(SOURCES, seed=1) if t.kind in kinds and t.number in picked]
    rows: list[Row] = []
    for group in by_source(todo):
        source = studio.generated(group[0].source, seed=9000 + group[0].number)
        before = np.asarray(source.image)
        for task in group:
            tried = list(TRIED)
            if task.kind in ("subject", "color"):
                windows = [s for s in TRIED if s.cross < 0.9]
                tried = [
                    Setting(cross=w.cross, self_=w.self_, threshold=t, start=s)
                    for w in windows
                    for t, s in TRIED_BLENDS
                ]
            pictures = studio.edited(source, [task.edit(s) for s in tried])
            named = {str(s): p for s, p in zip(tried, pictures, strict=True)}
            rows += measured(studio.judge, task, before, named, drawn=False)
        studio.p2p.forget(source)
    for kind in kinds:
        table = means([r for r in rows if r["kind"] == kind], ["method"])
        for row in table:
            alike = row["ssim outside"]
            row["score"] = row["both"] + (0.5 * alike if alike is not None else 0)
        print(kind)
        for row in sorted(table, key=lambda r: r["score"])[-8:]:
            print("  ", {k: v for k, v in row.items() if k != "edits"}, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=SOURCES, help="scenes, some nine edits of each")
    parser.add_argument("--faders", type=int, default=6, help="scenes for each word of degree")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for edits.*")
    parser.add_argument("--tune", nargs="*", choices=KINDS, help="only try settings, for these kinds of edit")
    args = parser.parse_args(argv)

    begun = time.monotonic()
    p2p = PromptToPrompt.from_pretrained(args.model)
    studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=args.guidance)
    if args.tune is not None:
        tune(studio, args.sources, args.tune or KINDS)
        return
    todo, examples = tasks(args.sources), []
    drawings, maps = run(studio, todo, drawn=True, examples=examples)
    generated, _ = run(studio, todo, drawn=False, examples=[])
    faders, strips = run_faders(studio, args.faders, FADER)
    keys = ("kind", "method")
    result = {
        "settings": {
            "model": args.model,
            "sources": args.sources,
            "edits": len(todo),
            "faders": args.faders,
            "steps": args.steps,
            "guidance_scale": args.guidance,
            "best": {kind: str(setting) for kind, setting in BEST.items()},
            "fader": str(FADER),
            "torch": torch.__version__,
            "device": str(p2p.device),
        },
        "drawings": means(drawings, keys),
        "generated": means(generated, keys),
        "tokens": means(
            [r for r in generated if r["kind"] == "subject" and r["method"] == "cross + self + blend"],
            ("in pieces",),
        ),
        "faders": means(faders, ("word",)),
        "maps": means(maps, ("words of", "threshold")),
        "seconds": round(time.monotonic() - begun),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "edits.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "edits.md").write_text(page(result))
    figure(examples).save(args.out / "edits.png")
    fader_figure(strips, FADERS).save(args.out / "faders.png")
    print(page(result))


if __name__ == "__main__":
    main()
