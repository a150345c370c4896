"""The page of what is accepted says what comes of each: works, a note, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..accepted import PAGE, TABLE, outcome

ROWS = [(title, name, case) for title, cases in TABLE.items() for name, case in cases]


@pytest.mark.parametrize(("title", "name", "case"), ROWS, ids=[f"{title}: {name}" for title, name, _ in ROWS])
def test_what_comes_is_what_the_page_says(title: str, name: str, case: Callable[[], Any]) -> None:
    section = PAGE.read_text("utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    (row,) = (line for line in section.splitlines() if line.startswith(f"| {name} | "))
    assert row == f"| {name} | {outcome(case).replace('|', '/')} |"


def test_every_row_of_the_page_is_tried() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) == len(ROWS) + len(TABLE)  # and the tables' heads
