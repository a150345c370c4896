"""What can be explored: every control as an axis with its values, and the sheet of pictures over two of them.
Runs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from p2p_core.edit import VARIANTS

from .controls import Controls

if TYPE_CHECKING:
    from p2p_core import Source

Settings = Mapping[str, Any]
Variants = Callable[[Controls], Sequence[Controls]]
Put = Callable[[Controls, Settings, float], tuple[Controls, Settings]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One control. put: the controls and source settings at a value."""

    name: str
    label: str
    low: float
    high: float
    put: Put
    whole: bool = False
    choices: Sequence[str] = ()  # names of the values 0, 1, 2 ...

    def values(self, n: int) -> list[float]:
        """n values over the range, both ends in it; seeds count up; at most as many as there are choices."""
        if self.choices:
            return [float(i) for i in range(min(n, len(self.choices)))]
        if self.whole:
            return [self.low + i for i in range(n)]
        if n == 1:
            return [self.high]
        return [round(self.low + (self.high - self.low) * i / (n - 1), 4) for i in range(n)]

    def caption(self, value: float) -> str:
        if self.choices:
            return self.choices[int(value)]
        if self.name.startswith("window:"):
            return f"{value:.0%}"
        if self.whole:
            return f"{value:.0f}"
        return f"{value:+.2f}" if self.name.startswith("fader:") else f"{value:.2f}"


def _window(lane: str) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        start = min(getattr(controls.timeline, lane)[0], value)
        return replace(controls, timeline=controls.timeline.replace(**{lane: [start, value]})), settings

    return put


def _fader(key: str) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        weights = {**controls.desk.weights, key: value}
        return replace(controls, desk=controls.desk.replace(weights=weights)), settings

    return put


def _threshold(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
    return replace(controls, region=controls.region.replace(threshold=value)), settings


def _setting(name: str, kind: type) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        return controls, {**settings, name: kind(value)}

    return put


def _variant(variants: Variants) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        return variants(controls)[int(value)], settings

    return put


def axes(
    controls: Controls, settings: Settings, *, fresh: bool = True, variants: Variants | None = None
) -> dict[str, Axis]:
    """What can be explored for these controls, by name.

    settings: of the source. fresh: whether the source can be generated again with other settings. variants:
    the controls as each of `VARIANTS` has them.
    """
    found = [
        Axis(name="window:cross", label="layout window", low=0, high=1, put=_window("cross")),
        Axis(name="window:self", label="shape window", low=0, high=1, put=_window("self")),
    ]
    if variants is not None:
        high, put = len(VARIANTS) - 1, _variant(variants)
        label = "auto: strict, balanced, free, a hint"
        found.append(Axis(name="auto", label=label, low=0, high=high, put=put, choices=VARIANTS))
    found += [
        Axis(name=f"fader:{word.key}", label=f"fader of “{word.text}”", low=-2, high=2, put=_fader(word.key))
        for word in controls.desk.words
        if not word.cut
    ]
    if controls.region.chosen:
        found.append(Axis(name="region", label="threshold of the region", low=0.1, high=0.9, put=_threshold))
    if fresh:
        seed, scale = settings["seed"], _setting("guidance_scale", float)
        found += [
            Axis(name="seed", label="seed", low=seed, high=seed, put=_setting("seed", int), whole=True),
            Axis(name="guidance", label="guidance", low=1, high=13, put=scale),
        ]
    return {axis.name: axis for axis in found}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture of an exploration: what the controls and the source's settings are there."""

    controls: Controls
    settings: Settings
    captions: tuple[str, ...]  # one for each axis


def cells(x: Axis, y: Axis | None, n: int, m: int, controls: Controls, settings: Settings) -> list[Cell]:
    """Row by row: x runs along a row, y from row to row."""
    found = []
    for below in y.values(m) if y else [0.0]:
        row = y.put(controls, settings, below) if y else (controls, settings)
        for along in x.values(n):
            here, these = x.put(*row, along)
            captions = (x.caption(along), *((y.caption(below),) if y else ()))
            found.append(Cell(controls=here, settings=these, captions=captions))
    return found


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The last exploration of a page. source: what its cells are edits of, unless their settings differ."""

    source: Source
    source_path: str
    cells: Sequence[Cell]
    images: Sequence[Image.Image]
    columns: int
    along: str
    down: str
