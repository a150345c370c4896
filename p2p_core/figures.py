"""Attention maps and masks as pictures: PIL images and matplotlib Figures.

pyplot is not used: it keeps every figure, and a server would run out of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from .source import Layers, Result, Source

COLORMAP = "inferno"
TRANSPARENT = "#00000000"  # the page's background shows through, light or dark
TITLE_COLOR = "#8a8378"  # readable on both
Map = npt.NDArray[Any]  # (h, w), as `Source.attention` and `Result.mask` are


def overlay(image: Image.Image, heat: Map, *, strength: float = 0.75) -> Image.Image:
    """A map over a picture, which is dark where the map is low and glows where it is high.

    heat: (h, w) of any size, divided by its maximum. strength: 0..1, of the darkness and the glow.
    """
    heat = np.asarray(heat, np.float32)
    heat = np.clip(heat / max(float(heat.max()), 1e-12), 0, 1)
    large = Image.fromarray((heat * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    level = np.asarray(large, np.float32)[..., None] / 255
    color = colormaps[COLORMAP](level[..., 0])[..., :3] * 255
    base = np.asarray(image.convert("RGB"), np.float32)
    mixed = base * (1 - strength * 0.7) + color * strength * 0.7 * (0.35 + 0.65 * level)
    mixed = mixed * (1 - 0.35 * level) + base * 0.35 * level
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def mask_overlay(image: Image.Image, mask: Map) -> Image.Image:
    """The region of a local blend: its edge drawn, the picture outside it pale. mask: (h, w) in 0..1."""
    image_mask = Image.fromarray((np.asarray(mask, np.float32) * 255).astype(np.uint8))
    inside = np.asarray(image_mask.resize(image.size, Image.Resampling.NEAREST)) > 127
    base = np.asarray(image.convert("RGB"), np.float32)
    pale = base * 0.35 + 0.65 * np.array([236, 233, 226], np.float32)
    out = np.where(inside[..., None], base, pale)
    edge = np.zeros_like(inside)
    edge[1:] |= inside[1:] != inside[:-1]
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    out[edge] = (226, 82, 41)
    return Image.fromarray(out.astype(np.uint8))


def word_maps(
    picture: Source | Result, words: Sequence[str | int] | None = None, *, sites: Layers = None
) -> Figure:
    """The map of each word, averaged over steps (the paper's Figure 4, top). words: None is all.

    sites: see `Source.attention`. Raises `UnknownWord`, `BadInput`.
    """
    prompt = picture.prompt if isinstance(picture, Source) else picture.plan.target
    names = range(len(prompt.words)) if words is None else words
    numbers = [n for name in names for n in prompt.find_words(name) if prompt.words[n].tokens]
    panels = [(prompt.words[n].text, picture.attention(n, sites=sites)) for n in numbers]
    return grid(picture.image, panels, columns=min(6, max(1, len(panels))))


def maps_over_steps(picture: Source | Result, word: str | int, *, columns: int = 8) -> Figure:
    """The map of one word in some of the steps, noisiest first (the paper's Figure 4, bottom)."""
    source = picture if isinstance(picture, Source) else picture.as_source()
    steps = sorted(
        {round(float(i)) for i in np.linspace(0, source.steps - 1, columns)}
    )  # first and last, evenly
    panels = [(f"step {i + 1}", source.attention(word, step=i)) for i in steps]
    return grid(source.image, panels, columns=len(panels))


def grid(image: Image.Image, panels: Sequence[tuple[str, Map]], columns: int) -> Figure:
    """Maps over one picture, each with a title. panels: (title, map (h, w))."""
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(
        figsize=(1.5 * columns, 1.78 * rows), dpi=110, facecolor=TRANSPARENT, layout="constrained"
    )
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, heat) in zip(axes, panels, strict=False):
        axis.imshow(np.asarray(overlay(image, heat)))
        axis.set_title(title.replace("$", r"\$"), fontsize=10, color=TITLE_COLOR)  # no TeX from prompts
    return figure
