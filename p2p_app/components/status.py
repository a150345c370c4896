"""The model's state, as a pill in the header."""

from __future__ import annotations

from .board import Board


class Status(Board):
    """Value: {"state": "loading" | "ready" | "failed", "text", "detail"}."""

    script = "status"
    about = "The model's state."
