"""What an evaluation found, as a page in Markdown and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from .captions import caption
from .scenes import Scene

SIDE = 192  # of a picture on the contact sheet
HEAD = """# How well the bundled model draws

Made by `python -m storybook.evaluate --count {prompts} --steps {steps} --guidance {guidance_scale:g}{more}`;
the same command gives this page again. All {prompts} prompts are combinations of subject, colour and place
that were never trained on. The judge, a small network trained on renders only, reads the pictures.

## Shares of pictures that show what the prompt asks

"""
SHARPNESS = """
## Sharpness

Of the pictures over that of drawings of the same prompts, all at 256 x 256 (pictures of another size are
scaled): 1 is as sharp as drawn. A soft edge is as high as a steep one and has the same mean gradient; the
root of the mean square tells them apart.

"""
FRECHET = """
## Frechet distance

Between {pictures} pictures and as many drawings of the same prompts, in the judge's features:
**{generated:.2f}**. Other drawings of the same prompts are {drawn:.2f} from the drawings: the floor.
"""
DEGREES = """
## Words of degree

The degree that the judge reads (0 to 1), mean over the pictures whose prompt has the word, and over those
whose prompt has not.

| word | prompts with it | with it | without it |
|---|--:|--:|--:|
"""


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def page(result: dict[str, Any]) -> str:
    """The Markdown page."""
    shown = result["shown"]
    settings = result["settings"]
    more = f" --frechet {settings['frechet']}" if "frechet" in settings else ""
    text = HEAD.format(**settings, more=more)
    text += f"| {' | '.join(shown)} |\n|{'--:|' * len(shown)}\n"
    text += f"| {' | '.join(percent(share) for share in shown.values())} |\n"
    if result.get("styles"):
        text += "\n## Style by style\n\nThe same shares, of the prompts of one style each.\n\n"
        text += f"| style | prompts | {' | '.join(shown)} |\n|---|--:|{'--:|' * len(shown)}\n"
        for style, row in result["styles"].items():
            cells = " | ".join(percent(row[name]) for name in shown)
            text += f"| {style} | {row['prompts']} | {cells} |\n"
    if result.get("sharpness"):
        styles = result["sharpness"]
        text += SHARPNESS + f"| gradient | {' | '.join(styles)} |\n|---|{'--:|' * len(styles)}\n"
        for name, title in (("mean", "mean"), ("edges", "root mean square")):
            text += f"| {title} | {' | '.join(f'{row[name]:.2f}' for row in styles.values())} |\n"
    if "frechet" in result:
        text += FRECHET.format(**result["frechet"])
    text += DEGREES
    for word, row in result["degrees"].items():
        said = "" if row["said"] is None else f"{row['said']:.2f}"
        text += f"| {word} | {row['prompts']} | {said} | {row['not said']:.2f} |\n"
    return text + "\n![The first 64 of these prompts, none picked](evaluation.png)\n"


def contact_sheet(scenes: Sequence[Scene], images: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """All pictures in the order they were made, each over its prompt."""
    side, line, gap = SIDE, 30, 6
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + line + gap) + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (scene, image) in enumerate(zip(scenes, images, strict=True)):
        x, y = gap + i % columns * (side + gap), gap + i // columns * (side + line + gap)
        sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        pen.multiline_text((x, y + side + 2), wrapped(caption(scene), font, side), "#444", font, spacing=0)
    return sheet


def wrapped(text: str, font: Any, width: int, lines: int = 2) -> str:
    """The text in lines no wider than `width` pixels."""
    done = [""]
    for word in text.split():
        longer = f"{done[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            done[-1] = longer
        else:
            done.append(word)
    return "\n".join(done[:lines])


def curve(*logs: Path) -> Figure:
    """The UNet's loss, and what the judge reads in held-out pictures, over the samples seen.

    Several logs are one training after the other; a line stands where one begins.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    seen, losses, shown = 0, [], []
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        losses += [((seen + line["samples"]) / 1000, line["loss"]) for line in lines if "loss" in line]
        shown += [((seen + line["samples"]) / 1000, line["shown"]) for line in lines if "shown" in line]
        if seen:
            for axis in (left, right):
                axis.axvline(seen / 1000, color="#999999", linewidth=0.8, linestyle=":")
        seen += max(line["samples"] for line in lines)
    left.plot(*zip(*losses, strict=True))
    left.set(xlabel="thousand samples", ylabel="squared error of v", ylim=(0.3, 0.7))
    for name in ("subject", "color", "place", "time", "all"):
        right.plot([x for x, _ in shown], [shares[name] for _, shares in shown], "o-", label=name)
    right.set(xlabel="thousand samples", ylabel="share shown, held-out prompts", ylim=(0, 1.02))
    right.legend(fontsize=8)
    return figure
