"""The small boards, which mostly show: chips, the line, the status, examples, history, a word's look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .board import Board, number, whole

MOST_ITEMS = 100


class Chips(Board):
    """Value: {"spans": [{"kind", "source", "target", "cut"}], "notes": [sentence]}."""

    script = "chips"
    about = "How the two prompts align."


class Status(Board):
    """Value: {"state": "loading" | "ready" | "failed", "text", "detail"}."""

    script = "status"
    about = "The model's state."


class Line(Board):
    """Value: {"kind", "parts": [{"text", "strong"}], "step", "total", "edited"}, and "source" of a result:
    "words" or "picture", whichever its source came from.
    """

    script = "line"
    about = "What the last run did."


class Examples(Board):
    """Value: {"items": [{"title", "hint", "src"}], "clicked": number or None}. src: a thumbnail, or ""."""

    script = "examples"
    about = "One-click examples: {clicked: number}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        return _clickable(value, ("title", "hint", "src"))


class History(Board):
    """Value: {"items": [{"src", "title"}], "current", "clicked", "against"}: numbers of items, or None."""

    script = "history"
    about = "Edits made: {clicked: number, against: number of the edit to compare with, or null}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        cleaned = _clickable(value, ("src", "title"))
        value = value if isinstance(value, dict) else {}
        marks = {n: value.get(n) if type(value.get(n)) is int else None for n in ("current", "against")}
        return {**cleaned, **marks}


class Look(Board):
    """Value: {"word", "old", "key", "before", "after", "step", "total", "region", "stale"}.

    before, after: data URIs of the word's map over the source and over the edit. step: 0 for the mean.
    """

    script = "look"
    about = "Where the picked word looks: {step: number, 0 for the mean of all steps}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        cleaned: dict[str, Any] = {}
        for name in ("word", "old", "key", "before", "after"):
            text = value.get(name)
            cleaned[name] = text if isinstance(text, str) else ""
        cleaned["total"] = whole(value.get("total"), 1, 1000, 1)
        cleaned["step"] = whole(value.get("step"), 0, cleaned["total"], 0)
        cleaned["region"] = value.get("region") is True
        cleaned["stale"] = value.get("stale") is True
        return cleaned


class Guide(Board):
    """Value: {"steps": [{"title", "text", "after"}], "done": [bool], "clicked": number or None}."""

    script = "guide"
    about = "The first-run walk: {clicked: number}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        listed, done, clicked = value.get("steps"), value.get("done"), value.get("clicked")
        steps = [
            {name: str(step.get(name, "")) for name in ("title", "text", "after")}
            for step in (listed[:9] if isinstance(listed, list) else [])
            if isinstance(step, dict)
        ]
        marks = [flag is True for flag in (done[: len(steps)] if isinstance(done, list) else [])]
        return {
            "steps": steps,
            "done": marks + [False] * (len(steps) - len(marks)),
            "clicked": clicked if type(clicked) is int else None,
        }


def _clickable(value: Any, names: Sequence[str]) -> dict[str, Any]:
    value = value if isinstance(value, dict) else {}
    listed = value.get("items")
    items = []
    for item in listed[:MOST_ITEMS] if isinstance(listed, list) else []:
        if isinstance(item, dict):
            items.append({name: str(item.get(name, "")) for name in names})
    clicked = value.get("clicked")
    whole_number = isinstance(clicked, int) and not isinstance(clicked, bool)
    return {"items": items, "clicked": clicked if whole_number else None}


def line(kind: str, *parts: str, step: int = 0, total: int = 0, edited: bool = False) -> dict[str, Any]:
    """A value of `Line`. A part that starts with "*" is set in bold. edited: an edit is shown, no source."""
    return {
        "kind": kind,
        "parts": [{"text": part.removeprefix("*"), "strong": part.startswith("*")} for part in parts],
        "step": whole(step, 0, 100_000, 0),
        "total": whole(total, 0, 100_000, 0),
        "edited": edited,
    }


def seconds(value: float) -> str:
    value = number(value, 0, 86400, 0)
    return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"


def megabytes(value: float) -> str:
    mb = number(float(value), 0, 1e15, 0) / 1e6
    return f"{mb:.0f} MB" if mb >= 10 else f"{mb:.1f} MB"
