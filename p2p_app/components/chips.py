"""The chips: how the two prompts align."""

from __future__ import annotations

from .board import Board


class Chips(Board):
    """Value: {"spans": [{"kind", "source", "target", "cut"}], "notes": [sentence], "weighted"}, which says
    whether weights are written into the prompt: they are then offered as faders."""

    script = "chips"
    about = "How the two prompts align."
