"""The subjects, drawn in units of half their width, foot at (0, 0), y down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .colors import Color, mix

if TYPE_CHECKING:
    from .draw import Pen

DARK, WHITE, GLASS, WOOD = (50, 45, 60), (246, 244, 238), (190, 226, 242), (130, 88, 58)
LAMP = (255, 226, 120)


def floats(subject: str) -> bool:
    """Whether it is above the ground."""
    return subject in ("balloon", "rocket", "butterfly")


def draw_subject(
    pen: Pen, subject: str, color: Color, shape: float, *, lamps: bool, fluffy: float, blossoming: float
) -> None:
    """Draw one subject.

    shape: -1..1, a small variation of its form; lamps: lit windows; fluffy: 0..1, the fur of animals;
    blossoming: 0..1, flowers on the crown of a tree.
    """
    dark, pale = mix(color, (20, 15, 40), 0.36), mix(color, (255, 255, 255), 0.42)
    if subject in _ANIMALS:
        _ANIMALS[subject](pen, color, dark, pale, fluffy)
        return
    _THINGS[subject](pen, color, dark, pale, LAMP if lamps else GLASS, shape)
    if subject == "tree":
        for i in range(round(14 * blossoming)):
            angle, far = 2.4 * i, 0.22 + 0.19 * math.sqrt(i)
            x, y = 1.05 * far * math.cos(angle), -1.2 + 0.8 * far * math.sin(angle)
            pen.oval(x, y, 0.1, 0.1, (255, 214, 228))
            pen.oval(x, y, 0.04, 0.04, (250, 204, 92))


def _house(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    roof = 0.72 + 0.08 * j
    p.box(0.34, -1.0 - roof * 0.95, 0.24, 0.6, dark)
    p.box(-0.78, -1.05, 1.56, 1.05, c)
    p.shape([(-1, -1.0), (0, -1.0 - roof), (1, -1.0)], dark)
    p.box(-0.18, -0.62, 0.36, 0.62, WOOD, 0.04)
    for x in (-0.64, 0.3):
        p.box(x, -0.78, 0.34, 0.36, glass)


def _castle(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.box(-0.62, -0.95, 1.24, 0.95, c)
    for i in range(4):
        p.box(-0.6 + i * 0.33, -1.12, 0.2, 0.2, c)
    for side in (-1, 1):
        x, tall = side * 0.72, 1.3 + 0.08 * j * side
        p.box(x - 0.27, -tall, 0.54, tall, pale if side < 0 else c)
        p.shape([(x - 0.36, -tall), (x, -tall - 0.62), (x + 0.36, -tall)], dark)
        p.box(x - 0.09, -tall + 0.3, 0.18, 0.28, glass)
    p.shape([(-0.22, 0), (-0.22, -0.4), (-0.22, -0.64, 0, -0.64), (0.22, -0.64, 0.22, -0.4), (0.22, 0)], WOOD)


def _car(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    top = -1.02 - 0.05 * j
    p.shape([(-0.62, -0.5), (-0.48, top, -0.22, top), (0.25, top), (0.48, top, 0.66, -0.5)], c)
    p.shape([(-0.46, -0.54), (-0.36, -0.88, -0.2, -0.9), (0.0, -0.9), (0.0, -0.54)], glass)
    p.shape([(0.08, -0.54), (0.08, -0.9), (0.24, -0.9), (0.4, -0.88, 0.52, -0.54)], glass)
    p.box(-1, -0.6, 2, 0.42, c, 0.14)
    p.box(-1, -0.32, 2, 0.09, dark)
    p.oval(0.92, -0.45, 0.08, 0.09, (255, 236, 150))
    for x in (-0.56, 0.56):
        p.oval(x, -0.2, 0.27, 0.27, DARK)
        p.oval(x, -0.2, 0.12, 0.12, (192, 192, 198))


def _boat(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.box(-0.05, -1.8, 0.1, 1.45, WOOD)
    p.shape([(0.09, -1.75), (0.88, -1.25, 0.84, -0.58), (0.09, -0.58)], WHITE)
    p.shape([(-0.1, -1.55), (-0.68, -0.95, -0.74, -0.58), (-0.1, -0.58)], pale)
    p.shape([(-1, -0.48), (1, -0.48), (0.86, 0, 0.55, 0), (-0.6, 0), (-0.9, 0, -1, -0.48)], c)
    p.box(-1, -0.5, 2, 0.12, dark)


def _tree(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.shape([(-0.2, 0), (-0.12, -0.9), (0.12, -0.9), (0.2, 0)], WOOD)
    for x, y, r in ((-0.48, -0.98, 0.46), (0.48, -1.0, 0.46), (0, -1.45 + 0.05 * j, 0.52), (0, -0.95, 0.5)):
        p.oval(x, y, r, r, c)
    for x, y, r in ((-0.2, -1.5, 0.2), (0.34, -1.15, 0.17), (-0.52, -1.08, 0.16)):
        p.oval(x, y, r, r, pale)


def _face(p: Pen, y: float) -> None:
    for side in (-1, 1):
        p.oval(side * 0.18, y, 0.08, 0.11, DARK)
    p.oval(0, y + 0.17, 0.08, 0.06, (206, 92, 104))


def _furry(p: Pen, x: float, y: float, rx: float, ry: float, color: Color, fluffy: float) -> None:
    """An oval with tufts of fur around it, longer the fluffier."""
    if fluffy:
        n, tuft = 13, 0.09 + 0.11 * fluffy
        for i in range(n):
            a = 2 * math.pi * (i + 0.5) / n
            px, py = x + (rx + 0.08 * fluffy) * math.cos(a), y + (ry + 0.08 * fluffy) * math.sin(a)
            p.oval(px, py, tuft, tuft, mix(color, (255, 255, 255), 0.35 if i % 2 else 0.08))
    p.oval(x, y, rx, ry, color)


def _body(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float, wide: float = 0.54) -> None:
    _furry(p, 0, -0.46, wide, 0.5, c, fluffy)
    p.oval(0, -0.34, wide * 0.54, 0.34, pale)
    for side in (-1, 1):
        p.oval(side * wide / 2, -0.07, 0.2, 0.11, dark)


def _cat(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float) -> None:
    p.stroke([(0.45, -0.15), (1.1, -0.12, 0.92, -0.85)], 0.16 + 0.2 * fluffy, dark)
    _body(p, c, dark, pale, fluffy)
    _furry(p, 0, -1.12, 0.54, 0.43, c, fluffy)
    for side in (-1, 1):
        p.shape([(side * 0.5, -1.1), (side * 0.52, -1.84), (side * 0.06, -1.42)], c)
        p.shape([(side * 0.43, -1.3), (side * 0.44, -1.64), (side * 0.19, -1.42)], (238, 160, 172))
    _face(p, -1.14)
    for side in (-1, 1):
        for rise in (-0.02, 0.08):
            p.stroke([(side * 0.28, -0.98), (side * 0.62, -1.0 + rise)], 0.035, DARK)


def _dog(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float) -> None:
    p.stroke([(0.45, -0.3), (0.86, -0.4, 0.9, -0.8)], 0.17 + 0.2 * fluffy, c)
    _body(p, c, dark, pale, fluffy)
    _furry(p, 0, -1.14, 0.47, 0.46, c, fluffy)
    for side in (-1, 1):
        p.oval(side * 0.54, -1.02, 0.19, 0.44, dark)
    p.oval(0, -0.97, 0.24, 0.19, pale)
    _face(p, -1.18)


def _rabbit(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float) -> None:
    p.oval(0.55, -0.26, 0.19 + 0.1 * fluffy, 0.19 + 0.1 * fluffy, WHITE)
    _body(p, c, dark, pale, fluffy)
    for side in (-1, 1):
        p.oval(side * 0.23, -1.74, 0.17, 0.5, c)
        p.oval(side * 0.23, -1.72, 0.08, 0.36, (242, 170, 182))
    _furry(p, 0, -1.1, 0.46, 0.4, c, fluffy)
    _face(p, -1.12)


def _bear(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float) -> None:
    for side in (-1, 1):
        p.oval(side * 0.66, -0.5, 0.2, 0.3, dark)
    _body(p, c, dark, pale, fluffy, 0.64)
    _furry(p, 0, -1.16, 0.56, 0.48, c, fluffy)
    for side in (-1, 1):
        p.oval(side * 0.44, -1.54, 0.22, 0.22, dark)
        p.oval(side * 0.44, -1.54, 0.11, 0.11, pale)
    p.oval(0, -0.98, 0.26, 0.2, pale)
    _face(p, -1.2)


def _hippopotamus(p: Pen, c: Color, dark: Color, pale: Color, fluffy: float) -> None:
    for x in (-0.78, -0.4, 0.12, 0.5):
        p.box(x, -0.36, 0.28, 0.36, dark, 0.08)
    _furry(p, -0.12, -0.66, 0.84, 0.52, c, fluffy)
    p.oval(-0.16, -0.5, 0.5, 0.28, pale)
    for x in (0.42, 0.76):
        p.oval(x, -1.34, 0.11, 0.14, dark)
    _furry(p, 0.56, -1.02, 0.4, 0.34, c, fluffy)
    p.oval(0.72, -0.78, 0.4, 0.26, pale)
    for x in (0.46, 0.74):
        p.oval(x, -1.12, 0.06, 0.08, DARK)
    for x in (0.62, 0.88):
        p.oval(x, -0.84, 0.05, 0.06, dark)


def _mushroom(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.shape([(-0.24, -0.8), (-0.32, 0, -0.32, 0), (0.32, 0), (0.32, 0, 0.24, -0.8)], (240, 226, 202))
    top = -1.65 - 0.06 * j
    p.shape([(-1, -0.7), (-0.95, top, 0, top), (0.95, top, 1, -0.7), (0, -0.52, -1, -0.7)], c)
    for x, y, r in ((-0.48, -0.96, 0.16), (0.08, -1.25, 0.19), (0.54, -0.92, 0.14)):
        p.oval(x, y, r, r, WHITE)


def _cake(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.oval(0, -0.06, 1.0, 0.11, (216, 216, 226))
    p.box(-0.82, -0.64, 1.64, 0.58, c, 0.06)
    p.box(-0.52, -1.18, 1.04, 0.56, pale, 0.05)
    p.box(-0.82, -0.68, 1.64, 0.16, WHITE, 0.06)
    p.box(-0.52, -1.22, 1.04, 0.15, WHITE, 0.05)
    for x in (-0.3, 0, 0.3):
        p.box(x - 0.045, -1.52, 0.09, 0.32, (90, 150, 222))
        p.oval(x, -1.62, 0.08, 0.13, (255, 180, 50))


def _balloon(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.shape([(-0.8, -1.4), (-0.8, -0.95, -0.24, -0.46), (0.24, -0.46), (0.8, -0.95, 0.8, -1.4)], c)
    p.oval(0, -1.4, 0.8, 0.66, c)
    p.shape([(-0.28, -1.4), (-0.28, -0.8, -0.09, -0.46), (0.09, -0.46), (0.28, -0.8, 0.28, -1.4)], pale)
    p.oval(0, -1.4, 0.28, 0.66, pale)
    for x in (-0.2, 0.2):
        p.stroke([(x, -0.48), (x * 0.85, -0.24)], 0.05, WOOD)
    p.box(-0.24, -0.28, 0.48, 0.3, WOOD, 0.05)


def _rocket(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    for side in (-1, 1):
        p.shape([(side * 0.28, -0.8), (side * 0.8, -0.35, side * 0.72, 0.0), (side * 0.28, -0.2)], dark)
    p.shape([(-0.18, -0.15), (0, 0.26), (0.18, -0.15)], (255, 182, 60))
    p.shape([(-0.36, -0.15), (-0.54, -1.2, 0, -1.95), (0.54, -1.2, 0.36, -0.15)], c)
    p.shape([(-0.25, -1.5), (-0.1, -1.85, 0, -1.95), (0.1, -1.85, 0.25, -1.5)], dark)
    p.oval(0, -1.08, 0.2, 0.2, DARK)
    p.oval(0, -1.08, 0.14, 0.14, glass)


def _lighthouse(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    p.shape([(-0.62, 0), (-0.5, -0.18, 0, -0.18), (0.5, -0.18, 0.62, 0)], (150, 146, 150))
    p.shape([(-0.4, -0.1), (-0.25, -1.5), (0.25, -1.5), (0.4, -0.1)], c)
    p.shape([(-0.36, -0.5), (-0.31, -0.86), (0.31, -0.86), (0.36, -0.5)], WHITE)
    p.shape([(-0.28, -1.16), (-0.26, -1.38), (0.26, -1.38), (0.28, -1.16)], WHITE)
    p.box(-0.38, -1.56, 0.76, 0.1, DARK, 0.03)
    p.box(-0.2, -1.86, 0.4, 0.32, LAMP)
    p.shape([(-0.3, -1.84), (0, -2.16 - 0.05 * j), (0.3, -1.84)], dark)
    p.box(-0.1, -0.36, 0.2, 0.28, WOOD, 0.08)


def _butterfly(p: Pen, c: Color, dark: Color, pale: Color, glass: Color, j: float) -> None:
    for side in (-1, 1):
        p.shape(
            [
                (side * 0.08, -1.0),
                (side * 0.3, -1.9, side * 0.86, -1.86),
                (side * 1.14, -1.2, side * 0.08, -0.9),
            ],
            c,
        )
        p.shape(
            [
                (side * 0.08, -0.95),
                (side * 0.9, -0.9, side * 0.76, -0.38),
                (side * 0.4, -0.02, side * 0.08, -0.8),
            ],
            dark,
        )
        p.oval(side * 0.62, -1.5, 0.19, 0.19, pale)
        p.oval(side * 0.5, -0.6, 0.12, 0.12, pale)
        p.stroke([(side * 0.03, -1.4), (side * 0.12, -1.8, side * 0.3, -1.94)], 0.05, DARK)
    p.oval(0, -0.95, 0.11, 0.5, DARK)
    p.oval(0, -1.42, 0.12, 0.13, DARK)


_THINGS = {
    "house": _house,
    "castle": _castle,
    "lighthouse": _lighthouse,
    "car": _car,
    "boat": _boat,
    "balloon": _balloon,
    "rocket": _rocket,
    "tree": _tree,
    "mushroom": _mushroom,
    "cake": _cake,
    "butterfly": _butterfly,
}
_ANIMALS = {"cat": _cat, "dog": _dog, "rabbit": _rabbit, "bear": _bear, "hippopotamus": _hippopotamus}
