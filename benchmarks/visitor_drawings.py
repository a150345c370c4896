"""Forty drawings by another hand: Pillow alone, and no code of the bundled world's own drawing.

Ten things in five places, each drawn in four hands: flat colours without outlines, thick dark outlines,
a shaky line, and pastel. They stand for what a visitor brings.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIDE = 256
LARGE = 3 * SIDE  # drawn this large and reduced, so that edges are smooth
RGB = tuple[int, int, int]
COLORS: dict[str, RGB] = {
    "red": (226, 40, 60), "orange": (255, 150, 20), "yellow": (255, 222, 40), "green": (30, 170, 70),
    "blue": (40, 90, 230), "purple": (150, 60, 200), "pink": (255, 120, 180), "white": (250, 250, 250),
}  # fmt: skip
HANDS = ("flat", "outlined", "shaky", "pastel")
SCENES = (
    ("house", "red", "field"), ("car", "blue", "street"), ("boat", "yellow", "beach"),
    ("balloon", "purple", "hill"), ("tree", "green", "field"), ("mushroom", "orange", "hill"),
    ("cat", "white", "desert"), ("rabbit", "pink", "beach"), ("lighthouse", "red", "beach"),
    ("rocket", "green", "desert"),
)  # fmt: skip


@dataclass(frozen=True)
class VisitorDrawing:
    """A picture and the words for it."""

    subject: str
    color: str
    place: str
    hand: str
    image: Image.Image


class Crayon:
    """Draws in units of the picture's side, (0, 0) at the top left."""

    def __init__(self, hand: str, seed: int) -> None:
        self.hand, self.random = hand, random.Random(seed)
        self.image = Image.new("RGB", (LARGE, LARGE), (255, 255, 255))
        self.draw = ImageDraw.Draw(self.image)
        self.line = {"flat": 0, "pastel": 0, "outlined": LARGE // 60, "shaky": LARGE // 110}[hand]

    def polygon(self, points: Sequence[tuple[float, float]], color: RGB, outlined: bool = True) -> None:
        shake = 0.008 if self.hand == "shaky" else 0.0
        at = [tuple(LARGE * (v + self.random.uniform(-shake, shake)) for v in p) for p in points]
        if self.hand == "pastel":
            color = tuple((v + 190) // 2 if v < 190 else v for v in color)  # type: ignore[assignment]
        self.draw.polygon(at, fill=color)
        if self.line and outlined:
            self.draw.line([*at, at[0], at[1]], fill=(25, 25, 30), width=self.line, joint="curve")

    def box(self, x: float, y: float, w: float, h: float, color: RGB, outlined: bool = True) -> None:
        self.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], color, outlined)

    def oval(self, x: float, y: float, rx: float, ry: float, color: RGB, outlined: bool = True) -> None:
        turn = [complex(0, 1) ** (4 * k / 24) for k in range(24)]
        self.polygon([(x + rx * c.real, y + ry * c.imag) for c in turn], color, outlined)


def _background(c: Crayon, place: str) -> None:
    c.box(-0.1, -0.1, 1.2, 1.2, (150, 210, 250), False)
    c.oval(0.16, 0.15, 0.08, 0.08, (255, 225, 60))
    for x in (0.62, 0.7, 0.78):
        c.oval(x, 0.16, 0.07, 0.045, (255, 255, 255), False)
    if place == "field":
        c.box(-0.1, 0.58, 1.2, 0.6, (110, 200, 80))
    elif place == "hill":
        c.polygon([(-0.1, 0.62), (0.2, 0.3), (0.42, 0.62)], (140, 140, 170))
        c.polygon([(0.5, 0.62), (0.8, 0.28), (1.1, 0.62)], (140, 140, 170))
        c.oval(0.5, 1.15, 0.95, 0.6, (90, 180, 80))
    elif place == "street":
        for i, tall in enumerate((0.3, 0.42, 0.24, 0.38)):
            c.box(0.25 * i, 0.62 - tall, 0.24, tall, ((200, 130, 120), (150, 160, 200))[i % 2])
        c.box(-0.1, 0.62, 1.2, 0.6, (105, 105, 115))
        for x in (0.05, 0.4, 0.75):
            c.box(x, 0.93, 0.18, 0.025, (245, 245, 245), False)
    elif place == "beach":
        c.box(-0.1, 0.5, 1.2, 0.16, (50, 130, 220))
        c.box(-0.1, 0.62, 1.2, 0.6, (245, 220, 150))
    else:
        c.box(-0.1, 0.56, 1.2, 0.6, (225, 175, 95))
        for x in (0.08, 0.86):
            c.box(x, 0.42, 0.05, 0.24, (60, 140, 70))
            c.box(x - 0.05, 0.48, 0.15, 0.04, (60, 140, 70))


def _house(c: Crayon, color: RGB) -> None:
    c.box(0.28, 0.5, 0.44, 0.38, color)
    c.polygon([(0.22, 0.5), (0.5, 0.24), (0.78, 0.5)], _dark(color))
    c.box(0.45, 0.68, 0.11, 0.2, (120, 75, 45))
    for x in (0.33, 0.6):
        c.box(x, 0.56, 0.09, 0.1, (200, 235, 250))


def _car(c: Crayon, color: RGB) -> None:
    c.polygon([(0.33, 0.68), (0.4, 0.54), (0.62, 0.54), (0.7, 0.68)], color)
    c.polygon([(0.39, 0.66), (0.43, 0.57), (0.6, 0.57), (0.64, 0.66)], (200, 235, 250))
    c.box(0.22, 0.67, 0.58, 0.14, color)
    for x in (0.34, 0.68):
        c.oval(x, 0.82, 0.065, 0.065, (35, 35, 40))


def _boat(c: Crayon, color: RGB) -> None:
    c.box(0.485, 0.3, 0.02, 0.42, (120, 75, 45), False)
    c.polygon([(0.52, 0.32), (0.74, 0.66), (0.52, 0.66)], (250, 250, 245))
    c.polygon([(0.47, 0.38), (0.3, 0.66), (0.47, 0.66)], (250, 250, 245))
    c.polygon([(0.2, 0.7), (0.8, 0.7), (0.68, 0.86), (0.32, 0.86)], color)


def _balloon(c: Crayon, color: RGB) -> None:
    for x in (0.42, 0.58):
        c.polygon([(x, 0.58), (x + 0.008, 0.58), (0.5, 0.78), (0.49, 0.78)], (90, 70, 60), False)
    c.polygon([(0.3, 0.48), (0.7, 0.48), (0.55, 0.64), (0.45, 0.64)], color)
    c.oval(0.5, 0.38, 0.24, 0.24, color)
    c.box(0.44, 0.74, 0.12, 0.1, (150, 100, 60))


def _tree(c: Crayon, color: RGB) -> None:
    c.box(0.45, 0.6, 0.1, 0.28, (120, 75, 45))
    for x, y, r in ((0.38, 0.5, 0.15), (0.62, 0.5, 0.15), (0.5, 0.38, 0.18)):
        c.oval(x, y, r, r, color, False)
    c.oval(0.5, 0.47, 0.2, 0.16, color, False)


def _mushroom(c: Crayon, color: RGB) -> None:
    c.box(0.42, 0.58, 0.16, 0.3, (245, 235, 215))
    c.polygon([(0.22, 0.6), (0.28, 0.42), (0.4, 0.32), (0.6, 0.32), (0.72, 0.42), (0.78, 0.6)], color)
    for x, y in ((0.38, 0.47), (0.52, 0.4), (0.63, 0.5)):
        c.oval(x, y, 0.04, 0.035, (255, 255, 255), False)


def _face(c: Crayon, y: float) -> None:
    for x in (0.45, 0.55):
        c.oval(x, y, 0.018, 0.022, (25, 25, 30), False)
    c.oval(0.5, y + 0.055, 0.016, 0.012, (235, 110, 120), False)


def _cat(c: Crayon, color: RGB) -> None:
    c.polygon([(0.64, 0.8), (0.78, 0.7), (0.8, 0.58), (0.84, 0.6), (0.82, 0.74), (0.66, 0.86)], color)
    c.oval(0.5, 0.74, 0.17, 0.16, color)
    for x in (0.4, 0.6):
        c.polygon([(x - 0.06, 0.42), (x + (x - 0.5) * 0.4, 0.26), (x + 0.06, 0.42)], color)
    c.oval(0.5, 0.48, 0.16, 0.14, color)
    _face(c, 0.47)


def _rabbit(c: Crayon, color: RGB) -> None:
    c.oval(0.5, 0.74, 0.17, 0.16, color)
    for x in (0.43, 0.57):
        c.oval(x, 0.27, 0.045, 0.15, color)
    c.oval(0.5, 0.48, 0.15, 0.14, color)
    _face(c, 0.47)


def _lighthouse(c: Crayon, color: RGB) -> None:
    c.polygon([(0.4, 0.36), (0.6, 0.36), (0.66, 0.88), (0.34, 0.88)], color)
    c.polygon([(0.385, 0.48), (0.615, 0.48), (0.63, 0.6), (0.37, 0.6)], (250, 250, 245))
    c.box(0.42, 0.25, 0.16, 0.11, (255, 225, 110))
    c.polygon([(0.38, 0.25), (0.5, 0.14), (0.62, 0.25)], _dark(color))


def _rocket(c: Crayon, color: RGB) -> None:
    for side in (-1, 1):
        c.polygon(
            [(0.5 + side * 0.1, 0.6), (0.5 + side * 0.24, 0.78), (0.5 + side * 0.1, 0.74)], _dark(color)
        )
    c.polygon([(0.45, 0.76), (0.55, 0.76), (0.5, 0.9)], (255, 170, 40))
    c.polygon([(0.5, 0.16), (0.6, 0.34), (0.61, 0.76), (0.39, 0.76), (0.4, 0.34)], color)
    c.oval(0.5, 0.44, 0.05, 0.05, (200, 235, 250))


def _dark(color: RGB) -> RGB:
    return tuple(v * 2 // 3 for v in color)  # type: ignore[return-value]


_SUBJECTS: dict[str, Callable[[Crayon, RGB], None]] = {
    "house": _house, "car": _car, "boat": _boat, "balloon": _balloon, "tree": _tree, "mushroom": _mushroom,
    "cat": _cat, "rabbit": _rabbit, "lighthouse": _lighthouse, "rocket": _rocket,
}  # fmt: skip


def visitor_drawings() -> Iterator[VisitorDrawing]:
    """All forty, always the same."""
    for i, (subject, color, place) in enumerate(SCENES):
        for hand in HANDS:
            crayon = Crayon(hand, seed=i)
            _background(crayon, place)
            _SUBJECTS[subject](crayon, COLORS[color])
            image = crayon.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            yield VisitorDrawing(subject, color, place, hand, image)
