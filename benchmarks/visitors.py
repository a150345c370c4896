"""Does a visitor's own drawing survive its inversion and its edits? `python -m benchmarks.visitors`.

Forty drawings by another hand (`visitor_drawings`) are inverted, then their colour, time of day and weather
are edited. The judge, trained on the world's own drawings only, says whether the edit is seen and whether all
else is read as before, or as the drawing's words have it. Writes docs/visitors.json, .md and .png: the
first eight.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from p2p_core import Blend, Edit, PromptToPrompt
from storybook.captions import caption
from storybook.judge import Judge
from storybook.scenes import ATTRIBUTES, COLORS, Scene

from .pages import write_page
from .visitor_drawings import VisitorDrawing, visitor_drawings

ROOT = Path(__file__).resolve().parent.parent
TIMES, WEATHERS = ("night", "sunset"), ("snowy", "rainy", "foggy")
SHOWN = 8  # drawings on the sheet
HEAD = """# Drawings by another hand

Made by `python -m benchmarks.visitors --steps {steps} --guidance {guidance:g}`; the same command gives this
page again. {drawings} drawings by a program that shares no code with the bundled world's own are inverted
(direct), and each gets an edit of its colour, its time of day and its weather. *Shown*: the judge reads what
the edit asks for; *kept*: it reads all else as in the drawing itself, or as its words have it.

| edit | edits | shown | kept | both |
|---|--:|--:|--:|--:|
"""


def edits_of(drawing: VisitorDrawing, number: int) -> Iterator[tuple[str, str, Edit]]:
    """(attribute, its new word, edit) of a drawing's three edits."""
    scene = Scene(subject=drawing.subject, color=drawing.color, place=drawing.place)
    others = [c for c in COLORS if c != drawing.color]
    color, time, weather = (words[number % len(words)] for words in (others, TIMES, WEATHERS))
    blend = Blend(source_words=(drawing.subject,), target_words=(drawing.subject,), keep_pixels=True)
    yield "color", color, Edit(caption(scene.but(color=color)), cross_steps=0.4, self_steps=0.4, blend=blend)
    yield "time", time, Edit(caption(scene.but(time=time)), cross_steps=0.4, self_steps=0.4)
    yield "weather", weather, Edit(caption(scene.but(weather=weather)), cross_steps=0.4, self_steps=0.4)


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = (np.asarray(a, float) - np.asarray(b.resize(a.size), float)) ** 2
    return float(10 * np.log10(255**2 / error.mean()))


def measure(p2p: PromptToPrompt, judge: Judge, *, count: int, steps: int, guidance: float) -> dict[str, Any]:
    """Rows of all edits, and the pictures of the first drawings for a sheet."""
    rows, sheet, back = [], [], []
    for number, drawing in enumerate(list(visitor_drawings())[:count]):
        scene = Scene(subject=drawing.subject, color=drawing.color, place=drawing.place)
        source = p2p.invert(drawing.image, caption(scene), steps=steps, guidance_scale=guidance)
        back.append(psnr(source.image, drawing.image))
        asked = list(edits_of(drawing, number))
        images = [result.image for result in p2p.edit_many(source, [edit for _, _, edit in asked])]
        first, *readings = judge.read([drawing.image, *images])
        for (attribute, word, _), after in zip(asked, readings, strict=True):
            rest = [name for name in ATTRIBUTES if name != attribute]
            lost = [name for name in rest if after[name] not in (first[name], getattr(scene, name))]
            rows.append({
                "subject": drawing.subject, "hand": drawing.hand, "edit": attribute, "word": word,
                "shown": after[attribute] == word, "kept": not lost, "lost": lost,
            })  # fmt: skip
        if number < SHOWN:
            sheet.append([drawing.image, source.image, *images])
    return {"rows": rows, "psnr": round(float(np.mean(back)), 2), "sheet": sheet}


def page(result: dict[str, Any]) -> str:
    """The Markdown page."""
    rows, text = result["rows"], HEAD.format(**result["settings"])
    groups = {name: [r for r in rows if r["edit"] == name] for name in ("color", "time", "weather")}
    groups |= {"all": rows} | {hand: [r for r in rows if r["hand"] == hand] for hand in _hands(rows)}
    for name, some in groups.items():
        shown, kept = (np.array([row[name] for row in some]) for name in ("shown", "kept"))
        shares = [share.mean() for share in (shown, kept, shown & kept)]
        text += f"| {name} | {len(some)} | {' | '.join(f'{100 * s:.0f} %' for s in shares)} |\n"
    text += f"\nThe inverted pictures have {result['psnr']:.1f} dB to the drawings.\n\n"
    return text + "![Drawing, inverted, colour, time, weather](visitors.png)\n"


def _hands(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["hand"] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40, help="drawings")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for visitors.*")
    args = parser.parse_args()

    p2p = PromptToPrompt.from_pretrained(args.model)
    result = measure(p2p, Judge.load(), count=args.count, steps=args.steps, guidance=args.guidance)
    sheet = result.pop("sheet")
    result["settings"] = {"drawings": args.count, "steps": args.steps, "guidance": args.guidance}
    write_page(args.out, "visitors", result, page(result))
    pictures = [[np.asarray(image.resize((256, 256))) for image in row] for row in sheet]
    Image.fromarray(np.hstack([np.vstack(row) for row in pictures])).save(args.out / "visitors.png")


if __name__ == "__main__":
    main()
