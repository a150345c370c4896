"""The examples: one click runs one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .board import Board
from .values import MAX_ITEMS, Index, Text, Value, check, models


class ExampleItem(Value):
    """src: a thumbnail as a data URI, or ""."""

    title: Text = ""
    hint: Text = ""
    src: Text = ""


Items = Annotated[list[ExampleItem], check(lambda v: models(ExampleItem, v, MAX_ITEMS))]


class ExamplesValue(Value):
    """clicked: number of an item."""

    items: Items = Field(default_factory=list)
    clicked: Index = None


class Examples(Board):
    """The list of examples."""

    script = "examples"
    about = "One-click examples: {clicked: number}."
    value_type = ExamplesValue
