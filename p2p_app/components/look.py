"""Where the picked word looks, in the source and in the edit."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from .board import Board
from .values import Flag, Text, Value, check, whole

MAX_STEPS = 1000


def _step(value: Any, info: ValidationInfo) -> int:
    return whole(value, 0, info.data["total"], 0)


class LookValue(Value):
    """before, after: data URIs of the word's map over the source and over the edit. step: 0 for the mean of
    all. region: the word is in the region. stale: there is an edit whose map can be drawn."""

    word: Text = ""
    old: Text = ""
    key: Text = ""
    before: Text = ""
    after: Text = ""
    total: Annotated[int, check(whole, 1, MAX_STEPS, 1)] = 1
    step: Annotated[int, BeforeValidator(_step)] = 0
    region: Flag = False
    stale: Flag = False


class Look(Board):
    """The two maps of a word."""

    script = "look"
    about = "Where the picked word looks: {step: number, 0 for the mean of all steps}."
    value_type = LookValue
