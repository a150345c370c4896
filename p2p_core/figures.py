"""Pictures of what happens: word maps, masks, strips. PIL images and matplotlib Figures, never pyplot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from .source import Result, Source

HEAT = "inferno"
PAPER = "#00000000"  # figures take the page's background, light or dark
INK = "#8a8378"  # readable on both


def overlay(image: Image.Image, heat: np.ndarray, *, strength: float = 0.75) -> Image.Image:
    """A map over a picture: where it is low the picture darkens, where it is high it glows.

    heat: (h, w), scaled by its own maximum; any grid.
    """
    heat = np.asarray(heat, np.float32)
    heat = np.clip(heat / max(float(heat.max()), 1e-12), 0, 1)
    large = Image.fromarray((heat * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    level = np.asarray(large, np.float32)[..., None] / 255
    color = colormaps[HEAT](level[..., 0])[..., :3] * 255
    base = np.asarray(image.convert("RGB"), np.float32)
    mixed = base * (1 - strength * 0.7) + color * strength * 0.7 * (0.35 + 0.65 * level)
    mixed = mixed * (1 - 0.35 * level) + base * 0.35 * level
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def mask_overlay(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The region of a local blend: outside it the picture is veiled, its edge is drawn. mask: (h, w) 0..1."""
    soft = Image.fromarray((np.asarray(mask, np.float32) * 255).astype(np.uint8))
    inside = np.asarray(soft.resize(image.size, Image.Resampling.NEAREST)) > 127
    base = np.asarray(image.convert("RGB"), np.float32)
    veiled = base * 0.35 + 0.65 * np.array([236, 233, 226], np.float32)
    out = np.where(inside[..., None], base, veiled)
    edge = np.zeros_like(inside)
    edge[1:] |= inside[1:] != inside[:-1]
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    out[edge] = (226, 82, 41)
    return Image.fromarray(out.astype(np.uint8))


def word_maps(pictured: Source | Result, words: Sequence[str | int] | None = None) -> Figure:
    """Where each word of a picture's prompt looks, averaged over steps (the paper's Figure 4, top)."""
    prompt = pictured.prompt if isinstance(pictured, Source) else pictured.plan.target
    wanted = range(len(prompt.words)) if words is None else [n for w in words for n in prompt.find_words(w)]
    seen = [n for n in wanted if prompt.words[n].tokens]
    panels = [(prompt.words[n].text, pictured.attention(n)) for n in seen]
    return _grid(pictured.image, panels, columns=min(6, max(1, len(panels))))


def maps_over_steps(pictured: Source | Result, word: str | int, *, columns: int = 8) -> Figure:
    """Where one word looks in the course of the run, noisiest step first (the paper's Figure 4, bottom)."""
    source = pictured if isinstance(pictured, Source) else pictured.as_source()
    steps = np.unique(np.linspace(0, source.steps - 1, columns).round().astype(int))
    panels = [(f"step {i + 1}", source.attention(word, step=int(i))) for i in steps]
    return _grid(source.image, panels, columns=len(panels))


def _grid(image: Image.Image, panels: list[tuple[str, np.ndarray]], columns: int) -> Figure:
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(1.5 * columns, 1.78 * rows), dpi=110, facecolor=PAPER, layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, heat) in zip(axes, panels, strict=False):
        axis.imshow(np.asarray(overlay(image, heat)))
        axis.set_title(title.replace("$", r"\$"), fontsize=10, color=INK)  # no TeX from prompts
    return figure


def strip(
    images: Sequence[Image.Image], captions: Sequence[str] | None = None, *, gap: int = 6
) -> Image.Image:
    """Pictures side by side on white, with a caption below each."""
    if not images:
        raise ValueError("A strip needs at least one picture; got none.")
    height = max(image.height for image in images)
    below = 20 if captions else 0
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, height + below), "white")
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(12), 0
    for n, image in enumerate(images):
        sheet.paste(image, (x, 0))
        if captions:
            text = captions[n]
            while text and draw.textlength(text, font) > image.width:
                text = text[:-1]
            draw.text((x + image.width / 2, height + 4), text, "#444444", font, anchor="ma")
        x += image.width + gap
    return sheet
