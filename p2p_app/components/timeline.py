"""The timeline: when the source's attention is injected, when faders hold, which steps were recomputed."""

from __future__ import annotations

from typing import Any

from .board import Board, number, whole

STEPS = 30
BALANCED = {"cross": [0.0, 0.8], "self": [0.0, 0.4]}
MOST_LANES = 8


class Timeline(Board):
    """Value: {"steps": N, "cross": window, "self": window, "faders": window, "words": {key: window},
    "names": [[key, text]], "run": {"computed", "total"} or None}.

    A window is [start, end] as fractions of the steps, so it keeps when the number of steps changes. words:
    windows of cross-attention of single words, by the desk's keys, instead of "cross". names: the words there
    are to choose from.
    """

    script = "timeline"
    about = (
        "Windows as fractions of the steps: {steps, cross: [start, end], self: [start, end], "
        "faders: [start, end], words: {key: [start, end]}}."
    )

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        run = value.get("run")
        if isinstance(run, dict):
            total = whole(run.get("total"), 1, 1000, STEPS)
            run = {"total": total, "computed": whole(run.get("computed"), 0, total, total)}
        else:
            run = None
        cross = _window(value.get("cross"), BALANCED["cross"])
        words = value.get("words")
        lanes = list(words.items() if isinstance(words, dict) else ())[-MOST_LANES:]
        names = value.get("names")
        return {
            "steps": whole(value.get("steps"), 1, 1000, STEPS),
            "cross": cross,
            "self": _window(value.get("self"), BALANCED["self"]),
            "faders": _window(value.get("faders"), [0.0, 1.0]),
            "words": {key[:220]: _window(window, cross) for key, window in lanes if isinstance(key, str)},
            "names": [
                [pair[0][:220], pair[1][:200]]
                for pair in (names[:128] if isinstance(names, list) else [])
                if isinstance(pair, (list, tuple))
                and len(pair) == 2
                and all(isinstance(p, str) for p in pair)
            ],
            "run": run,
        }


def _window(value: Any, default: list[float]) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return list(default)
    start, end = number(value[0], 0, 1, default[0]), number(value[1], 0, 1, default[1])
    return [min(start, end), max(start, end)]
