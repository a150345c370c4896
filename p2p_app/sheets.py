"""What people take away: sheets of pictures, a loop along a control, a card of a picture before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image, ImageDraw, ImageFont

from p2p_core.recipe import write_picture

from .pictures import enlarged

if TYPE_CHECKING:
    from p2p_core import Result

    from .sessions import Session
    from .views import Update

INK, QUIET, ACCENT, LINE = "#222222", "#6f685e", "#e25229", "#d9d3c7"
PAPER = "#faf7f1"
Word = tuple[str, bool]  # a word of a prompt, and whether it changed


def strip(images: Sequence[Image.Image], captions: Sequence[str] = (), *, gap: int = 6) -> Image.Image:
    """Pictures side by side on white, with a caption below each."""
    if not images:
        raise ValueError("A strip needs at least one picture; got none.")
    height = max(image.height for image in images)
    below = 24 if captions else 0
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, height + below), "white")
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(14), 0
    for n, image in enumerate(images):
        sheet.paste(image, (x, 0))
        if captions:
            text = _cut(captions[n], image.width, draw, font)
            draw.text((x + image.width / 2, height + 4), text, QUIET, font, anchor="ma")
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
    above = 30 if title else 0
    whole = Image.new(
        "RGB", (max(row.width for row in rows), above + sum(row.height + gap for row in rows) - gap), "white"
    )
    if title:
        draw, font = ImageDraw.Draw(whole), ImageFont.load_default(17)
        draw.text((2, 4), _cut(title, whole.width - 4, draw, font), INK, font)
    y = above
    for row in rows:
        whole.paste(row, (0, y))
        y += row.height + gap
    return whole


def loop(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    between: int = 5,
    hold: int = 260,
    step: int = 45,
) -> tuple[list[Image.Image], list[int]]:
    """Frames from the first picture to the last and back, and the milliseconds that each is shown.

    Below the picture a knob moves along its track, over the caption of the nearest picture. Between two
    pictures lie `between` mixtures of them, of `step` ms each, eased by 3 u^2 - 2 u^3. A picture is shown for
    `hold` ms, the first and the last twice as long.
    """
    if not images:
        raise ValueError("A loop needs at least one picture; got none.")
    first = images[0].convert("RGB")
    path = [first, *(image.convert("RGB").resize(first.size) for image in images[1:])]
    last = len(path) - 1
    order = [*range(len(path)), *range(last - 1, 0, -1)]
    frames: list[Image.Image] = []
    times: list[int] = []
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        frames.append(_with_track(path[here], here / max(1, last), captions[here]))
        times.append(2 * hold if here in (0, last) else hold)
        if here == there:
            continue
        for i in range(1, between + 1):
            u = i / (between + 1)
            eased = 3 * u * u - 2 * u**3
            mixture = Image.blend(path[here], path[there], eased)
            at = (here + (there - here) * eased) / max(1, last)
            frames.append(_with_track(mixture, at, captions[here if u < 0.5 else there]))
            times.append(step)
    return frames, times


def _with_track(image: Image.Image, at: float, caption: str) -> Image.Image:
    """The picture over a track with its knob at 0..1, and a caption."""
    margin, band = 28, 58
    whole = Image.new("RGB", (image.width, image.height + band), PAPER)
    whole.paste(image, (0, 0))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(16)
    y, x = image.height + 20, margin + at * (image.width - 2 * margin)
    draw.rounded_rectangle((margin, y - 2, image.width - margin, y + 2), 2, LINE)
    draw.rounded_rectangle((margin, y - 2, x, y + 2), 2, ACCENT)
    draw.ellipse((x - 8, y - 8, x + 8, y + 8), ACCENT)
    text = _cut(caption, image.width - 8, draw, font)
    draw.text((image.width / 2, image.height + 34), text, QUIET, font, anchor="ma")
    return whole


def card(
    before: Image.Image, after: Image.Image, source: Sequence[Word], target: Sequence[Word]
) -> Image.Image:
    """A picture and its edit side by side, each over its prompt with the words that changed marked."""
    margin, gap, size = 32, 16, 22
    after = after.resize(before.size, Image.Resampling.LANCZOS) if after.size != before.size else after
    font = ImageFont.load_default(size)
    lines = [list(_lines(words, before.width, font)) for words in (source, target)]
    text = max(len(some) for some in lines) * round(1.4 * size)
    whole = Image.new(
        "RGB", (2 * before.width + gap + 2 * margin, before.height + 2 * margin + 14 + text), PAPER
    )
    draw = ImageDraw.Draw(whole)
    for number, (image, some) in enumerate(zip((before, after), lines, strict=True)):
        left = margin + number * (before.width + gap)
        whole.paste(image.convert("RGB"), (left, margin))
        y = margin + before.height + 14
        for line in some:
            x = float(left)
            for word, changed in line:
                width = draw.textlength(word, font)
                draw.text((x, y), word, ACCENT if changed else INK, font)
                if changed:
                    draw.line((x, y + 1.2 * size, x + width, y + 1.2 * size), ACCENT, 2)
                x += width + draw.textlength(" ", font)
            y += round(1.4 * size)
    return whole


def write_card(result: Result, path: Path) -> Path:
    """The card of an edit as a JPEG. Returns its path."""
    plan, spans = result.plan, [span for span in result.plan.alignment.spans if span.kind != "kept"]
    source, target = {n for span in spans for n in span.source}, {n for span in spans for n in span.target}
    image = card(
        enlarged(result.source.pixels),
        enlarged(result.image),
        [(word.text, n in source) for n, word in enumerate(plan.source.words)],
        [(word.text, n in target) for n, word in enumerate(plan.target.words)],
    )
    image.save(path, quality=92)
    return path


def takeaways(session: Session, prompt: str, result: Result) -> Update:
    """Writes what a page offers of an edit to take away: the picture with its recipe, and its card."""
    name = "-".join(prompt.lower().split())[:40]
    name = "".join(c for c in name if c.isalnum() or c == "-").strip("-") or "edit"
    file = write_picture(session.path(f"{name}.png"), enlarged(result.image), result.recipe())
    written = write_card(result, session.path(f"{name}-card.jpg"))
    return {
        "download": gr.update(value=str(file), interactive=True),
        "card": gr.update(value=str(written), interactive=True),
    }


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _lines(words: Sequence[Word], width: int, font: Font) -> Iterator[list[Word]]:
    """The words in lines no wider than `width` pixels; a word that is wider has a line of its own."""
    line: list[Word] = []
    for word in words:
        if line and font.getlength(" ".join(text for text, _ in (*line, word))) > width:
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _cut(text: str, width: float, draw: ImageDraw.ImageDraw, font: Font) -> str:
    while text and draw.textlength(text, font) > width:
        text = text[:-1]
    return text
