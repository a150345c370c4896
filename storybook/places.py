"""The grounds and what stands behind the subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .colors import Color, mix

if TYPE_CHECKING:
    from .draw import Pen
    from .scenes import Layout

Light = Callable[["Color"], "Color"]
WOOD = (130, 88, 58)


def draw_place(pen: Pen, place: str, L: Layout, light: Light, *, lamps: bool) -> None:
    """Background and ground of a place, in the light of the time of day."""
    {
        "field": _field,
        "beach": _beach,
        "desert": _desert,
        "hill": _hill,
        "street": _street,
        "forest": _forest,
    }[place](pen, L, light, lamps)


def _ground(pen: Pen, L: Layout, color: Color) -> None:
    y = L.horizon
    pen.shape([(0, 128), (0, y), (64, y + 6 * (L.hills[5] - 0.5), 128, y), (128, 128)], color)


def _ridge(pen: Pen, L: Layout, color: Color, height: float) -> None:
    """Hills behind the horizon."""
    h, y = L.hills, L.horizon
    pen.shape(
        [
            (0, y + 8),
            (0, y - height * 0.4 * h[0]),
            (26, y - height * (0.4 + h[1]), 64, y - height * 0.3 * h[2]),
            (102, y - height * (0.3 + h[3]), 128, y - height * 0.5 * h[4]),
            (128, y + 8),
        ],
        color,
    )


def _field(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    _ridge(pen, L, light((84, 156, 108)), 22)
    _ground(pen, L, light((122, 190, 86)))
    for i in range(12):
        x, gy = 128 * h[i], y + 8 + (118 - y) * ((i * 0.37) % 1)
        for dx in (-2, 2):
            pen.stroke([(x, gy), (x + dx, gy - 4)], 1.2, light((96, 160, 68)))
        pen.oval((x + 30) % 128, gy, 1.6, 1.6, light((252, 232, 120)))


def _beach(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    pen.box(0, y - 13, 128, 34, light((66, 150, 208)))
    for i in range(5):
        pen.box(112 * h[i], y - 10 + i * 2.4, 15, 1.2, light((190, 226, 242)))
    bend = 6 * (h[5] - 0.5)
    pen.shape([(0, 128), (0, y - 2), (64, y - 2 + bend, 128, y - 2), (128, 128)], light((252, 248, 238)))
    pen.shape([(0, 128), (0, y + 2), (64, y + 2 + bend, 128, y + 2), (128, 128)], light((242, 220, 160)))
    for i in range(6):
        pen.oval(128 * h[i], y + 12 + 30 * h[11 - i], 1.7, 1.1, light((212, 190, 136)))


def _desert(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    _ridge(pen, L, light((210, 138, 88)), 24)
    _ground(pen, L, light((230, 170, 96)))
    for i in range(4):
        gy, x = y + 12 + 9 * i, 128 * h[i]
        pen.stroke(
            [(x - 22, gy), (x - 10, gy - 4, x, gy), (x + 12, gy + 3, x + 22, gy)], 1.4, light((198, 140, 76))
        )
    for side, i in ((-1, 1), (1, 2)):
        x, gy, c = 64 + side * (48 + 10 * h[i]), y + 7, light((66, 140, 84))
        pen.box(x - 2.8, gy - 24, 5.6, 24, c, 2.8)
        pen.box(x - 9, gy - 17, 4, 9, c, 2)
        pen.box(x - 8, gy - 11, 7, 3.4, c, 1)
        pen.box(x + 5, gy - 20, 4, 9, c, 2)
        pen.box(x + 1, gy - 14, 7, 3.4, c, 1)


def _hill(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    _ridge(pen, L, light((184, 204, 230)), 26)
    pen.shape([(0, 128), (0, y + 8), (64, y - 12, 128, y + 8), (128, 128)], light((238, 244, 251)))
    for i in range(5):
        pen.oval(128 * h[i], y + 15 + 28 * h[11 - i], 7, 1.7, light((214, 226, 242)))


def _street(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    walls = ((180, 140, 150), (150, 160, 186), (202, 176, 150), (140, 152, 150))
    x, i = -4.0, 0
    while x < 128:
        w, tall = 18 + 10 * h[i % 12], 22 + 24 * h[(i + 5) % 12]
        wall = light(walls[i % 4])
        pen.box(x, y - tall, w, tall + 4, wall)
        pane = (255, 226, 130) if lamps else mix(wall, (255, 255, 255), 0.45)
        for wy in range(4, int(tall) - 5, 9):
            for wx in range(3, int(w) - 5, 7):
                pen.box(x + wx, y - tall + wy, 4, 5, pane)
        x, i = x + w, i + 1
    _ground(pen, L, light((112, 114, 124)))
    pen.box(0, y, 128, 5, light((188, 185, 182)))
    for i in range(5):
        pen.box(i * 32 - 24 * h[6], y + 28, 18, 3, light((242, 237, 217)))


def _forest(pen: Pen, L: Layout, light: Light, lamps: bool) -> None:
    h, y = L.hills, L.horizon
    for i in range(9):
        x, tall = i * 15.5 + 5 * h[i], 30 + 18 * h[(i + 3) % 12]
        pen.box(x - 2, y - 8, 4, 11, light(WOOD))
        c = light(mix((38, 98, 62), (62, 128, 76), h[i]))
        pen.shape([(x - 10, y - 4), (x, y - tall), (x + 10, y - 4)], c)
        pen.shape([(x - 8, y - tall * 0.5), (x, y - tall - 6), (x + 8, y - tall * 0.5)], c)
    _ground(pen, L, light((74, 124, 66)))
    for i in range(8):
        pen.oval(128 * h[i], y + 8 + 34 * h[11 - i], 6, 1.8, light((110, 156, 98)))
