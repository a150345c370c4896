"""The first-run walk through three edits, and the keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from .board import Board
from .values import Index, Text, Value, check, models

MAX_STEPS = 9


class GuideStep(Value):
    """after: what to see once the step is done."""

    title: Text = ""
    text: Text = ""
    after: Text = ""


def _done(value: Any, info: ValidationInfo) -> list[bool]:
    count = len(info.data["steps"])
    flags = [flag is True for flag in (value[:count] if isinstance(value, list) else [])]
    return flags + [False] * (count - len(flags))


Steps = Annotated[list[GuideStep], check(lambda v: models(GuideStep, v, MAX_STEPS))]


class GuideValue(Value):
    """done: of every step. clicked: number of a step."""

    steps: Steps = Field(default_factory=list)
    done: Annotated[list[bool], BeforeValidator(_done)] = Field(default_factory=list)
    clicked: Index = None


class Guide(Board):
    """The walk."""

    script = "guide"
    about = "The first-run walk: {clicked: number}."
    value_type = GuideValue
