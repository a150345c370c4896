"""The edit benchmark's page in Markdown and its figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from storybook.captions import caption
from storybook.draw import SIDE, render

from .tasks import SOURCES, Task

HEAD = """# Edits against their known answers

Made by `python -m benchmarks.edits{only}`; the same command gives this page again. {edits} edits of {sources}
sources whose combinations of subject, colour and place were never trained on, {steps} steps, guidance
{guidance_scale:g}, on {device}. The judge, a small network trained on drawings only, reads the pictures.

- **setting**: cross / self windows as fractions of the run, and the blend's threshold and start. Every method
  has its own best for each kind of edit, chosen on other scenes
  ([the table](edits-tuning.json), `python -m benchmarks.edits_tuning`), on drawings and on generated pictures
  by themselves: shown in 95 % first, then the rest kept, then nearest to the ideal (drawings) or most alike
  outside (generated). Where all of a generated picture may change, the drawings' setting holds.
- **shown**: how often the picture shows what the edit asked for; of a word of degree, at least half as much
  as asked. **rest kept**: how often every other attribute (subject, colour, place, time, season, weather,
  sky, style) is read as in the source picture and no other degree moved by more than 0.3. **both**: at once.
- **PSNR, SSIM, structure outside**: against the source picture where the edit should change nothing. On
  drawings that is where the ideal edit equals the source drawing; on generated pictures, where the judge
  sees the subject in none of the methods' pictures (of a new place: where it sees the subject in the source).
  4 pixels around what may change are left out. Structure: 1 - cosine of the judge's features per cell, made
  as LPIPS is; lower is better.
- **to the ideal**: against the drawing of the same layout with the target's words.

A number in brackets says of how many edits a figure is the mean where the others have none.

"Same seed" is the comparison of the paper's figure 6: the target prompt from the same noise, nothing
injected.
"""
COLUMNS = {
    "shown": "shown",
    "kept": "rest kept",
    "both": "both",
    "psnr outside": "PSNR outside",
    "ssim outside": "SSIM outside",
    "structure outside": "structure outside",
    "psnr to ideal": "PSNR to the ideal",
    "structure to ideal": "structure to the ideal",
}
MAIN = ("same seed", "cross", "cross + self", "cross + self + blend")
AUTO = "auto"  # settings by `suggest`, which isn't told the kind of edit
FIGURE_ROWS = 9


def cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("shown", "kept", "both", "calm"):
        return f"{100 * value:.0f} %"
    if name.startswith("psnr"):
        return f"{value:.1f}"
    return f"{value:.3f}" if "structure" in name else f"{value:.2f}"


def figure_of(row: Mapping[str, Any], name: str) -> str:
    """A cell, with of how many it is the mean where that is not all."""
    text, n = cell(name, row.get(name)), row.get("n", {}).get(name)
    return f"{text} ({n})" if n and text else text


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], left: int = 1) -> str:
    """In Markdown; the first `left` columns are words."""
    text = f"| {' | '.join(heads)} |\n|{'---|' * left}{'--:|' * (len(heads) - left)}\n"
    return text + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows(found: Sequence[Mapping[str, Any]], names: Sequence[str], best: Mapping[str, Any]) -> str:
    names = [n for n in names if any(row.get(n) is not None for row in found)]
    return table(
        ["edit", "method", "setting", "edits", *(COLUMNS[n] for n in names)],
        (
            [
                row["kind"],
                row["method"],
                best[row["kind"]].get(row["method"], ""),
                str(row["edits"]),
                *(figure_of(row, n) for n in names),
            ]
            for row in found
        ),
        left=3,
    )


PARTS = {
    "cross-attention": "without cross-attention",
    "self-attention": "without self-attention",
    "local blend": "without the blend",
}


def costs(found: Sequence[Mapping[str, Any]]) -> str:
    """What leaving out each of the three changes, for the edits that have all of them."""
    index = {(row["kind"], row["method"]): row for row in found}
    lines = []
    for kind in ("subject", "color", "place"):
        if (kind, PARTS["local blend"]) not in index:
            continue
        whole = index[kind, MAIN[-1]]
        for name, method in PARTS.items():
            row = index[kind, method]
            points = [f"{100 * (row[n] - whole[n]):+.0f} points" for n in ("shown", "kept")]
            decibels = [
                "" if row.get(n) is None else f"{row[n] - whole[n]:+.1f} dB"
                for n in ("psnr outside", "psnr to ideal")
            ]
            lines.append([kind, name, *points, *decibels])
    heads = ["edit", "left out", "shown", "rest kept", "PSNR outside", "to the ideal"]
    if not any(line[-1] for line in lines):
        heads, lines = heads[:-1], [line[:-1] for line in lines]
    return table(heads, lines, left=2)


TOKENS = {"none": "neither", "the old": "the old word", "the new": "the new word", "both": "both words"}


def tokens(result: Mapping[str, Any]) -> str:
    names = ("shown", "kept", "psnr outside")
    index = {
        (pictures, row["in pieces"]): row
        for pictures, part in (("generated", "tokens"), ("drawings", "tokens of drawings"))
        for row in result[part]
    }
    return table(
        ["pictures", "of several tokens", "edits", *(COLUMNS[n] for n in names)],
        (
            [pictures, text, str(row["edits"]), *(figure_of(row, n) for n in names)]
            for pictures in ("generated", "drawings")
            for name, text in TOKENS.items()
            if (row := index.get((pictures, name))) is not None
        ),
        left=2,
    )


def faders(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    text = (
        f"\n## Faders\n\nEach word's fader c over [-2, 2] in {settings['faders']} pictures, windows "
        f"{settings['fader']}:\n"
        "Spearman's correlation of c with the judged degree, how often nothing else flips for c in [0, 2]\n"
        "(another attribute, or another degree by more than 0.3), the mean degree at each c. In drawings\n"
        "the word's own region is known (where as much of it as there can be changes the drawing): the PSNR\n"
        "of the rest is outside it, to the picture at c = 1, for c in [0, 2].\n"
    )
    for title, part in (("Generated pictures", "faders"), ("Drawings", "faders of drawings")):
        found = result[part]
        cs = [name for name in found[0] if name.lstrip("-").replace(".", "").isdigit()]
        rest = found[0].get("psnr of the rest") is not None or part == "faders of drawings"
        names = ["spearman", "calm", *(["psnr of the rest"] if rest else [])]
        heads = ["word", "Spearman", "nothing else flips", *(["PSNR of the rest"] if rest else [])]
        mean = {}
        for name in names:
            values = [row[name] for row in found if row[name] is not None]
            mean[name] = float(np.mean(values)) if values else None
        lines = [
            [row["word"], *(figure_of(row, n) for n in names), *(f"{row[c]:.2f}" for c in cs)]
            for row in found
        ]
        lines.append(["mean", *(cell(n, mean[n]) for n in names), *("" for _ in cs)])
        text += f"\n{title}:\n\n" + table([*heads, *(f"c = {c}" for c in cs)], lines)
    return text


def maps(result: Mapping[str, Any]) -> str:
    index = {(row["words of"], row["threshold"]): row for row in result["maps"]}
    thresholds = sorted({t for _, t in index})
    fixed = result["settings"]["map thresholds"]
    return table(
        ["words of", "maps", "fixed threshold", "IoU", *(f"above {t:g}" for t in thresholds)],
        (
            [
                kind,
                str(index[kind, fixed[kind]]["edits"]),
                f"{fixed[kind]:g}",
                f"**{index[kind, fixed[kind]]['iou']:.2f}**",
                *(f"{index[kind, t]['iou']:.2f}" for t in thresholds),
            ]
            for kind in dict.fromkeys(k for k, _ in index)
        ),
    )


def page(result: Mapping[str, Any]) -> str:
    """The Markdown page."""
    drawings, generated, settings = result["drawings"], result["generated"], result["settings"]
    text = HEAD.format(**settings)
    if settings["sources"] < SOURCES:
        text += (
            f"\n**Not the whole list**: the first {settings['sources']} of its {SOURCES} sources "
            f"(`--sources {settings['sources']}`).\n"
        )
    text += "\n## Generated pictures\n\n"
    text += rows(
        [r for r in generated if r["method"] in (*MAIN, AUTO)],
        [n for n in COLUMNS if "ideal" not in n],
        settings["best"]["generated"],
    )
    text += "\n## Drawings, by direct inversion\n\n"
    text += (
        "The last two rows of each edit are the measures' own ends: the source left as it is, and the ideal\n"
        "after the autoencoder, which no edit can beat.\n\n"
    )
    some = [r for r in drawings if r["method"] in (*MAIN, AUTO) or r["method"].startswith("(")]
    order = {kind: i for i, kind in enumerate(dict.fromkeys(r["kind"] for r in drawings))}
    some.sort(key=lambda r: (order[r["kind"]], r["method"].startswith("(")))
    text += rows(some, [*COLUMNS], settings["best"]["drawings"])
    if any(r["method"] in PARTS.values() for r in drawings):
        text += "\n## What each of the three is worth\n\n"
        text += "The change when it is left out of cross + self + blend, at that row's setting.\n"
        text += "\nOn generated pictures:\n\n" + costs(generated)
        text += "\nOn drawings:\n\n" + costs(drawings)
    if result["tokens"]:
        text += "\n## Words of several tokens\n\n"
        text += "Subject swaps, all three methods on, by which of the two words is several tokens.\n\n"
        text += tokens(result)
    if result["faders"]:
        text += faders(result)
    text += "\n## Attention maps\n\n"
    text += (
        "Mean intersection over union of a word's map (mean over all steps) with its true region in a\n"
        "drawing. The threshold, a share of the map's maximum, was fixed for each kind of words on other\n"
        "scenes; the other columns show what it does.\n\n"
    )
    text += maps(result)
    if settings["only"]:
        return text
    text += "\n![A fader for each word of degree, from -2 to 2](faders.png)\n"
    return text + "\n![Drawings, their edits by each method, and the ideal](edits.png)\n"


def figure(examples: Sequence[tuple[Task, np.ndarray, Mapping[str, np.ndarray]]]) -> Image.Image:
    """Drawing, its source, each method, the ideal: evenly picked from the list, one edit a row."""
    side, line = SIDE, 24
    examples = examples[:: max(1, -(-len(examples) // FIGURE_ROWS))]
    titles = ("drawing", "through the VAE", *MAIN, "ideal")
    sheet = Image.new("RGB", (len(titles) * side, line + len(examples) * (side + line)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, title in enumerate(titles):
        pen.text((column * side + 4, 3), title, "black", font)
    for number, (task, before, pictures) in enumerate(examples):
        top = line + number * (side + line)
        shown = [render(task.source, task.layout, side), before, *(pictures.get(m) for m in MAIN)]
        shown.append(render(task.target, task.layout, side))
        for column, picture in enumerate(shown):
            if picture is not None:
                large = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
                sheet.paste(large, (column * side, top))
        text = f"{caption(task.source)}  >  {caption(task.target)}"
        pen.text((4, top + side + 2), text, "black", font)
    return sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)


def fader_figure(strips: Mapping[str, Sequence[np.ndarray]], faders: Sequence[float]) -> Image.Image:
    """One row for each word, its fader from left to right."""
    side, left, line = 128, 90, 18
    sheet = Image.new("RGB", (left + len(faders) * side, line + len(strips) * side), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, c in enumerate(faders):
        pen.text((left + column * side + side / 2, 2), f"{c:+g}", "black", font, anchor="ma")
    for row, (word, pictures) in enumerate(strips.items()):
        pen.text((4, line + row * side + side / 2), word, "black", font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(
                Image.fromarray(picture).resize((side, side)), (left + column * side, line + row * side)
            )
    return sheet
