"""What a scene is: a few words, and a layout that depends on its seed alone.

Two scenes with one layout seed and other words are each other's ideal edit: the same geometry, drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SUBJECTS = (
    "house", "castle", "lighthouse", "car", "boat", "balloon", "rocket", "tree",
    "mushroom", "cake", "butterfly", "cat", "dog", "rabbit", "bear", "hippopotamus",
)  # fmt: skip
ANIMALS = ("cat", "dog", "rabbit", "bear", "hippopotamus")  # what can be fluffy
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
PLACES = ("field", "beach", "desert", "hill", "street", "forest")
TIMES = ("day", "sunset", "night")
SEASONS = ("summer", "autumn", "winter", "spring")
SKIES = ("open", "rainbow")
STYLES = ("illustration", "sketch", "watercolor", "pixel")
STYLE_SHARES = (0.67, 0.11, 0.11, 0.11)
EVEN_SHARES = (0.25, 0.25, 0.25, 0.25)  # every style as often as any other: what is trained on
WEATHERS = ("clear", "snowy", "foggy", "rainy")
DEGREES = ("snowy", "foggy", "rainy", "starry", "blossoming", "crowded", "fluffy")
LEAST = 0.25  # the least amount that is drawn of a word of degree; 0: not there
# What a picture's words say, one value each. The weather is the word of degree that is there, if any.
ATTRIBUTES = {
    "subject": SUBJECTS,
    "color": COLORS,
    "place": PLACES,
    "time": TIMES,
    "season": SEASONS,
    "weather": WEATHERS,
    "sky": SKIES,
    "style": STYLES,
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The words of a picture. The amounts of the words of degree go from 0 (not there) to 1."""

    subject: str
    color: str
    place: str
    time: str = "day"
    season: str = "summer"
    sky: str = "open"
    style: str = "illustration"
    snowy: float = 0.0
    foggy: float = 0.0
    rainy: float = 0.0
    starry: float = 0.0  # at night
    blossoming: float = 0.0
    crowded: float = 0.0  # more of the subject behind it
    fluffy: float = 0.0  # animals

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            if name != "weather" and getattr(self, name) not in values:
                raise ValueError(f"{name} is one of {', '.join(values)}; got {getattr(self, name)!r}.")
        for name in DEGREES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is an amount from 0 to 1; got {getattr(self, name)!r}.")
        if sum(getattr(self, name) > 0 for name in WEATHERS[1:]) > 1:
            raise ValueError(f"One weather at a time: one of {', '.join(WEATHERS[1:])} is above 0.")
        if self.starry and self.time != "night":
            raise ValueError(f"It is starry at night; got time {self.time!r}.")
        if self.fluffy and self.subject not in ANIMALS:
            raise ValueError(f"Fluffy is said of {', '.join(ANIMALS)}; got {self.subject!r}.")

    @property
    def weather(self) -> str:
        """The word of the weather: "clear" where none is above 0."""
        return next((name for name in WEATHERS[1:] if getattr(self, name) > 0), "clear")

    def but(self, **changes: Any) -> Scene:
        """The scene with some words changed. What the change makes impossible goes: another subject is not
        fluffy, another time not starry, and the old weather clears for a new one. `weather=` sets or clears
        it by its word."""
        weather = changes.pop("weather", None)
        if weather is not None:
            changes = {name: 0.0 for name in WEATHERS[1:]} | changes
            if weather != "clear":
                changes.setdefault(weather, 0.8)
                changes[weather] = changes[weather] or 0.8
        elif any(changes.get(name) for name in WEATHERS[1:]):
            changes = {name: 0.0 for name in WEATHERS[1:]} | changes
        if changes.get("time", self.time) != "night":
            changes["starry"] = 0.0
        if changes.get("subject", self.subject) not in ANIMALS:
            changes["fluffy"] = 0.0
        return replace(self, **changes)

    @property
    def held_out(self) -> bool:
        """Whether this (subject, colour, place) is never trained on: about one in ten."""
        s, c, p = SUBJECTS.index(self.subject), COLORS.index(self.color), PLACES.index(self.place)
        return (3 * s + 7 * c + 4 * p) % 11 == 0


def sample(
    rng: np.random.Generator,
    *,
    held_out: bool = False,
    shares: tuple[float, ...] = STYLE_SHARES,
    often: float = 1.0,
) -> Scene:
    """A random scene from the training (or the held-out) combinations.

    shares: of the styles. often: how many times as often as usual there are weathers, rainbows and words of
    degree, and so two of them at once.
    """
    while True:
        words = {
            "subject": str(rng.choice(SUBJECTS)),
            "color": str(rng.choice(COLORS)),
            "place": str(rng.choice(PLACES)),
        }
        scene = Scene(**words)
        if scene.held_out == held_out:
            break
    time = str(rng.choice(TIMES, p=(0.5, 0.22, 0.28)))
    changes: dict[str, Any] = {
        "time": time,
        "season": str(rng.choice(SEASONS, p=(0.61, 0.13, 0.13, 0.13))),
        "sky": str(rng.choice(SKIES, p=(1 - 0.09 * often, 0.09 * often))),
        "style": str(rng.choice(STYLES, p=shares)),
    }
    amount = {name: float(rng.uniform(LEAST, 1)) for name in DEGREES}
    weather = str(rng.choice(WEATHERS, p=(1 - 0.42 * often, 0.18 * often, 0.12 * often, 0.12 * often)))
    if weather != "clear":
        changes[weather] = amount[weather]
    if time == "night" and rng.random() < 0.45 * often:
        changes["starry"] = amount["starry"]
    if rng.random() < 0.12 * often:
        changes["blossoming"] = amount["blossoming"]
    if rng.random() < 0.12 * often:
        changes["crowded"] = amount["crowded"]
    if scene.subject in ANIMALS and rng.random() < 0.35 * often:
        changes["fluffy"] = amount["fluffy"]
    return replace(scene, **changes)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand, in units of a 128 x 128 picture. From the seed alone, never from the words."""

    x: float  # the subject's foot
    y: float
    size: float  # half its width
    mirrored: bool
    shape: float  # -1..1, small variation of its form
    lift: float  # how far balloons, rockets and butterflies are off the ground
    horizon: float
    sun: tuple[float, float]
    hills: np.ndarray  # (12,) 0..1
    clouds: np.ndarray  # (3, 3) x, y, size
    stars: np.ndarray  # (44, 3)
    flakes: np.ndarray  # (70, 3)
    flowers: np.ndarray  # (56, 3)
    drops: np.ndarray  # (60, 2)
    others: np.ndarray  # (8, 3) where more of the subject stand
    corner: float  # 0..1, what stands in the corners in a season
    grain: int  # seed of a style's texture


def layout(seed: int) -> Layout:
    r = np.random.default_rng(seed)
    return Layout(
        x=r.uniform(56, 72),
        y=r.uniform(108, 115),
        size=r.uniform(32, 37),
        mirrored=bool(r.random() < 0.5),
        shape=r.uniform(-1, 1),
        lift=r.uniform(8, 16),
        horizon=r.uniform(70, 80),
        sun=(float(r.choice([r.uniform(14, 32), r.uniform(96, 114)])), r.uniform(14, 26)),
        hills=r.random(12),
        clouds=r.random((3, 3)),
        stars=r.random((44, 3)),
        flakes=r.random((70, 3)),
        flowers=r.random((56, 3)),
        drops=r.random((60, 2)),
        others=r.random((8, 3)),
        corner=r.random(),
        grain=int(r.integers(1 << 30)),
    )
