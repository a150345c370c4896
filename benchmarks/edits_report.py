"""The edit benchmark's page in Markdown and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from storybook.captions import caption
from storybook.draw import render

from .tasks import Task

HEAD = """# Edits against their known answers

Made by `python -m benchmarks.edits`; the same command gives this page again. {edits} edits of {sources}
sources whose combinations of subject, colour and place were never trained on, {steps} steps, guidance
{guidance_scale:g}, on {device}. The judge, a small network trained on drawings only, reads the pictures.

- **shown**: how often the picture shows what the edit asked for. **rest kept**: how often every other
  attribute (subject, colour, place, time, season, weather, sky, style) is read as in the source picture.
  **both**: shown and kept at once.
- **PSNR, SSIM, structure outside**: against the source picture where the edit should change nothing. On
  drawings that is where the ideal edit equals the source drawing; on generated pictures, where the judge
  sees the subject in none of the methods' pictures (of a new place: where it sees the subject in the source).
  4 pixels around what may change are left out. Structure: 1 - cosine of the judge's features per cell, made
  as LPIPS is; lower is better.
- **to the ideal**: against the drawing of the same layout with the target's words.

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
FIGURE_ROWS = 12


def cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("shown", "kept", "both", "calm"):
        return f"{100 * value:.0f} %"
    if name.startswith("psnr"):
        return f"{value:.1f}"
    return f"{value:.3f}" if "structure" in name else f"{value:.2f}"


def rows(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    names = [n for n in names if any(row.get(n) is not None for row in found)]
    text = "| edit | method | edits | " + " | ".join(COLUMNS[n] for n in names) + " |\n"
    text += "|---|---|--:|" + "--:|" * len(names) + "\n"
    for row in found:
        cells = " | ".join(cell(n, row.get(n)) for n in names)
        text += f"| {row['kind']} | {row['method']} | {row['edits']} | {cells} |\n"
    return text


def costs(found: Sequence[Mapping[str, Any]]) -> str:
    """What leaving out each of the three changes, for the edits that have all of them."""
    text = "| edit | left out | both | PSNR outside | to the ideal |\n|---|---|--:|--:|--:|\n"
    index = {(row["kind"], row["method"]): row for row in found}
    pairs = {
        "cross-attention": "self + blend",
        "self-attention": "cross + blend",
        "local blend": "cross + self",
        "both injections": "blend",
    }
    for kind in ("subject", "color"):
        whole = index[kind, "cross + self + blend"]
        for name, method in pairs.items():
            row = index[kind, method]
            text += f"| {kind} | {name} | {100 * (row['both'] - whole['both']):+.0f} points"
            for figure_name in ("psnr outside", "psnr to ideal"):
                text += f" | {row[figure_name] - whole[figure_name]:+.1f} dB"
            text += " |\n"
    return text


def page(result: Mapping[str, Any]) -> str:
    """The Markdown page."""
    drawings, generated = result["drawings"], result["generated"]
    text = HEAD.format(**result["settings"])
    text += "\n## Generated pictures\n\n"
    text += rows([r for r in generated if r["method"] in MAIN], [n for n in COLUMNS if "ideal" not in n])
    text += (
        "\nSettings, cross / self windows as fractions of the run, and the blend's threshold from its start: "
    )
    text += "; ".join(f"{kind} {value}" for kind, value in result["settings"]["best"].items()) + ".\n"
    text += "\n## Drawings, by direct inversion\n\n"
    text += (
        "The last two rows of each edit are the measures' own ends: the source left as it is, and the ideal\n"
    )
    text += "after the autoencoder, which no edit can beat.\n\n"
    text += rows([r for r in drawings if r["method"] in MAIN or r["method"].startswith("(")], [*COLUMNS])
    text += "\n## What each of the three is worth\n\n"
    text += "The change when it is left out of cross + self + blend, on drawings.\n\n" + costs(drawings)
    text += "\n## Words of several tokens\n\nSubject swaps on generated pictures, all three methods on.\n\n"
    text += "| swapped words | edits | shown | rest kept | PSNR outside |\n|---|--:|--:|--:|--:|\n"
    for row in sorted(result["tokens"], key=lambda r: r["in pieces"]):
        name = "one or both of several tokens" if row["in pieces"] else "of one token each"
        cells = " | ".join(cell(n, row[n]) for n in ("shown", "kept", "psnr outside"))
        text += f"| {name} | {row['edits']} | {cells} |\n"
    text += "\n## Faders\n\n"
    text += f"Each word's fader c over [-2, 2] in {result['settings']['faders']} generated pictures, windows "
    text += f"{result['settings']['fader']}: Spearman's correlation of c with the judged degree, how often\n"
    text += (
        "nothing else flips for c in [0, 2] (another attribute, or another degree by more than 0.3), the\n"
    )
    text += "PSNR to the picture at c = 1 there, and the mean degree.\n\n"
    faders = result["faders"]
    cs = [name for name in faders[0] if name.lstrip("-").replace(".", "").isdigit()]
    text += f"| word | Spearman | nothing else flips | PSNR | {' | '.join(f'c = {c}' for c in cs)} |\n"
    text += "|---|--:|--:|--:|" + "--:|" * len(cs) + "\n"
    for row in faders:
        text += f"| {row['word']} | {row['spearman']:.2f} | {cell('calm', row['calm'])} | "
        text += f"{row['psnr to c = 1']:.1f} | " + " | ".join(f"{row[c]:.2f}" for c in cs) + " |\n"
    mean = {name: np.mean([row[name] for row in faders]) for name in ("spearman", "calm", "psnr to c = 1")}
    text += f"| mean | {mean['spearman']:.2f} | {cell('calm', mean['calm'])} | {mean['psnr to c = 1']:.1f} |"
    text += " |" * len(cs) + "\n"
    text += "\n## Attention maps\n\n"
    text += "Mean intersection over union of a word's map (mean over all steps) with its true region in the\n"
    text += "drawing, by the map's threshold.\n\n"
    maps = {(row["words of"], row["threshold"]): row["iou"] for row in result["maps"]}
    thresholds = sorted({t for _, t in maps})
    text += (
        f"| words of | {' | '.join(f'above {t:g}' for t in thresholds)} |\n|---|{'--:|' * len(thresholds)}\n"
    )
    for attribute in dict.fromkeys(a for a, _ in maps):
        text += f"| {attribute} | {' | '.join(f'{maps[attribute, t]:.2f}' for t in thresholds)} |\n"
    text += "\n![A fader for each word of degree, from -2 to 2](faders.png)\n"
    return text + "\n![Drawings, their edits by each method, and the ideal](edits.png)\n"


def figure(examples: Sequence[tuple[Task, np.ndarray, Mapping[str, np.ndarray]]]) -> Image.Image:
    """Drawing, its source, each method, the ideal: evenly picked from the list, one edit a row."""
    side, line = 128, 16
    examples = examples[:: max(1, -(-len(examples) // FIGURE_ROWS))]
    titles = ("drawing", "through the VAE", *MAIN, "ideal")
    sheet = Image.new("RGB", (len(titles) * side, line + len(examples) * (side + line)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for column, title in enumerate(titles):
        pen.text((column * side + 4, 2), title, "black", font)
    for number, (task, before, pictures) in enumerate(examples):
        top = line + number * (side + line)
        shown = [render(task.source, task.layout), before, *(pictures.get(m) for m in MAIN)]
        shown.append(render(task.target, task.layout))
        for column, picture in enumerate(shown):
            if picture is not None:
                sheet.paste(Image.fromarray(picture), (column * side, top))
        text = f"{caption(task.source)}  >  {caption(task.target)}"
        pen.text((4, top + side + 1), text, "black", font)
    return sheet


def fader_figure(strips: Mapping[str, Sequence[np.ndarray]], faders: Sequence[float]) -> Image.Image:
    """One row for each word, its fader from left to right."""
    side, left, line = 96, 80, 16
    sheet = Image.new("RGB", (left + len(faders) * side, line + len(strips) * side), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, c in enumerate(faders):
        pen.text((left + column * side + side / 2, 2), f"{c:+g}", "black", font, anchor="ma")
    for row, (word, pictures) in enumerate(strips.items()):
        pen.text((4, line + row * side + side / 2), word, "black", font, anchor="lm")
        for column, picture in enumerate(pictures):
            small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(small, (left + column * side, line + row * side))
    return sheet
