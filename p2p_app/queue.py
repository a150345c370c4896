"""Whose turn it is on the device: first come, first served, and everybody knows how many are ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A queue of runs. One holds the device at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: list[object] = []

    def __len__(self) -> int:
        return len(self._line)

    @contextmanager
    def ticket(self) -> Iterator[object]:
        """A place in the queue, given back at the end whatever happens."""
        mine = object()
        with self._changed:
            self._line.append(mine)
        try:
            yield mine
        finally:
            with self._changed:
                self._line.remove(mine)
                self._changed.notify_all()

    def ahead(self, ticket: object, timeout: float) -> int:
        """How many runs are ahead, 0 for one's turn; waits up to `timeout` seconds for it to fall."""
        with self._changed:
            before = self._line.index(ticket)
            if before:
                self._changed.wait_for(lambda: self._line.index(ticket) < before, timeout)
            return self._line.index(ticket)
