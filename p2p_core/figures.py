"""Attention maps, masks, strips and sheets as pictures: PIL images and matplotlib Figures.

pyplot is not used: it keeps every figure, and a server would run out of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

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


def sheet(
    images: Sequence[Image.Image], captions: Sequence[str], *, columns: int, title: str = "", gap: int = 6
) -> Image.Image:
    """Pictures in rows on white, with a caption below each and a title above."""
    if not images or columns < 1:
        raise ValueError(f"A sheet needs pictures and columns; got {len(images)} and {columns}.")
    rows = [
        strip(images[i : i + columns], captions[i : i + columns], gap=gap)
        for i in range(0, len(images), columns)
    ]
    above = 26 if title else 0
    whole = Image.new(
        "RGB", (max(row.width for row in rows), above + sum(row.height + gap for row in rows) - gap), "white"
    )
    if title:
        ImageDraw.Draw(whole).text((2, 4), title, "#222222", ImageFont.load_default(14))
    y = above
    for row in rows:
        whole.paste(row, (0, y))
        y += row.height + gap
    return whole


def animation(
    images: Sequence[Image.Image], *, between: int = 6, hold: int = 260, step: int = 45
) -> tuple[list[Image.Image], list[int]]:
    """Frames from the first picture to the last and back, and the milliseconds that each is shown.

    Between two pictures lie `between` mixtures of them, of `step` ms each, eased by 3 u^2 - 2 u^3. A picture
    is shown for `hold` ms, the first and the last twice as long.
    """
    if not images:
        raise ValueError("An animation needs at least one picture; got none.")
    first = images[0].convert("RGB")
    path = [first, *(image.convert("RGB").resize(first.size) for image in images[1:])]
    ends = {0, len(path) - 1}
    order = [*range(len(path)), *range(len(path) - 2, 0, -1)]
    frames: list[Image.Image] = []
    times: list[int] = []
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        frames.append(path[here])
        times.append(2 * hold if here in ends else hold)
        if here == there:
            continue
        for i in range(1, between + 1):
            u = i / (between + 1)
            frames.append(Image.blend(path[here], path[there], 3 * u * u - 2 * u**3))
            times.append(step)
    return frames, times
