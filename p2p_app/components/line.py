"""The line that says what the last run did."""

from __future__ import annotations

from typing import Any

from .board import Board
from .values import number, whole

MAX_STEPS = 100_000


class Line(Board):
    """Value: {"kind", "parts": [{"text", "strong"}], "step", "total", "edited"}, and "source" of a result:
    "words" or "picture", whichever its source came from. "fold": so many parts are
    seen, the others on request.
    """

    script = "line"
    about = "What the last run did."


def line(kind: str, *parts: str, step: int = 0, total: int = 0, edited: bool = False) -> dict[str, Any]:
    """A value of `Line`. A part that starts with "*" is set in bold. edited: an edit is shown, no source."""
    return {
        "kind": kind,
        "parts": [{"text": part.removeprefix("*"), "strong": part.startswith("*")} for part in parts],
        "step": whole(step, 0, MAX_STEPS, 0),
        "total": whole(total, 0, MAX_STEPS, 0),
        "edited": edited,
    }


def seconds(value: float) -> str:
    value = number(value, 0, 86400, 0)
    return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"


def megabytes(value: float) -> str:
    mb = number(float(value), 0, 1e15, 0) / 1e6
    return f"{mb:.0f} MB" if mb >= 10 else f"{mb:.1f} MB"
