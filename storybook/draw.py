"""Drawing scenes with skia: vector shapes, then fog and the style on the pixels.

Everything is placed in units of a 128 x 128 picture and scaled, so figures of any size come from one code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import skia

from .colors import Color, mix
from .places import Light, draw_place, draw_season
from .scenes import DEGREES, Layout, Scene, layout
from .subjects import draw_subject, floats

SIDE = 256  # pixels of a picture
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
FOG: dict[str, Color] = {"day": (226, 232, 238), "sunset": (244, 206, 188), "night": (92, 100, 138)}
RAINBOW: tuple[Color, ...] = (
    (238, 92, 84), (250, 162, 70), (252, 222, 92), (112, 196, 108), (92, 150, 230), (152, 108, 206),
)  # fmt: skip


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

    def sky(self, top: Color, low: Color, horizon: float) -> None:
        """All over the picture, from one colour at the top to another at the horizon."""
        shader = skia.GradientShader.MakeLinear(
            [skia.Point(0, 0), skia.Point(0, horizon)], [skia.Color(*map(int, c)) for c in (top, low)]
        )
        self.canvas.drawRect(skia.Rect.MakeWH(128, 128), skia.Paint(Shader=shader))

    @staticmethod
    def _path(points: Sequence[Sequence[float]], close: bool) -> skia.Path:
        builder = skia.PathBuilder()
        builder.moveTo(*points[0])
        for p in points[1:]:
            {2: builder.lineTo, 4: builder.quadTo, 6: builder.cubicTo}[len(p)](*p)
        if close:
            builder.close()
        return builder.detach()


def render(scene: Scene, seed: int, size: int = SIDE, hand: Callable[[skia.Canvas], Pen] = Pen) -> np.ndarray:
    """The picture of a scene, (size, size, 3) uint8 RGB. hand: what makes the pen that draws it."""
    L = layout(seed)
    pixels, canvas = _canvas(size)
    pen, light = hand(canvas), _light(scene)
    _sky(pen, scene, L)
    draw_place(pen, scene.place, L, light)
    if scene.blossoming:
        _flowers(pen, scene, L)
    draw_season(pen, L, light)
    _subject(canvas, pen, scene, L)
    for x, y, z in L.flakes[: round(14 + 56 * scene.snowy) if scene.snowy else 0]:
        pen.oval(x * 128, y * 128, 1.2 + 1.2 * z, 1.2 + 1.2 * z, (255, 255, 255))
    for x, y in L.drops[: round(10 + 50 * scene.rainy) if scene.rainy else 0]:
        x, y, long = x * 140 - 6, y * 136 - 8, 8
        pen.stroke([(x, y), (x - 0.35 * long, y + long)], 1.5, (196, 220, 246))
    image = pixels[..., :3].astype(np.float32)
    if scene.foggy:
        image = _fog(image, scene)
    return _styled(image, scene.style, L, size)


def subject_mask(scene: Scene, seed: int, size: int = SIDE) -> np.ndarray:
    """Where the subject stands, the others of a crowd too: (size, size) float32 in 0..1."""
    pixels, canvas = _canvas(size)
    _subject(canvas, Pen(canvas, flat=(255, 255, 255)), scene, layout(seed))
    return pixels[..., 3].astype(np.float32) / 255


def regions(scene: Scene, seed: int, size: int = SIDE) -> dict[str, np.ndarray]:
    """Where each word of a scene is seen: word -> (size, size) bool.

    The subject's word, its colour and "fluffy" have the subject's shape, the place has the ground and what
    stands on it, the time of day has the sky. The region of any other word is where the picture changes
    when the word is taken away: of fog nearly all, of snow the ground and the flakes.
    """
    subject = subject_mask(scene, seed, size) > 0.5
    ground = _ground_mask(scene, seed, size)
    plain = scene.but(style="illustration")
    found = {scene.subject: subject, scene.color: subject, scene.place: ground & ~subject}
    if scene.time != "day":
        found[scene.time] = ~ground & ~subject
    without = {name: plain.but(**{name: 0.0}) for name in DEGREES if getattr(scene, name)}
    if scene.season != "summer":
        without[scene.season] = plain.but(season="summer")
    if scene.sky != "open":
        without[scene.sky] = plain.but(sky="open")
    whole = render(plain, seed, size).astype(int)
    for word, other in without.items():
        found[word] = np.abs(whole - render(other, seed, size)).max(-1) > 24
    if scene.fluffy:
        found["fluffy"] = subject
    return found


def _ground_mask(scene: Scene, seed: int, size: int) -> np.ndarray:
    pixels, canvas = _canvas(size)
    draw_place(Pen(canvas, flat=(255, 255, 255)), scene.place, layout(seed), _light(scene))
    return pixels[..., 3] > 127


def _canvas(size: int) -> tuple[np.ndarray, skia.Canvas]:
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType).getCanvas()
    canvas.scale(size / 128, size / 128)
    return pixels, canvas


def _light(scene: Scene) -> Light:
    return Light(
        at_time=lambda color: lit(color, scene.time),
        season=scene.season,
        snowy=scene.snowy,
        rainy=scene.rainy,
        lamps=scene.time == "night",
    )


SLOTS = (12, 116, 30, 98, 21, 107, 40, 88)  # where more of the subject stand


def _subject(canvas: skia.Canvas, pen: Pen, scene: Scene, L: Layout) -> None:
    """The subject, behind it the others of a crowd, each with the shadow under it."""
    color = PALETTE[scene.color]
    if scene.time == "night":
        color = mix(color, (22, 26, 72), 0.14)
    elif scene.time == "sunset":
        color = mix(color, (255, 140, 90), 0.06)
    count = round(1 + 7 * scene.crowded) if scene.crowded else 0
    others = [
        (slot + 8 * (u - 0.5), L.horizon + 9 + 9 * v, L.size * (0.27 + 0.07 * z), L.mirrored ^ (z > 0.5))
        for slot, (u, v, z) in zip(SLOTS[:count], L.others, strict=False)
    ]
    for x, y, half, mirrored in [*sorted(others, key=lambda o: o[1]), (L.x, L.y, L.size, L.mirrored)]:
        if pen.flat is None:
            pen.oval(x, y + half / 37, half * 0.9, half * 0.11, (20, 20, 40), 0.22)
        canvas.save()
        canvas.translate(x, y - (L.lift * half / L.size if floats(scene.subject) else 0))
        canvas.scale(-half if mirrored else half, half)
        draw_subject(
            pen, scene.subject, color, L.shape,
            lamps=scene.time == "night", fluffy=scene.fluffy, blossoming=scene.blossoming,
        )  # fmt: skip
        canvas.restore()


def _sky(pen: Pen, scene: Scene, L: Layout) -> None:
    gray = mix((128, 138, 152), SKY["night"][0], 0.75 if scene.time == "night" else 0.0)
    dull = 0.25 + 0.55 * scene.rainy if scene.rainy else 0.0
    top, low = (mix(c, gray, dull) for c in SKY[scene.time])
    pen.sky(top, low, L.horizon)
    x, y = L.sun
    if scene.sky == "rainbow":
        for i, band in enumerate(RAINBOW):
            r = 62 - 3.2 * i
            bow = [
                (64 - r, 84),
                (64 - r, 84 - 0.9 * r, 64, 84 - 0.98 * r),
                (64 + r, 84 - 0.9 * r, 64 + r, 84),
            ]
            pen.stroke(bow, 3.6, mix(band, top, 0.3 if scene.time == "night" else 0.05))
    if scene.time == "night":
        for sx, sy, z in L.stars[: round(4 + 40 * scene.starry) if scene.starry else 0]:
            pen.oval(sx * 128, sy * L.horizon, 1.2 + z, 1.2 + z, (255, 250, 205))
        pen.oval(x, y, 10, 10, (250, 245, 215))
        pen.oval(x + 5, y - 2.5, 8, 8, mix(top, low, 0.25))
        return
    low_sun = scene.time == "sunset"
    sun = mix((255, 118, 78) if low_sun else (255, 224, 104), gray, 0.8 * dull)
    pen.oval(x, L.horizon - 14 if low_sun else y, 11, 11, sun)
    cloud = mix((255, 206, 186) if low_sun else (255, 255, 255), gray, 0.8 * dull)
    for u, v, z in L.clouds:
        cx, cy, r = u * 128, 10 + v * 34, 5.5 + 4 * z
        for dx, k in ((-1, 0.7), (0, 1), (1.1, 0.75)):
            pen.oval(cx + dx * r, cy - k * 2, r * k * 1.1, r * k * 0.8, cloud)


def _flowers(pen: Pen, scene: Scene, L: Layout) -> None:
    """Blossoms all over the ground, nearer ones larger."""
    for x, y, z in sorted(L.flowers[: round(6 + 50 * scene.blossoming)], key=lambda f: f[1]):
        far = L.horizon + 6 + (122 - L.horizon) * y
        r = (2.0 + 1.4 * y) * (0.85 + 0.3 * z)
        tone, heart = ((255, 140, 186), (255, 236, 244), (255, 180, 210))[int(3 * z)], (250, 200, 80)
        if scene.time == "night":  # petals glow a little
            tone, heart = mix(tone, (22, 26, 72), 0.2), mix(heart, (22, 26, 72), 0.2)
        pen.oval(128 * x, far, r, r * 0.9, tone)
        pen.oval(128 * x, far, r * 0.4, r * 0.36, heart)


def _fog(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Thickest at the horizon; covers the subject too."""
    y = np.linspace(0, 1, len(image), dtype=np.float32)[:, None, None]
    k = (0.1 + 0.9 * scene.foggy) * (0.6 * np.exp(-(((y - 0.58) / 0.34) ** 2)) + 0.22)
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
    """Crayon outlines on paper, lightly coloured in. What is as small as a star gets only a faint line."""
    kernel = 2 * round(3 * size / 128) + 1
    large = cv2.medianBlur(image.clip(0, 255).astype(np.uint8), kernel).astype(np.float32)
    line = np.maximum(_edges(large, size), 0.35 * _edges(image, size))[..., None]
    washed = 0.4 * 246 + 0.55 * image + 0.05 * image.mean(-1, keepdims=True)
    return washed * (1 - 0.85 * line) + (28 + 0.3 * image) * 0.85 * line


def _edges(image: np.ndarray, size: int) -> np.ndarray:
    """(size, size) 0..1: how steeply any of the three colours changes."""
    soft = cv2.GaussianBlur(image, (0, 0), 0.7 * size / 128)
    steep = [np.abs(cv2.Sobel(soft, cv2.CV_32F, dx, dy, ksize=3)).max(-1) for dx, dy in ((1, 0), (0, 1))]
    return np.clip(np.maximum(*steep) * (size / 128) / 110, 0, 1)


def _watercolor(image: np.ndarray, L: Layout, size: int) -> np.ndarray:
    """Soft edges, pale pigment that pools unevenly."""
    soft = cv2.GaussianBlur(image, (0, 0), 1.2 * size / 128)
    rng = np.random.default_rng(L.grain)
    pool = cv2.resize(rng.random((6, 6)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return 255 - (255 - soft) * (0.56 + 0.34 * pool[..., None])
