"""The world as another hand draws it: rougher and flatter, so that a visitor's own drawing is not unheard of.

Flat skies, outlines thick or none, wobbly shapes, small things left out, colours off the palette.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
import skia

from .colors import Color, mix
from .draw import Pen, render
from .scenes import Scene

OUTLINE = (40, 36, 46)


class RoughPen(Pen):
    """A pen with habits of its own, which a generator of random numbers decides for each picture."""

    def __init__(self, canvas: skia.Canvas, rng: np.random.Generator) -> None:
        super().__init__(canvas)
        self.rng = rng
        self.unit = canvas.getTotalMatrix().getScaleX()  # pixels in 1 / 128 of the picture
        self.wobble = float(rng.uniform(0, 0.05))
        self.outline = float(rng.uniform(0.8, 2.6)) if rng.random() < 0.5 else 0.0
        self.least = float(rng.uniform(0, 2.5))  # what is smaller is left out, in 1 / 128
        self.hue, self.strength, self.light = rng.normal(0, (0.02, 0.15, 0.1))
        self.drift = float(rng.uniform(0, 12))  # how far one use of a colour is from another

    def _paint(self, color: Color, alpha: float = 1, width: float = 0) -> skia.Paint:
        hue, light, strength = colorsys.rgb_to_hls(*(np.clip(color, 0, 255) / 255))
        rgb = colorsys.hls_to_rgb(
            hue + self.hue,
            float(np.clip(light * (1 + self.light), 0, 1)),
            float(np.clip(strength * (1 + self.strength), 0, 1)),
        )
        r, g, b = 255 * np.array(rgb) + self.drift * self.rng.uniform(-1, 1, 3)
        return super()._paint((r, g, b), alpha, width)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, alpha: float = 1) -> None:
        turns = np.arange(9) * (math.pi / 4)
        far = 1 + 2 * self.wobble * self.rng.uniform(-1, 1, 9)
        far[-1] = far[0]
        corners = [
            (x + k * rx * math.cos(a), y + k * ry * math.sin(a)) for a, k in zip(turns, far, strict=True)
        ]
        bends = [  # control points outside, so that eight curves go round
            (x + 1.08 * rx * math.cos(a + math.pi / 8), y + 1.08 * ry * math.sin(a + math.pi / 8))
            for a in turns
        ]
        curves = [(*bend, *corner) for bend, corner in zip(bends, corners[1:], strict=False)]
        self._fill([corners[0], *curves], color, alpha)

    def box(self, x: float, y: float, w: float, h: float, color: Color, r: float = 0) -> None:
        self._fill(self._shaken([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]), color)

    def shape(self, points: Sequence[Sequence[float]], color: Color) -> None:
        self._fill(self._shaken(points), color)

    def sky(self, top: Color, low: Color, horizon: float) -> None:
        self.canvas.drawRect(
            skia.Rect.MakeWH(128, 128), self._paint(mix(top, low, self.rng.uniform(0.2, 0.8)))
        )

    def _shaken(self, points: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        ends = np.array([p[-2:] for p in points])
        reach = self.wobble * min(float(np.ptp(ends, 0).max()), 0.4 * 128 / self._scale())
        return [tuple(v + reach * self.rng.uniform(-1, 1) for v in p) for p in points]

    def _scale(self) -> float:
        """How large one unit of what is drawn now is, in 1 / 128 of the picture."""
        return abs(self.canvas.getTotalMatrix().getScaleX()) / self.unit

    def _fill(self, points: Sequence[Sequence[float]], color: Color, alpha: float = 1) -> None:
        size = float(np.ptp(np.array([p[-2:] for p in points]), 0).max()) * self._scale()
        if size < self.least:
            return
        path = self._path(points, True)
        self.canvas.drawPath(path, self._paint(color, alpha))
        if self.outline and alpha == 1 and size > 6:
            self.canvas.drawPath(path, super()._paint(OUTLINE, width=self.outline / self._scale()))


def render_roughly(scene: Scene, seed: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """The picture of a scene by another hand, (size, size, 3) uint8 RGB; always in the plain style."""
    return render(scene.but(style="illustration"), seed, size, lambda canvas: RoughPen(canvas, rng))
