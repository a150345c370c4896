"""Sources that nobody can name any more: what was recorded of them is freed."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import Any


class Gone:
    """Forgets sources by their keys: now if no other thread runs the model, else before the next step.

    Whoever drops a source may be the garbage collector, in any thread and at any time, which must not wait.
    lock: an RLock, held while the model runs a step. forget: called with each key, under the lock.
    """

    def __init__(self, lock: Any, forget: Callable[[str], None]) -> None:
        self._lock, self._forget = lock, forget
        self._keys: deque[str] = deque()
        self._holders: Counter[str] = Counter()
        self._counting = threading.RLock()  # reentrant: a finalizer may come in between

    def hold(self, source: object, key: str) -> None:
        """What is recorded under the key stays as long as some object of it is alive."""
        with self._counting:
            self._holders[key] += 1
        weakref.finalize(source, self._release, key).atexit = False

    def _release(self, key: str) -> None:
        with self._counting:
            self._holders[key] -= 1
            if self._holders[key] > 0:
                return
            del self._holders[key]
        self.add(key)

    def add(self, key: str) -> None:
        """Nobody can name this source."""
        self._keys.append(key)
        mine = self._lock._is_owned()  # then it comes in the middle of a step
        if not mine and self._lock.acquire(blocking=False):
            try:
                self.clear()
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Forget those that are left. Call it under the lock."""
        while self._keys:
            key = self._keys.popleft()
            if not self._holders[key]:  # made again since
                self._forget(key)
