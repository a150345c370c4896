"""The inversion benchmark's page in Markdown and its figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from storybook.captions import caption

NAMES = {
    "ddim": "DDIM",
    "negative_prompt": "negative prompt",
    "null_text": "null-text",
    "direct": "direct",
    "aligned": "aligned",
}
HEAD = """# Real pictures, by four ways of inversion

Made by `python -m benchmarks.inversion`; the same command gives this page again. {pictures} drawings of
scenes that the model was never trained on stand for real pictures; null-text, which is slow, has
{null_text} of them, and every row says how many it has. {steps} steps, on {device}. Each picture has a swap
of its subject or its colour, every fourth an edit of another kind too, whose right answer is the drawing of
the same layout with the target's words. The judge, a small network trained on drawings only,
reads the pictures. At guidance 1 there is no unconditional row, and DDIM, negative prompt and null-text
are one method, bit for bit: DDIM's rows stand for them.
"""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = "| " + " | ".join(heads) + " |\n|---|" + "--:|" * (len(heads) - 1) + "\n"
    return text + "".join("| " + " | ".join(row) + " |\n" for row in rows)


def number(row: Mapping[str, Any], name: str, digits: int = 1) -> str:
    value = row.get(name)
    return "" if value is None else f"{value:.{digits}f}"


def share(row: Mapping[str, Any], name: str) -> str:
    return f"{100 * row[name]:.0f} %"


def _edits(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "method", "guidance", "region", "edits", "shown", "rest kept", "both", "PSNR outside, to the source",
        "to the picture", "PSNR to the ideal", "structure to the ideal",
    )  # fmt: skip
    return table(
        heads,
        [
            [
                NAMES[row["method"]],
                f"{row['guidance']:g}",
                row["blend"],
                str(row["edits"]),
                *(share(row, name) for name in ("shown", "kept", "both")),
                *(number(row, name) for name in ("psnr outside", "psnr outside, picture", "psnr to ideal")),
                number(row, "structure to ideal", 3),
            ]
            for row in rows
        ],
    )


def page(result: Mapping[str, Any]) -> str:
    """The Markdown page."""
    text = HEAD.format(**result["settings"])
    text += "\n## What is asked of it\n\n"
    text += table(
        ("asked", "measured", "holds"),
        [(row["what"], row["measured"], "yes" if row["holds"] else "**no**") for row in result["asked"]],
    )
    text += "\n## How well the picture comes back\n\n"
    text += "Against the picture itself, and against what the autoencoder alone makes of it. No method can\n"
    text += "beat the autoencoder, whose own PSNR stands in the column before the last.\n\n"
    text += table(
        ("method", "guidance", "pictures", "PSNR", "SSIM", "PSNR to the VAE's", "SSIM to the VAE's",
         "the VAE alone", "short of it"),
        [
            [
                NAMES[row["method"]],
                f"{row['guidance']:g}",
                str(row["edits"]),
                number(row, "psnr"),
                number(row, "ssim", 3),
                number(row, "psnr vae"),
                number(row, "ssim vae", 3),
                number(row, "ceiling"),
                number(row, "short of it", 2),
            ]
            for row in result["back"]
        ],
    )  # fmt: skip
    text += "\n(99 dB: the very same picture.)\n"
    text += "\nWith more steps, at guidance 7.5:\n\n"
    text += table(
        ("method", "steps", "pictures", "PSNR", "PSNR to the VAE's", "the VAE alone", "short of it"),
        [
            [
                NAMES[row["method"]],
                row["steps"],
                str(row["edits"]),
                *(number(row, name) for name in ("psnr", "psnr vae", "ceiling")),
                number(row, "short of it", 2),
            ]
            for row in result["closer"]
        ],
    )
    text += "\n## How well it can be edited\n\n"
    text += "### Swaps of a subject or a colour, and fluffy: with and without a region\n\n"
    text += _edits(result["local edits"])
    text += "\n### All edits\n\n" + _edits([r for r in result["edits"] if r["blend"] == "no blend"])
    settings = "; ".join(f"{kind} {text}" for kind, text in result["settings"]["edits"].items())
    text += "\nSettings, cross / self windows as fractions of the run, and the blend's threshold from its\n"
    text += f"start: {settings}.\n"
    text += "\n## Beside generated pictures\n\n"
    text += "The same swaps, by direct inversion of a drawing and of a picture generated from its prompt.\n"
    text += "Here the outside is where the judge sees no subject, as it is known in both.\n\n"
    text += table(
        ("picture", "guidance", "region", "edits", "shown", "rest kept", "both", "PSNR outside",
         "to the picture"),
        [
            [
                row["picture"],
                f"{row['guidance']:g}",
                row["blend"],
                str(row["edits"]),
                *(share(row, name) for name in ("shown", "kept", "both")),
                *(number(row, name) for name in ("psnr outside", "psnr outside, picture")),
            ]
            for row in result["beside generated, swaps"]
        ],
    )  # fmt: skip
    text += "\n## Seconds\n\nOne picture, nothing known before; the edit afterwards.\n\n"
    text += table(
        ("method", "steps", "invert", "edit"),
        [
            [NAMES[row["method"]], str(row["steps"]), f"{row['invert']:.1f}", f"{row['edit']:.1f}"]
            for row in result["seconds"]
        ],
    )
    return text + "\n![Pictures, how they come back, and their edits](inversion.png)\n"


def figure(
    examples: Sequence[tuple[Any, Image.Image, Mapping[str, Any]]],
    back: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
) -> Image.Image:
    """Pictures, how they come back and their edits by every method (Figures 10 and 11); and, below, how well
    they come back at every guidance scale."""
    columns, rows = 1 + 2 * len(methods), len(examples)
    whole = Figure(figsize=(1.25 * columns, 1.45 * rows + 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(whole)
    top, below = whole.subfigures(2, 1, height_ratios=[max(1.0, 1.45 * rows), 3.0])
    axes = top.subplots(rows, columns, squeeze=False)
    for row, (task, image, shown) in zip(axes, examples, strict=True):
        came, edited = zip(*(shown[method] for method in methods), strict=True)
        for axis, picture in zip(row, (image, *came, *edited), strict=True):
            axis.set_axis_off()
            axis.imshow(picture)
        row[0].set_title(f"{caption(task.source)} →\n{caption(task.target)}", fontsize=5, loc="left", pad=2)
    names = [NAMES[method] for method in methods]
    for axis, title in zip(axes[0][1:], (*names, *(f"edit, {name}" for name in names)), strict=True):
        axis.set_title(title, fontsize=7)
    plot = below.subplots()
    for method in methods:
        unguided = "direct" if method == "direct" else "ddim"  # whose rows stand for it at guidance 1
        mine = [r for r in back if r["method"] == (unguided if r["guidance"] == 1 else method)]
        plot.plot([r["guidance"] for r in mine], [r["psnr"] for r in mine], "o-", label=NAMES[method])
    plot.axhline(max(row["ceiling"] for row in back), color="grey", lw=0.8, ls="--", label="the VAE alone")
    plot.set_xlabel("guidance scale")
    plot.set_ylabel("PSNR of what comes back, dB")
    plot.legend(fontsize=7)
    buffer = io.BytesIO()
    whole.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
