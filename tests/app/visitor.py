"""Somebody at a page, without a browser: what the page sends to a handler, and what comes back to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from p2p_app.components.board import Board
from p2p_app.components.desk import Desk
from p2p_app.components.examples import Examples
from p2p_app.components.explore import Explore
from p2p_app.components.guide import Guide
from p2p_app.components.history import History
from p2p_app.components.look import Look
from p2p_app.components.region import Region
from p2p_app.components.timeline import Timeline
from p2p_app.components.values import Value
from p2p_app.handlers import Handlers
from p2p_app.wish import Values, Wish

BOARDS: dict[str, type[Board]] = {
    "desk": Desk,
    "timeline": Timeline,
    "region": Region,
    "examples": Examples,
    "yours_examples": Examples,
    "history": History,
    "guide": Guide,
    "look": Look,
    "explore": Explore,
}


def wish(handlers: Handlers, clock: float | None = None, name: str = "me", **values: Any) -> Wish:
    """What the page `name` asks for at `clock`: boards as the browser has them, dicts.

    clock: None for events without one.
    """
    session = handlers.sessions.get(name)
    read = {n: BOARDS[n].value_type.read(v) if n in BOARDS else v for n, v in values.items()}
    return Wish(session, session.wanted_at if clock is None else clock, cast(Values, read))


def boards(prompt: str, **changes: Any) -> dict[str, Any]:
    """The edit prompt and its boards, as `wish` takes them."""
    return {"prompt": prompt, "desk": {}, "timeline": {}, "region": {}, **changes}


def last(updates: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All that a handler set, the latest value of each, as the browser gets it."""
    merged: dict[str, Any] = {}
    for update in updates:
        merged.update(update)
    return {name: v.model_dump() if isinstance(v, Value) else v for name, v in merged.items()}


def said(update: dict[str, Any]) -> str:
    """The line as text."""
    return "".join(part["text"] for part in update["line"]["parts"])


def words(prompt: str, seed: int, steps: int, guidance: float = 5.0) -> dict[str, Any]:
    """The source card's settings, as `wish` takes them."""
    return {
        "source_prompt": prompt, "seed": seed, "steps": steps, "guidance": guidance, "negative": "",
    }  # fmt: skip
