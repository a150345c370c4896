"""Drawing scenes with skia: vector shapes, then fog and the style on the pixels.

Everything is placed in units of a 128 x 128 picture and scaled, so figures of any size come from one code.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import skia

from .colors import Color, mix
from .places import draw_place
from .scenes import Layout, Scene, layout
from .subjects import draw_subject, floats

PALETTE: dict[str, Color] = {
    "red": (214, 52, 48),
    "orange": (242, 140, 36),
    "yellow": (247, 208, 60),
    "green": (58, 160, 78),
    "blue": (56, 112, 208),
    "purple": (136, 78, 184),
    "pink": (244, 140, 178),
    "white": (242, 242, 238),
}
SKY: dict[str, tuple[Color, Color]] = {
    "day": ((112, 186, 240), (214, 238, 251)),
    "sunset": ((122, 88, 158), (255, 172, 112)),
    "night": ((16, 20, 58), (50, 60, 118)),
}
GROUND: dict[str, Color] = {
    "field": (122, 190, 86),
    "beach": (242, 220, 160),
    "desert": (230, 170, 96),
    "hill": (238, 244, 251),
    "street": (112, 114, 124),
    "forest": (74, 124, 66),
}
FOG: dict[str, Color] = {"day": (226, 232, 238), "sunset": (244, 206, 188), "night": (92, 100, 138)}


def lit(color: Color, time: str) -> Color:
    """A colour in the light of the time of day."""
    if time == "sunset":
        return mix(color, (255, 140, 90), 0.2)
    return mix(color, (22, 26, 72), 0.48) if time == "night" else color


class Pen:
    """Shapes on a canvas. With `flat`, everything is drawn in that one colour: that is how masks are made."""

    def __init__(self, canvas: skia.Canvas, flat: Color | None = None) -> None:
        self.canvas, self.flat = canvas, flat

    def _paint(self, color: Color, alpha: float = 1, width: float = 0) -> skia.Paint:
        r, g, b = (int(np.clip(round(v), 0, 255)) for v in (self.flat or color))
        paint = skia.Paint(
            AntiAlias=True, Color=skia.Color(r, g, b, 255 if self.flat else round(255 * alpha))
        )
        if width:
            paint.setStyle(skia.Paint.kStroke_Style)
            paint.setStrokeWidth(width)
            paint.setStrokeCap(skia.Paint.kRound_Cap)
        return paint

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, alpha: float = 1) -> None:
        self.canvas.drawOval(skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry), self._paint(color, alpha))

    def box(self, x: float, y: float, w: float, h: float, color: Color, r: float = 0) -> None:
        self.canvas.drawRoundRect(skia.Rect.MakeXYWH(x, y, w, h), r, r, self._paint(color))

    def shape(self, points: Sequence[Sequence[float]], color: Color) -> None:
        """A filled outline; a point of 2 numbers is a line to it, 4 a quadratic, 6 a cubic curve."""
        self.canvas.drawPath(self._path(points, True), self._paint(color))

    def stroke(self, points: Sequence[Sequence[float]], width: float, color: Color) -> None:
        self.canvas.drawPath(self._path(points, False), self._paint(color, width=width))

    @staticmethod
    def _path(points: Sequence[Sequence[float]], close: bool) -> skia.Path:
        builder = skia.PathBuilder()
        builder.moveTo(*points[0])
        for p in points[1:]:
            {2: builder.lineTo, 4: builder.quadTo, 6: builder.cubicTo}[len(p)](*p)
        if close:
            builder.close()
        return builder.detach()


def render(scene: Scene, seed: int, size: int = 128) -> np.ndarray:
    """The picture of a scene, (size, size, 3) uint8 RGB."""
    L = layout(seed)
    pixels, canvas = _canvas(size)
    pen = Pen(canvas)
    _sky(pen, scene, L)
    _ground(pen, scene, L)
    pen.oval(L.x, L.y + 1, L.size * 0.9, 4, (20, 20, 40), 0.22)
    _subject(canvas, pen, scene, L)
    for x, y, z in L.flakes[: round(25 + 115 * scene.snowy) if scene.snowy else 0]:
        pen.oval(x * 128, y * 128, 0.9 + 1.3 * z, 0.9 + 1.3 * z, (255, 255, 255))
    image = pixels[..., :3].astype(np.float32)
    if scene.foggy:
        image = _fog(image, scene)
    return _styled(image, scene.style, L, size)


def subject_mask(scene: Scene, seed: int, size: int = 128) -> np.ndarray:
    """Where the subject stands, (size, size) float32 in 0..1."""
    pixels, canvas = _canvas(size)
    _subject(canvas, Pen(canvas, flat=(255, 255, 255)), scene, layout(seed))
    return pixels[..., 0].astype(np.float32) / 255


def _canvas(size: int) -> tuple[np.ndarray, skia.Canvas]:
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType).getCanvas()
    canvas.scale(size / 128, size / 128)
    return pixels, canvas


def _subject(canvas: skia.Canvas, pen: Pen, scene: Scene, L: Layout) -> None:
    color = PALETTE[scene.color]
    if scene.time == "night":
        color = mix(color, (22, 26, 72), 0.18)
    elif scene.time == "sunset":
        color = mix(color, (255, 140, 90), 0.08)
    canvas.save()
    canvas.translate(L.x, L.y - (L.lift if floats(scene.subject) else 0))
    canvas.scale(-L.size if L.mirrored else L.size, L.size)
    draw_subject(pen, scene.subject, color, L.shape, lamps=scene.time == "night")
    canvas.restore()


def _sky(pen: Pen, scene: Scene, L: Layout) -> None:
    top, low = SKY[scene.time]
    shader = skia.GradientShader.MakeLinear(
        [skia.Point(0, 0), skia.Point(0, L.horizon)], [skia.Color(*map(int, c)) for c in (top, low)]
    )
    pen.canvas.drawRect(skia.Rect.MakeWH(128, 128), skia.Paint(Shader=shader))
    x, y = L.sun
    if scene.time == "night":
        for sx, sy, z in L.stars[: round(4 + 66 * scene.starry)]:
            pen.oval(sx * 128, sy * L.horizon, 0.7 + 0.8 * z, 0.7 + 0.8 * z, (255, 250, 215))
        pen.oval(x, y, 9, 9, (250, 245, 215))
        pen.oval(x + 4.5, y - 2.5, 7.5, 7.5, mix(top, low, 0.25))
        return
    low_sun = scene.time == "sunset"
    pen.oval(x, L.horizon - 14 if low_sun else y, 10, 10, (255, 118, 78) if low_sun else (255, 224, 104))
    cloud = (255, 206, 186) if low_sun else (255, 255, 255)
    for u, v, z in L.clouds:
        cx, cy, r = u * 128, 10 + v * 34, 5 + 4 * z
        for dx, k in ((-1, 0.7), (0, 1), (1.1, 0.75)):
            pen.oval(cx + dx * r, cy - k * 2, r * k * 1.1, r * k * 0.8, cloud)


def _ground(pen: Pen, scene: Scene, L: Layout) -> None:
    draw_place(pen, scene.place, L, lambda color: lit(color, scene.time), lamps=scene.time == "night")


def _fog(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Thickest at the horizon; covers the subject too."""
    y = np.linspace(0, 1, len(image), dtype=np.float32)[:, None, None]
    k = scene.foggy * (0.62 * np.exp(-(((y - 0.6) / 0.34) ** 2)) + 0.14)
    return image * (1 - k) + np.asarray(FOG[scene.time], np.float32) * k


def _styled(image: np.ndarray, style: str, L: Layout, size: int) -> np.ndarray:
    if style == "sketch":
        image = _sketch(image, size)
    elif style == "watercolor":
        image = _watercolor(image, L, size)
    elif style == "pixel":
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
        small = np.round(small / 28) * 28
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_NEAREST)
    return image.clip(0, 255).astype(np.uint8)


def _sketch(image: np.ndarray, size: int) -> np.ndarray:
    """Dark outlines on paper, with a breath of the colours left."""
    soft = cv2.GaussianBlur(image, (0, 0), 0.7 * size / 128)
    edge = np.zeros(image.shape[:2], np.float32)
    for dx, dy in ((1, 0), (0, 1)):
        edge = np.maximum(edge, np.abs(cv2.Sobel(soft, cv2.CV_32F, dx, dy, ksize=3)).max(-1))
    line = np.clip(edge * (size / 128) / 110, 0, 1)[..., None]
    washed = 0.55 * 244 + 0.25 * image + 0.2 * image.mean(-1, keepdims=True)
    return washed * (1 - 0.82 * line) + 52 * 0.82 * line


def _watercolor(image: np.ndarray, L: Layout, size: int) -> np.ndarray:
    """Soft edges, pale pigment that pools unevenly."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.6 * size / 128)
    rng = np.random.default_rng(L.grain)
    pool = cv2.resize(rng.random((6, 6)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return 255 - (255 - soft) * (0.5 + 0.36 * pool[..., None])
