"""Real pictures: how well each inversion comes back, and how well it can be edited.

`python -m benchmarks.inversion`: drawings of scenes that the model was never trained on stand for real
pictures, one edit of each, whose right answer is the drawing of the same layout with the target's words.
Every way of inversion, with and without a local blend, at three guidance scales; null-text, which is slow, on
fewer pictures. The same edits of generated pictures stand beside them.

Writes docs/inversion.json, .md and .png.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from p2p_core import Edit, PromptToPrompt, Source
from storybook.captions import caption
from storybook.draw import render
from storybook.judge import Judge

from .edits import BEST, ROOT, Row, Studio, may_change, means, measured
from .inversion_report import figure, page
from .measures import psnr, ssim
from .tasks import Setting, Task, tasks

METHODS = ("ddim", "negative_prompt", "null_text", "direct")
GUIDANCES = (1.0, 3.0, 7.5)
SHOWN = 7.5  # the guidance scale of the figure
FIGURE_ROWS = 8


def picked(count: int) -> list[Task]:
    """One edit of each of `count` scenes, every kind in its turn."""
    groups: dict[int, list[Task]] = {}
    for task in tasks(count):
        groups.setdefault(task.number, []).append(task)
    return [group[number % len(group)] for number, group in groups.items()]


def variants(task: Task) -> dict[str, Edit]:
    """The edit without a blend, with one, and with the picture's own pixels outside it."""
    best = BEST["color" if task.word == "fluffy" else task.kind]
    found = {"no blend": task.edit(Setting(cross=best.cross, self_=best.self_))}
    if task.local:
        with_blend = task.edit(best)
        assert with_blend.blend is not None
        found["blend"] = with_blend
        own = replace(with_blend.blend, keep_pixels=True)
        found["blend, own pixels"] = with_blend.replace(blend=own)
    return found


def rows_of(
    judge: Judge, task: Task, source: Source, results: dict[str, Any], base: Row, *, drawn: bool
) -> Iterator[Row]:
    """A row for each variant of the edit."""
    pictures = {name: np.asarray(result.image) for name, result in results.items()}
    before = np.asarray(source.image)
    for row in measured(judge, task, before, pictures, drawn=drawn):
        name = row.pop("method")
        more = {"blend": name, "seconds": float(results[name].seconds)}
        if drawn:  # against the picture itself, with what the autoencoder loses
            outside = ~may_change(task)
            given = np.asarray(source.pixels)
            enough = outside.mean() > 0.05
            more["psnr outside, picture"] = psnr(given, pictures[name], outside) if enough else np.nan
        yield {**base, **row, **more, "local": float(task.local)}


def reconstruction(studio: Studio, source: Source) -> Row:
    """How well an inversion comes back."""
    report = source.inversion
    assert report is not None
    mine, given = np.asarray(source.image), np.asarray(report.picture)
    with torch.no_grad():
        through = np.asarray(studio.p2p.decode(studio.encoded(given)))
    return {
        "psnr": report.psnr,
        "ssim": ssim(given, mine),
        "psnr vae": report.psnr_vae,
        "ssim vae": ssim(through, mine),
        "ceiling": report.psnr_ceiling,
        "short of it": report.psnr_ceiling - report.psnr,
    }


def run(
    studio: Studio, todo: Sequence[Task], null_text: int, examples: list[Any]
) -> tuple[list[Row], list[Row], list[Row]]:
    """(rows of reconstructions, of edits, of the same edits of generated pictures)."""
    p2p, judge, begun = studio.p2p, studio.judge, time.monotonic()
    back: list[Row] = []
    edited: list[Row] = []
    generated: list[Row] = []
    for n, task in enumerate(todo):
        image = Image.fromarray(render(task.source, task.layout))
        edits = variants(task)
        shown: dict[str, Any] = {}
        for method in METHODS:
            if method == "null_text" and n >= null_text:
                continue
            for guidance in GUIDANCES:
                source = p2p.invert(
                    image, caption(task.source), method=method, steps=studio.steps, guidance_scale=guidance
                )
                base: Row = {"method": method, "guidance": guidance}
                back.append({**base, **reconstruction(studio, source)})
                results = {name: p2p.edit(source, edit) for name, edit in edits.items()}
                edited += rows_of(judge, task, source, results, base, drawn=True)
                if method == "direct":  # by the judge's regions, as generated pictures are measured
                    alike: Row = {"of": "real", "guidance": guidance}
                    generated += rows_of(judge, task, source, results, alike, drawn=False)
                if guidance == SHOWN:
                    shown[method] = (source.image, results.get("blend", results["no blend"]).image)
                p2p.forget(source)
        for guidance in GUIDANCES:
            studio.guidance = guidance
            source = studio.generated(task.source, seed=2000 + n)
            results = {name: p2p.edit(source, edit) for name, edit in edits.items()}
            base = {"of": "generated", "guidance": guidance}
            generated += rows_of(judge, task, source, results, base, drawn=False)
            p2p.forget(source)
        if n < null_text:
            examples.append((task, image, shown))
        if (n + 1) % 5 == 0:
            print(f"{n + 1} of {len(todo)} pictures, {time.monotonic() - begun:.0f} s", flush=True)
    return back, edited, generated


def timed(model: str, task: Task, steps: int, methods: Sequence[str]) -> list[Row]:
    """Seconds to invert a picture and to edit it afterwards, without anything known before."""
    image, found = Image.fromarray(render(task.source, task.layout)), []
    for method in methods:
        p2p = PromptToPrompt.from_pretrained(model)
        p2p.generate("a", steps=2)  # what the first run of a process costs is not the method's
        source = p2p.invert(image, caption(task.source), method=method, steps=steps)
        result = p2p.edit(source, variants(task)["no blend"])
        found.append(
            {
                "method": method,
                "steps": steps,
                "invert": round(source.seconds, 2),
                "edit": round(result.seconds, 2),
            }
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--null-text", type=int, default=16, help="pictures for null-text, which is slow")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--timed-steps", type=int, default=50)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for inversion.*")
    args = parser.parse_args(argv)

    begun, todo, examples = time.monotonic(), picked(args.pictures), []
    seconds = timed(args.model, todo[0], args.timed_steps, METHODS)
    with tempfile.TemporaryDirectory() as folder:  # the way to noise is the same for all methods
        p2p = PromptToPrompt.from_pretrained(args.model, inversions=folder)
        studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=SHOWN)
        back, edited, generated = run(studio, todo, args.null_text, examples)
    result = {
        "settings": {
            "model": args.model,
            "pictures": len(todo),
            "null_text": min(args.null_text, len(todo)),
            "steps": args.steps,
            "torch": torch.__version__,
            "device": str(p2p.device),
        },
        "back": means(back, ("method", "guidance")),
        "edits": means(edited, ("method", "guidance", "blend")),
        "local edits": means([r for r in edited if r["local"]], ("method", "guidance", "blend")),
        "beside generated": means(generated, ("of", "guidance", "blend")),
        "seconds": seconds,
        "took": round(time.monotonic() - begun),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "inversion.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "inversion.md").write_text(page(result))
    figure(examples[:: max(1, -(-len(examples) // FIGURE_ROWS))], result["back"], METHODS).save(
        args.out / "inversion.png"
    )
    print(page(result))


if __name__ == "__main__":
    main()
