"""What can be explored: every control as an axis with its values. Runs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .controls import Controls

MOST_CELLS = 48
Settings = Mapping[str, Any]
Put = Callable[[Controls, Settings, float], tuple[Controls, Settings]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One control. values(n): n values over its range. put: the controls and source settings at a value."""

    name: str
    label: str
    low: float
    high: float
    put: Put
    whole: bool = False

    def values(self, n: int) -> list[float]:
        """n values over the range, both ends in it; seeds count up."""
        if self.whole:
            return [self.low + i for i in range(n)]
        if n == 1:
            return [self.high]
        return [round(self.low + (self.high - self.low) * i / (n - 1), 4) for i in range(n)]

    def caption(self, value: float, steps: int) -> str:
        if self.name.startswith("window:"):
            return f"{value:.0%}"
        return (
            f"{value:.0f}"
            if self.whole
            else f"{value:+.2f}"
            if self.name.startswith("fader:")
            else f"{value:.2f}"
        )


def _window(lane: str) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        start = min(controls.timeline[lane][0], value)
        return replace(controls, timeline={**controls.timeline, lane: [start, value]}), settings

    return put


def _fader(key: str) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        weights = {**controls.desk["weights"], key: value}
        return replace(controls, desk={**controls.desk, "weights": weights}), settings

    return put


def _region(name: str) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        return replace(controls, region={**controls.region, name: value}), settings

    return put


def _setting(name: str, kind: type) -> Put:
    def put(controls: Controls, settings: Settings, value: float) -> tuple[Controls, Settings]:
        return controls, {**settings, name: kind(value)}

    return put


def axes(controls: Controls, settings: Settings, *, fresh: bool = True) -> dict[str, Axis]:
    """What can be explored for these controls, by name.

    settings: of the source. fresh: whether the source can be generated again with other settings.
    """
    found = [
        Axis(name="window:cross", label="layout window", low=0, high=1, put=_window("cross")),
        Axis(name="window:self", label="shape window", low=0, high=1, put=_window("self")),
    ]
    for word in controls.desk["words"]:
        if not word["cut"]:
            found.append(
                Axis(
                    name=f"fader:{word['key']}",
                    label=f"fader of “{word['text']}”",
                    low=-2,
                    high=2,
                    put=_fader(word["key"]),
                )
            )
    if controls.region["chosen"]:
        found.append(
            Axis(name="region", label="threshold of the region", low=0.1, high=0.9, put=_region("threshold"))
        )
    if fresh:
        seed = settings["seed"]
        found.append(
            Axis(name="seed", label="seed", low=seed, high=seed, put=_setting("seed", int), whole=True)
        )
        found.append(
            Axis(name="guidance", label="guidance", low=1, high=13, put=_setting("guidance_scale", float))
        )
    return {axis.name: axis for axis in found}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture of an exploration: what the controls and the source's settings are there."""

    controls: Controls
    settings: Settings
    captions: tuple[str, ...]  # one for each axis


def cells(x: Axis, y: Axis | None, n: int, m: int, controls: Controls, settings: Settings) -> list[Cell]:
    """Row by row: x runs along a row, y from row to row."""
    steps = int(settings["steps"])
    found = []
    for below in y.values(m) if y else [0.0]:
        there, those = y.put(controls, settings, below) if y else (controls, settings)
        for along in x.values(n):
            here, these = x.put(there, those, along)
            captions = (x.caption(along, steps), *((y.caption(below, steps),) if y else ()))
            found.append(Cell(controls=here, settings=these, captions=captions))
    return found
