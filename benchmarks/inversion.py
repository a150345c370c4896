"""Real pictures: how well each inversion comes back, and how well it can be edited.

`python -m benchmarks.inversion`: drawings of scenes that the model was never trained on stand for real
pictures. Each has a swap of its subject or its colour, with and without a local blend, every fourth an edit
of another kind too, whose right answer is the drawing of the same layout with the target's words. Every way
of inversion, at three guidance scales; the same edits of generated pictures stand beside them. At guidance 1
there is no unconditional row, and DDIM, negative prompt and null-text are one method: DDIM stands for them.

Null-text is slow on a CPU: `--null-text` says how many pictures have it. What is measured is kept in a
folder, `--rows`, line by line: a run that was stopped goes on where it was, `--part 1/2` and `--part 2/2`
share the work between two processes, and `--report` makes the page of what there is. `--seconds` only takes
the times again, for the page that is there.

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

from .edits import ROOT, Row, Studio, means, measured
from .inversion_report import figure, page
from .measures import ssim
from .tasks import Setting, Task, tasks

METHODS = ("ddim", "negative_prompt", "direct", "aligned", "null_text")
UNGUIDED = ("ddim", "direct", "aligned")  # those that differ without an unconditional row
GENERATED = "generated"  # pictures, beside the methods
GUIDANCES = (1.0, 3.0, 7.5)
SHOWN = 7.5  # the guidance scale of the figure, of the closer look and of what is asked
FIGURE_ROWS = 8
AFTER = 200  # scenes of the benchmark
TRIED = (0.4, 0.5, 0.6, 0.7)
# Windows of each kind, the same for drawings and for generated pictures, chosen on other scenes
# (docs/edits-tuning.json). The blend's threshold is what `--tune` tries, on yet others.
SETTINGS = {
    "subject": Setting(cross=0.0, self_=0.2, threshold=0.6),
    "color": Setting(cross=0.7, self_=0.4, threshold=0.6),
    "place": Setting(cross=0.9, self_=0.4),
    "style": Setting(cross=0.5, self_=0.2),
    "degree": Setting(cross=0.5, self_=0.4),
}
OTHERS = Setting(cross=0.7, self_=0.4)


def picked(count: int) -> list[tuple[Task, ...]]:
    """The edits of each of `count` scenes: a swap of its subject or colour, at every fourth another kind."""
    groups: dict[int, list[Task]] = {}
    for task in tasks(count):
        groups.setdefault(task.number, []).append(task)
    found = []
    for number, group in groups.items():
        subjects = [task for task in group if task.kind == "subject"]
        colors = [task for task in group if task.kind == "color"]
        others = [task for task in group if task.kind not in ("subject", "color")]
        swap = colors[0] if number % 2 else subjects[number // 2 % 2]
        found.append((swap, others[number // 4 % len(others)]) if number % 4 == 0 else (swap,))
    return found


def setting_of(task: Task) -> Setting:
    return SETTINGS.get("color" if task.word == "fluffy" else task.kind, OTHERS)


def blends(task: Task, setting: Setting) -> dict[str, Edit]:
    """The edit with a blend, and with the picture's own pixels outside it."""
    edit = task.edit(setting)
    assert edit.blend is not None
    return {"blend": edit, "blend, own pixels": edit.replace(blend=replace(edit.blend, keep_pixels=True))}


def variants(task: Task) -> dict[str, Edit]:
    """The edit without a blend, with one, and with the picture's own pixels outside it."""
    best = setting_of(task)
    found = {"no blend": task.edit(replace(best, threshold=None))}
    return found | blends(task, best) if task.local else found


def rows_of(
    judge: Judge, task: Task, source: Source, results: dict[str, Any], base: Row, *, drawn: bool
) -> Iterator[Row]:
    """A row for each variant of the edit."""
    pictures = {name: np.asarray(result.image) for name, result in results.items()}
    before = np.asarray(source.image)
    given = None if source.inversion is None else np.asarray(source.pixels)
    for row in measured(judge, task, before, pictures, drawn=drawn, given=given):
        name = row.pop("method")
        yield {**base, **row, "blend": name, "local": float(task.local)}


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


def inverted(studio: Studio, task: Task, method: str, guidance: float) -> Source:
    image = Image.fromarray(render(task.source, task.layout))
    return studio.p2p.invert(
        image, caption(task.source), method=method, steps=studio.steps, guidance_scale=guidance
    )


def made(studio: Studio, task: Task, method: str, guidance: float) -> Source:
    """The task's source: its drawing by one method of inversion, or the generated picture."""
    if method == GENERATED:
        return studio.generated(task.source, seed=2000 + task.number)
    return inverted(studio, task, method, guidance)


def of_one(studio: Studio, edits: Sequence[Task], method: str, guidance: float) -> Iterator[Row]:
    """Everything that is measured of one picture by one method, or of the generated one."""
    p2p, studio.guidance = studio.p2p, guidance
    source = made(studio, edits[0], method, guidance)
    if method != GENERATED:
        yield {"of": "back", "method": method, "guidance": guidance, **reconstruction(studio, source)}
    todo = [(task, variants(task)) for task in edits]
    made_of = iter(p2p.edit_many(source, [edit for _, named in todo for edit in named.values()]))
    for task, named in todo:
        results = {name: next(made_of) for name in named}
        base: Row = {"of": "edits", "method": method, "guidance": guidance}
        if method != GENERATED:
            yield from rows_of(studio.judge, task, source, results, base, drawn=True)
        if method in ("direct", GENERATED):  # by the judge's regions, which both have
            base = {"of": "beside", "picture": "generated" if method == GENERATED else "real"}
            base["guidance"] = guidance
            yield from rows_of(studio.judge, task, source, results, base, drawn=False)
    p2p.forget(source)


def measure(
    studio: Studio, todo: Sequence[Sequence[Task]], null_text: int, file: Path, known: set[str]
) -> None:
    """Append to the file what it and its like don't hold yet, picture by picture."""
    begun = time.monotonic()
    fitted = [edits for edits in todo if edits[0].number < null_text]
    jobs = []
    for guidance in reversed(GUIDANCES):
        quick = UNGUIDED if guidance == 1 else METHODS[:-1]
        jobs += [(edits, method, guidance) for edits in todo for method in quick]
        if guidance == SHOWN:
            jobs += [(edits, GENERATED, guidance) for edits in todo]
        if guidance != 1:
            jobs += [(edits, "null_text", guidance) for edits in fitted]
    with file.open("a") as lines:
        lines.write("\n")  # the last line may be cut off
        for n, (edits, method, guidance) in enumerate(jobs):
            name = f"{edits[0].number} {method} {guidance:g}"
            if name in known:
                continue
            rows = [*of_one(studio, edits, method, guidance), {"of": "done", "name": name}]
            lines.write("".join(json.dumps(row) + "\n" for row in rows))
            lines.flush()
            if n % 20 == 0:
                print(f"{n} of {len(jobs)}, {time.monotonic() - begun:.0f} s", flush=True)


def read_rows(folder: Path) -> tuple[list[Row], set[str]]:
    """What the folder's files hold: (rows of all that was finished, names of what was)."""
    rows: list[Row] = []
    names: set[str] = set()
    for file in sorted(folder.glob("*.jsonl")):
        pending: list[Row] = []
        for line in filter(None, file.read_text().splitlines()):
            try:
                row = json.loads(line)
            except ValueError:  # cut off in the middle
                pending = []
                continue
            if row["of"] != "done":
                pending.append(row)
                continue
            if row["name"] not in names:
                rows += pending
            names.add(row["name"])
            pending = []
    return rows, names


def closer(studio: Studio, todo: Sequence[Sequence[Task]], steps: int) -> list[Row]:
    """How well pictures come back with the paper's number of steps, at its guidance."""
    before, studio.steps = studio.steps, steps
    found = []
    for edits in todo:
        for method in METHODS:
            source = inverted(studio, edits[0], method, SHOWN)
            found.append({"method": method, "steps": str(steps), **reconstruction(studio, source)})
            studio.p2p.forget(source)
    studio.steps = before
    return found


def examples(studio: Studio, todo: Sequence[Sequence[Task]]) -> list[Any]:
    """Pictures, how they come back and their edits by every method, for the figure."""
    found = []
    for task, *_ in todo:
        shown: dict[str, Any] = {}
        for method in METHODS:
            source = inverted(studio, task, method, SHOWN)
            shown[method] = (source.image, studio.p2p.edit(source, variants(task)["blend"]).image)
            studio.p2p.forget(source)
        found.append((task, Image.fromarray(render(task.source, task.layout)), shown))
    return found


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


def tuning(studio: Studio, count: int) -> list[Row]:
    """Swaps at several thresholds of the blend, of drawings and of generated pictures, on scenes that come
    after those of the benchmark."""
    rows: list[Row] = []
    for n, (task, *_) in enumerate(picked(AFTER + count)[AFTER:]):
        if not task.local:
            continue
        edits = {
            name.replace("blend", f"{threshold:g}"): edit
            for threshold in TRIED
            for name, edit in blends(task, replace(setting_of(task), threshold=threshold)).items()
        }
        for picture, method in (("real", "direct"), (GENERATED, GENERATED)):
            source = made(studio, task, method, SHOWN)
            results = dict(zip(edits, studio.p2p.edit_many(source, list(edits.values())), strict=True))
            rows += rows_of(studio.judge, task, source, results, {"picture": picture}, drawn=False)
            studio.p2p.forget(source)
        print(f"{n + 1} of {count}", flush=True)
    return means(rows, ("kind", "picture", "blend"))


def asked(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What the project asks of real pictures, and what was measured: (what, figure, holds)."""
    found: list[dict[str, Any]] = []

    def ask(what: str, figure: str, holds: bool) -> None:
        found.append({"what": what, "measured": figure, "holds": bool(holds)})

    for row in result["closer"]:
        short = row["short of it"]
        if row["method"] in ("direct", "null_text"):
            what = f"{row['method']}, {row['steps']} steps, guidance {SHOWN:g}: within 0.5 dB of the VAE's"
            ask(what, f"{short:.2f} dB short", short <= 0.5)
        elif row["method"] == "ddim":
            what = f"ddim, {row['steps']} steps, guidance {SHOWN:g}: fails, as the paper says"
            ask(what, f"{short:.2f} dB short", short > 3)
    beside = {(r["picture"], r["guidance"], r["blend"]): r for r in result["beside generated, swaps"]}
    for blend in ("no blend", "blend"):
        real, made = (beside.get((of, SHOWN, blend)) for of in ("real", "generated"))
        if real and made:
            what = f"direct, {blend}: swaps succeed at most 5 points less often than in generated pictures"
            figure = f"{100 * real['shown']:.1f} against {100 * made['shown']:.1f} %"
            ask(what, figure, real["shown"] >= made["shown"] - 0.05)
            what = f"direct, {blend}: at least the PSNR outside the region"
            figure = f"{real['psnr outside']:.1f} against {made['psnr outside']:.1f} dB"
            ask(what, figure, real["psnr outside"] >= made["psnr outside"])
    own, made = (
        beside.get((of, SHOWN, blend))
        for of, blend in (("real", "blend, own pixels"), ("generated", "blend"))
    )
    if own and made:
        what = (
            "direct, blend with the picture's own pixels: at least that PSNR outside, to the picture itself"
        )
        figure = f"{own['psnr outside, picture']:.1f} against {made['psnr outside']:.1f} dB"
        ask(what, figure, own["psnr outside, picture"] >= made["psnr outside"])
    for row in result["seconds"]:
        most = {"direct": 3.0, "null_text": 60.0}.get(row["method"])
        if most:
            what = f"{row['method']}, {row['steps']} steps: at most {most:g} s to invert"
            ask(what, f"{row['invert']:.1f} s", row["invert"] <= most)
    return found


def summed_up(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Means of the rows, as the page shows them."""
    edits = [row for row in rows if row["of"] == "edits"]
    beside = [row for row in rows if row["of"] == "beside"]
    swaps = ("subject", "color")
    return {
        "back": means([row for row in rows if row["of"] == "back"], ("method", "guidance")),
        "edits": means(edits, ("method", "guidance", "blend")),
        "local edits": means([r for r in edits if r["local"]], ("method", "guidance", "blend")),
        "beside generated": means(beside, ("picture", "guidance", "blend")),
        "beside generated, swaps": means(
            [r for r in beside if r["kind"] in swaps], ("picture", "guidance", "blend")
        ),
    }


def written(folder: Path, result: dict[str, Any]) -> None:
    """The table and the page of it, with what is asked."""
    result["asked"] = asked(result)
    (folder / "inversion.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "inversion.md").write_text(page(result))
    print(page(result))


def part_of(text: str) -> tuple[int, int]:
    """ "1/2" as (0, 2)."""
    try:
        mine, parts = (int(n) for n in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a part looks like 1/2; got {text!r}") from None
    if not 1 <= mine <= parts:
        raise argparse.ArgumentTypeError(f"a part is one of 1/N to N/N; got {text!r}")
    return mine - 1, parts


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--null-text", type=int, help="pictures for null-text, which is slow; default: all")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--closer", type=int, default=8, help="pictures that also come back in --timed-steps")
    parser.add_argument("--timed-steps", type=int, default=50)
    parser.add_argument("--model", default="storybook-base")
    parser.add_argument("--rows", type=Path, default=ROOT / "runs" / "inversion", help="where rows are kept")
    parser.add_argument("--part", type=part_of, help="only measure this part, such as 1/2; no page")
    parser.add_argument("--report", action="store_true", help="measure no more pictures, only make the page")
    parser.add_argument("--seconds", action="store_true", help="only take the times again, for the page")
    parser.add_argument("--tune", type=int, help="only try thresholds of the blend, on so many other scenes")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for inversion.*")
    args = parser.parse_args(argv)

    todo = picked(args.pictures)
    if args.seconds:
        result = json.loads((args.out / "inversion.json").read_text())
        result["seconds"] = timed(args.model, todo[0][0], args.timed_steps, METHODS)
        written(args.out, result)
        return
    null_text = len(todo) if args.null_text is None else min(args.null_text, len(todo))
    mine, parts = args.part or (0, 1)
    args.rows.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:  # the way to noise is the same for all methods
        p2p = PromptToPrompt.from_pretrained(args.model, inversions=folder)
        studio = Studio(p2p, Judge.load(), steps=args.steps, guidance=SHOWN)
        if args.tune:
            args.out.mkdir(parents=True, exist_ok=True)
            file = args.out / "inversion-tuning.json"
            file.write_text(json.dumps(tuning(studio, args.tune), indent=1) + "\n")
            return
        if not args.report:
            file = args.rows / f"{mine + 1}-{parts}.jsonl"
            measure(studio, todo[mine::parts], null_text, file, read_rows(args.rows)[1])
        if args.part:
            return
        rows, names = read_rows(args.rows)
        count = {method: sum(name.endswith(f" {method} {SHOWN:g}") for name in names) for method in METHODS}
        result = {
            "settings": {
                "model": args.model,
                "pictures": max(count.values()),
                "null_text": count["null_text"],
                "steps": args.steps,
                "edits": {kind: str(setting) for kind, setting in {**SETTINGS, "others": OTHERS}.items()},
                "torch": torch.__version__,
                "device": str(p2p.device),
            },
            **summed_up(rows),
            "closer": means(closer(studio, todo[: args.closer], args.timed_steps), ("method", "steps")),
            "seconds": timed(args.model, todo[0][0], args.timed_steps, METHODS),
        }
        pictures = examples(studio, todo[: min(FIGURE_ROWS, max(1, null_text))])
    args.out.mkdir(parents=True, exist_ok=True)
    written(args.out, result)
    figure(pictures, result["back"], METHODS).save(args.out / "inversion.png")


if __name__ == "__main__":
    main()
