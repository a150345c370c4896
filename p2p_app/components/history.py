"""The history: every edit made, one click back, and any two side by side."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .board import Board
from .values import MAX_ITEMS, Index, Key, Text, Value, check, choice, models


class HistoryItem(Value):
    """src: a thumbnail as a data URI. key: of the picture. kind: a source, an edit of one, or an edit of a
    source that was an edit itself."""

    src: Text = ""
    key: Key = ""
    kind: Annotated[str, choice("edit", "source", "branch")] = "edit"
    title: Text = ""


Items = Annotated[list[HistoryItem], check(lambda v: models(HistoryItem, v, MAX_ITEMS))]


class HistoryValue(Value):
    """Numbers of items. current: the one that is shown. against: the one it is compared with."""

    items: Items = Field(default_factory=list)
    clicked: Index = None
    current: Index = None
    against: Index = None


class History(Board):
    """The thumbnails of the edits."""

    script = "history"
    about = "Edits made: {clicked: number, against: number of the edit to compare with, or null}."
    value_type = HistoryValue
