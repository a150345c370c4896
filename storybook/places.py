"""The grounds, what stands behind the subject, and what a season leaves in the corners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .colors import Color, mix

if TYPE_CHECKING:
    from .draw import Pen
    from .scenes import Layout

WOOD = (130, 88, 58)
SNOW = (240, 246, 252)
LEAF: dict[str, tuple[Color, float]] = {
    "summer": ((0, 0, 0), 0.0),
    "autumn": ((226, 138, 44), 0.78),
    "winter": ((190, 206, 220), 0.62),
    "spring": ((184, 232, 104), 0.5),
}  # what the season turns greens to, and how much
CAST: dict[str, tuple[Color, float]] = {
    "summer": ((0, 0, 0), 0.0),
    "autumn": ((236, 150, 70), 0.16),
    "winter": ((186, 206, 236), 0.24),
    "spring": ((236, 250, 180), 0.08),
}  # and the colour it casts on everything else


@dataclass(frozen=True, kw_only=True)
class Light:
    """How the colours of a place look at a time of day, in a season, under snow, in the rain."""

    at_time: Callable[[Color], Color]
    season: str
    snowy: float
    rainy: float
    lamps: bool

    def __call__(self, color: Color, cover: float = 0.9) -> Color:
        """cover: how much of it snow can hide."""
        tint, share = CAST[self.season]
        color = mix(mix(color, tint, share), (96, 104, 124), 0.3 * self.rainy)
        return self.at_time(mix(color, SNOW, cover * self.snowy))

    def leaf(self, color: Color, cover: float = 0.9) -> Color:
        """Of grass and leaves."""
        return self(mix(color, *LEAF[self.season]), cover)


def draw_place(pen: Pen, place: str, L: Layout, light: Light) -> None:
    """Background and ground of a place."""
    {
        "field": _field,
        "beach": _beach,
        "desert": _desert,
        "hill": _hill,
        "street": _street,
        "forest": _forest,
    }[place](pen, L, light)


def draw_season(pen: Pen, L: Layout, light: Light) -> None:
    """Pumpkins, a snowman or tulips on either side of the subject."""
    for side in (-1, 1):
        x = 64 + side * (50 + 6 * L.corner)
        {"summer": _nothing, "autumn": _pumpkin, "winter": _snowman, "spring": _tulips}[light.season](
            pen, x, 112 + 6 * L.hills[3 + side], light.at_time
        )


def _nothing(pen: Pen, x: float, y: float, lit: Callable[[Color], Color]) -> None:
    pass


def _pumpkin(pen: Pen, x: float, y: float, lit: Callable[[Color], Color]) -> None:
    pen.box(x - 1, y - 14, 2.4, 5, lit((96, 120, 60)), 1)
    for dx, tone in ((-4.5, (214, 108, 26)), (4.5, (214, 108, 26)), (0, (242, 138, 38))):
        pen.oval(x + dx, y - 5.5, 4.6, 5.5, lit(tone))


def _snowman(pen: Pen, x: float, y: float, lit: Callable[[Color], Color]) -> None:
    white, coal = lit((248, 250, 255)), lit((50, 45, 60))
    pen.oval(x, y - 5, 7, 6, lit((216, 226, 240)))
    pen.oval(x, y - 5.5, 6.4, 5.6, white)
    pen.oval(x, y - 14, 4.6, 4.6, white)
    pen.box(x - 4.4, y - 19.5, 8.8, 1.8, coal)
    pen.box(x - 2.8, y - 24, 5.6, 5, coal)
    pen.shape([(x, y - 14.6), (x + 5.5, y - 13.4), (x, y - 12.6)], lit((244, 140, 50)))


def _tulips(pen: Pen, x: float, y: float, lit: Callable[[Color], Color]) -> None:
    for dx, tall, tone in ((-6, 11, (240, 96, 130)), (0, 15, (252, 208, 70)), (6, 12, (226, 70, 70))):
        pen.stroke([(x + dx, y), (x + dx, y - tall)], 1.8, lit((72, 150, 70)))
        pen.oval(x + dx, y - tall - 1, 3, 3.8, lit(tone))


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


def _field(pen: Pen, L: Layout, light: Light) -> None:
    h, y = L.hills, L.horizon
    _ridge(pen, L, light.leaf((84, 156, 108), 0.7), 22)
    _ground(pen, L, light.leaf((128, 196, 88)))
    for i in range(3):  # mown stripes
        gy = y + 9 + 14 * i
        pen.shape(
            [(0, gy), (64, gy + 5, 128, gy), (128, gy + 4 + 2 * i), (64, gy + 9 + 2 * i, 0, gy + 4 + 2 * i)],
            light.leaf((114, 182, 78)),
        )
    post = light((232, 224, 208), 0.4)
    pen.box(0, y - 4, 128, 1.6, post)
    for i in range(8):
        pen.box(6 + 16 * i + 4 * h[6], y - 7, 2.6, 10, post)


def _beach(pen: Pen, L: Layout, light: Light) -> None:
    h, y = L.hills, L.horizon
    pen.box(0, y - 14, 128, 34, light((58, 146, 208), 0.3))
    for i in range(5):
        pen.box(112 * h[i], y - 11 + i * 2.6, 15, 1.4, light((190, 226, 242), 0.3))
    bend = 6 * (h[5] - 0.5)
    pen.shape([(0, 128), (0, y - 2), (64, y - 2 + bend, 128, y - 2), (128, 128)], light((252, 248, 238), 0.6))
    pen.shape([(0, 128), (0, y + 2), (64, y + 2 + bend, 128, y + 2), (128, 128)], light((244, 222, 160)))
    for i in range(6):
        pen.oval(128 * h[i], y + 12 + 30 * h[11 - i], 2, 1.3, light((214, 186, 126)))


def _desert(pen: Pen, L: Layout, light: Light) -> None:
    h, y = L.hills, L.horizon
    _ridge(pen, L, light((204, 128, 78), 0.7), 24)
    _ground(pen, L, light((230, 168, 92)))
    for i in range(4):
        gy, x = y + 12 + 9 * i, 128 * h[i]
        pen.stroke(
            [(x - 22, gy), (x - 10, gy - 4, x, gy), (x + 12, gy + 3, x + 22, gy)], 1.6, light((196, 136, 70))
        )
    for side, i in ((-1, 1), (1, 2)):
        x, gy, c = 64 + side * (46 + 10 * h[i]), y + 9, light((60, 140, 84), 0.4)
        pen.box(x - 3.4, gy - 27, 6.8, 27, c, 3.4)
        pen.box(x - 11, gy - 19, 4.6, 10, c, 2.2)
        pen.box(x - 10, gy - 12, 9, 4, c, 1.4)
        pen.box(x + 6.4, gy - 22, 4.6, 10, c, 2.2)
        pen.box(x + 1, gy - 16, 9, 4, c, 1.4)


def _hill(pen: Pen, L: Layout, light: Light) -> None:
    """A round hill, and mountains with white tops behind it."""
    h, y = L.hills, L.horizon
    for i, x in enumerate((14, 114, 56, 84)):
        x, tall, wide = x + 16 * (h[i] - 0.5), 26 + 14 * h[i + 4], 26 + 8 * h[i + 6]
        pen.shape([(x - wide, y + 12), (x, y - tall), (x + wide, y + 12)], light((128, 146, 184), 0.5))
        cut = 0.3
        pen.shape(
            [
                (x - wide * cut, y - tall + (tall + 12) * cut),
                (x, y - tall),
                (x + wide * cut, y - tall + (tall + 12) * cut),
                (x + wide * cut * 0.3, y - tall + (tall + 12) * cut * 0.75),
                (x - wide * cut * 0.3, y - tall + (tall + 12) * cut * 1.05),
            ],
            light((244, 248, 252), 0.2),
        )
    pen.shape([(0, 128), (0, y + 12), (64, y - 16, 128, y + 12), (128, 128)], light.leaf((104, 176, 92)))
    pen.shape([(0, 128), (0, y + 34), (40, y + 10, 128, y + 40), (128, 128)], light.leaf((122, 192, 98)))


def _street(pen: Pen, L: Layout, light: Light) -> None:
    h, y = L.hills, L.horizon
    walls = ((196, 134, 140), (140, 158, 196), (212, 176, 132), (142, 168, 152))
    x, i = -4.0, 0
    while x < 128:
        w, tall = 20 + 10 * h[i % 12], 24 + 24 * h[(i + 5) % 12]
        wall = light(walls[i % 4], 0.45)
        pen.box(x, y - tall, w, tall + 4, wall)
        pane = (255, 226, 130) if light.lamps else mix(wall, (255, 255, 255), 0.5)
        for wy in range(5, int(tall) - 6, 11):
            for wx in range(3, int(w) - 6, 9):
                pen.box(x + wx, y - tall + wy, 5, 6.5, pane)
        x, i = x + w, i + 1
    _ground(pen, L, light((112, 114, 124)))
    pen.box(0, y, 128, 6, light((196, 192, 188)))
    for i in range(5):
        pen.box(i * 32 - 24 * h[6], y + 28, 18, 3.4, light((246, 242, 222)))


def _forest(pen: Pen, L: Layout, light: Light) -> None:
    h, y = L.hills, L.horizon
    for i in range(9):
        x, tall = i * 15.5 + 5 * h[i], 32 + 18 * h[(i + 3) % 12]
        pen.box(x - 2, y - 8, 4, 11, light(WOOD, 0.3))
        c = light.leaf(mix((38, 98, 62), (62, 128, 76), h[i]), 0.75)
        pen.shape([(x - 10, y - 4), (x, y - tall), (x + 10, y - 4)], c)
        pen.shape([(x - 8, y - tall * 0.5), (x, y - tall - 6), (x + 8, y - tall * 0.5)], c)
    _ground(pen, L, light.leaf((74, 124, 66)))
    for i in range(8):
        pen.oval(128 * h[i], y + 8 + 34 * h[11 - i], 7, 2.2, light.leaf((104, 152, 92)))
