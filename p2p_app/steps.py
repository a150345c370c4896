"""A run of the engine, driven by hand: the page may want something else after any of its steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Steps(Generic[T]):
    """A run of the engine, a step at a time; its `result` is there once `next` gives None."""

    def __init__(self, states: Generator[Any, None, T]) -> None:
        self._states = states
        self.result: T | None = None

    def next(self) -> Any:
        """The next state, or None at the end."""
        try:
            return next(self._states)
        except StopIteration as stop:
            self.result = stop.value
            return None

    def close(self) -> None:
        self._states.close()
