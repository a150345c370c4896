"""The chips: how the two prompts align."""

from __future__ import annotations

from .board import Board


class Chips(Board):
    """Value: {"spans": [{"kind", "source", "target", "cut"}], "notes": [sentence]}."""

    script = "chips"
    about = "How the two prompts align."
