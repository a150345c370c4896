"""The timeline: when the source's attention is injected, when faders hold, which steps were recomputed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from p2p_core.prompt import MAX_PROMPT_CHARACTERS
from p2p_core.settings import MAX_GUIDANCE_SCALE

from .board import Board
from .values import (
    MAX_ITEMS,
    MAX_KEY_LENGTH,
    Flag,
    Value,
    check,
    fraction,
    number,
    pairs,
    text,
    whole,
)

DEFAULT_STEPS = 30
MAX_STEPS = 1000
DEFAULT_CROSS = (0.0, 0.8)
DEFAULT_SELF = (0.0, 0.4)
MAX_LANES = 8
Window = list[float]  # [start, end]


def _window(value: Any, default: tuple[float, float] | list[float]) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return list(default)
    start, end = number(value[0], 0, 1, default[0]), number(value[1], 0, 1, default[1])
    return [min(start, end), max(start, end)]


def _lanes(value: Any, info: ValidationInfo) -> dict[str, list[float]]:
    lanes = list(value.items() if isinstance(value, dict) else ())[-MAX_LANES:]
    cross = info.data["cross"]
    return {
        text(key, MAX_KEY_LENGTH): _window(window, cross) for key, window in lanes if isinstance(key, str)
    }


def _computed(value: Any, info: ValidationInfo) -> int:
    total = info.data["total"]
    return whole(value, 0, total, total)


def _guidance(value: Any) -> float | None:
    asked = number(value, 0, MAX_GUIDANCE_SCALE, -1)
    return asked if asked >= 0 else None


def _negative(value: Any) -> str | None:
    return text(value, MAX_PROMPT_CHARACTERS) if isinstance(value, str) else None


def _run(value: Any) -> RunSteps | None:
    return RunSteps.read(value) if isinstance(value, (dict, RunSteps)) else None


Steps = Annotated[int, check(whole, 1, MAX_STEPS, DEFAULT_STEPS)]


class RunSteps(Value):
    """What the last run did: the last `computed` of its `total` steps were computed."""

    total: Steps = DEFAULT_STEPS
    computed: Annotated[int, BeforeValidator(_computed)] = DEFAULT_STEPS


class TimelineValue(Value):
    """A window is [start, end] as fractions of the steps, so it stays when the number of steps changes.

    cross, self: windows of the injection of cross- and self-attention. faders: window of the weights. words:
    windows of cross-attention of single words, by the desk's keys, instead of `cross`. names: [key, text] of
    the words there are to choose from. amount, guidance, negative: of the edit; None: the source's. auto: the
    windows follow what the prompt changes.
    """

    steps: Steps = DEFAULT_STEPS
    cross: Annotated[list[float], check(_window, DEFAULT_CROSS)] = Field(
        default_factory=lambda: [*DEFAULT_CROSS]
    )
    self: Annotated[list[float], check(_window, DEFAULT_SELF)] = Field(
        default_factory=lambda: [*DEFAULT_SELF]
    )
    faders: Annotated[list[float], check(_window, (0.0, 1.0))] = Field(default_factory=lambda: [0.0, 1.0])
    words: Annotated[dict[str, Window], BeforeValidator(_lanes)] = Field(default_factory=dict)
    amount: Annotated[float, fraction(1.0)] = 1.0
    guidance: Annotated[float | None, BeforeValidator(_guidance)] = None
    negative: Annotated[str | None, BeforeValidator(_negative)] = None
    names: Annotated[list[list[str]], check(pairs, MAX_ITEMS, MAX_KEY_LENGTH)] = Field(default_factory=list)
    run: Annotated[RunSteps | None, BeforeValidator(_run)] = None
    auto: Flag = False


class Timeline(Board):
    """The windows as one picture."""

    script = "timeline"
    about = (
        "Windows as fractions of the steps: {steps, cross: [start, end], self: [start, end], "
        "faders: [start, end], words: {key: [start, end]}, amount: 0..1, guidance: number, negative: text, "
        "auto: bool}."
    )
    value_type = TimelineValue
