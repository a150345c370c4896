"""The timeline: during which steps the source's attention is injected, and which steps were recomputed."""

from __future__ import annotations

from typing import Any

from .board import Board, number, whole

STEPS = 30
BALANCED = {"cross": [0.0, 0.8], "self": [0.0, 0.4]}


class Timeline(Board):
    """Value: {"steps": N, "cross": [start, end], "self": [start, end], "run": {"computed", "total"} or None}.

    Windows are fractions of the steps, so they keep when the number of steps changes.
    """

    script = "timeline"
    about = "Injection windows as fractions of the steps: {steps, cross: [start, end], self: [start, end]}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        run = value.get("run")
        if isinstance(run, dict):
            total = whole(run.get("total"), 1, 1000, STEPS)
            run = {"total": total, "computed": whole(run.get("computed"), 0, total, total)}
        else:
            run = None
        return {
            "steps": whole(value.get("steps"), 1, 1000, STEPS),
            "cross": _window(value.get("cross"), BALANCED["cross"]),
            "self": _window(value.get("self"), BALANCED["self"]),
            "run": run,
        }


def _window(value: Any, default: list[float]) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return list(default)
    start, end = number(value[0], 0, 1, default[0]), number(value[1], 0, 1, default[1])
    return [min(start, end), max(start, end)]
