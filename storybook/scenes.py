"""What a scene is: a few words, and a layout that depends on its seed alone.

Two scenes with one layout seed and other words are each other's ideal edit: the same geometry, drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SUBJECTS = (
    "house", "castle", "car", "boat", "tree", "cat",
    "dog", "rabbit", "mushroom", "cake", "balloon", "rocket",
)  # fmt: skip
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
PLACES = ("field", "beach", "desert", "hill", "street", "forest")
TIMES = ("day", "sunset", "night")
STYLES = ("illustration", "sketch", "watercolor", "pixel")
STYLE_SHARES = (0.76, 0.08, 0.08, 0.08)
DEGREES = ("foggy", "snowy", "starry")  # amounts in (0, 1], 0: not there
ATTRIBUTES = {"subject": SUBJECTS, "color": COLORS, "place": PLACES, "time": TIMES, "style": STYLES}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The words of a picture. The amounts of `foggy`, `snowy`, `starry` are 0 or from 0.25 to 1."""

    subject: str
    color: str
    place: str
    time: str = "day"
    style: str = "illustration"
    foggy: float = 0.0
    snowy: float = 0.0
    starry: float = 0.0

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is one of {', '.join(values)}; got {getattr(self, name)!r}.")
        for name in DEGREES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is an amount from 0 to 1; got {getattr(self, name)!r}.")

    def but(self, **changes: Any) -> Scene:
        """The scene with some words changed."""
        return replace(self, **changes)

    @property
    def held_out(self) -> bool:
        """Whether this (subject, colour, place) is never trained on: about one in ten."""
        s, c, p = SUBJECTS.index(self.subject), COLORS.index(self.color), PLACES.index(self.place)
        return (5 * s + 3 * c + 7 * p) % 10 == 0


def sample(rng: np.random.Generator, *, held_out: bool = False) -> Scene:
    """A random scene from the training (or the held-out) combinations."""
    while True:
        time = str(rng.choice(TIMES, p=(0.5, 0.22, 0.28)))
        amounts = {name: float(rng.uniform(0.25, 1)) for name in DEGREES}
        present = {"foggy": rng.random() < 0.12, "snowy": rng.random() < 0.12, "starry": rng.random() < 0.4}
        scene = Scene(
            subject=str(rng.choice(SUBJECTS)),
            color=str(rng.choice(COLORS)),
            place=str(rng.choice(PLACES)),
            time=time,
            style=str(rng.choice(STYLES, p=STYLE_SHARES)),
            foggy=amounts["foggy"] * present["foggy"],
            snowy=amounts["snowy"] * present["snowy"],
            starry=amounts["starry"] * (present["starry"] and time == "night"),
        )
        if scene.held_out == held_out:
            return scene


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand, in units of a 128 x 128 picture. From the seed alone, never from the words."""

    x: float  # the subject's foot
    y: float
    size: float  # half its width
    mirrored: bool
    shape: float  # -1..1, small variation of its form
    lift: float  # how far balloons and rockets are off the ground
    horizon: float
    sun: tuple[float, float]
    hills: np.ndarray  # (12,) 0..1
    clouds: np.ndarray  # (3, 3) x, y, size
    stars: np.ndarray  # (70, 3)
    flakes: np.ndarray  # (140, 3)
    grain: int  # seed of a style's texture


def layout(seed: int) -> Layout:
    r = np.random.default_rng(seed)
    return Layout(
        x=r.uniform(52, 76),
        y=r.uniform(108, 116),
        size=r.uniform(34, 40),
        mirrored=bool(r.random() < 0.5),
        shape=r.uniform(-1, 1),
        lift=r.uniform(8, 16),
        horizon=r.uniform(70, 82),
        sun=(float(r.choice([r.uniform(14, 34), r.uniform(94, 114)])), r.uniform(14, 26)),
        hills=r.random(12),
        clouds=r.random((3, 3)),
        stars=r.random((70, 3)),
        flakes=r.random((140, 3)),
        grain=int(r.integers(1 << 30)),
    )
