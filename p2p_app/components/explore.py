"""Explore: a strip over one control or a grid over two."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .board import Board
from .values import Index, Text, Value, check, models, number, pairs, text, texts, whole

MAX_CELLS = 48
MAX_AXES = 200
MAX_NAME_LENGTH = 240
DEFAULT_STRIP, MAX_STRIP = 11, 13
DEFAULT_ROWS, MAX_ROWS = 5, 7

Name = Annotated[str, check(text, MAX_NAME_LENGTH)]
Count = Annotated[float, check(number, 0, 1e6, 0)]


class CellValue(Value):
    """A picture of the sheet. src: a data URI. captions: its value on each axis."""

    src: Text = ""
    captions: Annotated[list[str], check(texts, most=2)] = Field(default_factory=list)


Cells = Annotated[list[CellValue], check(lambda v: models(CellValue, v, MAX_CELLS))]


class ExploreValue(Value):
    """axes: [name, label] of the controls there are. x, y: names of those to explore, y "" for a strip. n, m:
    columns and rows to make. cells: the last sheet, in `columns`, with the labels `along` and `down`. step of
    total: how far a run is. clicked: number of a cell."""

    axes: Annotated[list[list[str]], check(pairs, MAX_AXES, MAX_NAME_LENGTH)] = Field(default_factory=list)
    x: Name = ""
    y: Name = ""
    along: Name = ""
    down: Name = ""
    n: Annotated[int, check(whole, 2, MAX_STRIP, DEFAULT_STRIP)] = DEFAULT_STRIP
    m: Annotated[int, check(whole, 2, MAX_ROWS, DEFAULT_ROWS)] = DEFAULT_ROWS
    cells: Cells = Field(default_factory=list)
    columns: Annotated[int, check(whole, 1, MAX_CELLS, 1)] = 1
    step: Count = 0
    total: Count = 0
    clicked: Index = None


class Explore(Board):
    """The sheet of pictures and its settings."""

    script = "explore"
    about = "Explore: {x: control, y: control or '', n: columns, m: rows, clicked: number or null}."
    value_type = ExploreValue
