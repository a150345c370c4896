"""Stores under a budget of bytes: one for the steps of sources, one for states.

Nothing is lost by eviction: a source's queries and keys can be recorded again from its latents, and a
state by running its steps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class RecordCache(Generic[V]):
    """(source, step) -> record. Evicts the least recently used source, its latest steps first.

    evicted(source, step, record) hears of each that has to go.

    Windows start at step 0, so the latest steps are the ones that an edit is least likely to need. That
    holds within one source too: one that is larger than the budget keeps its first steps.
    """

    def __init__(self, budget: int, evicted: Callable[[str, int, V], None] | None = None) -> None:
        self.budget = budget
        self.nbytes = 0
        self._evicted = evicted
        self._sources: OrderedDict[str, dict[int, tuple[V, int]]] = OrderedDict()
        self._lock = threading.RLock()  # reentrant: closing a generator may come in between

    def get(self, source: str, step: int) -> V | None:
        with self._lock:
            steps = self._sources.get(source)
            if steps is None or step not in steps:
                return None
            self._sources.move_to_end(source)
            return steps[step][0]

    def put(self, source: str, step: int, record: V, nbytes: int) -> None:
        with self._lock:
            steps = self._sources.setdefault(source, {})
            self._sources.move_to_end(source)
            if step in steps:
                self.nbytes -= steps[step][1]
            steps[step] = (record, nbytes)
            self.nbytes += nbytes
            gone = []
            while self.nbytes > self.budget:
                first = next(iter(self._sources))
                last = max(self._sources[first])
                gone.append((first, last, self._pop(first, last)[0]))
        for one in gone if self._evicted else ():
            self._evicted(*one)  # type: ignore[misc]

    def _pop(self, source: str, step: int) -> tuple[V, int]:
        steps = self._sources[source]
        record, nbytes = steps.pop(step)
        self.nbytes -= nbytes
        if not steps:
            del self._sources[source]
        return record, nbytes

    def discard(self, source: str, step: int) -> bool:
        """Forget one step. Whether it was held."""
        with self._lock:
            held = step in self._sources.get(source, {})
            if held:
                self._pop(source, step)
            return held

    def drop(self, source: str) -> None:
        with self._lock:
            for _, nbytes in self._sources.pop(source, {}).values():
                self.nbytes -= nbytes

    def size(self, source: str) -> int:
        """Bytes held for one source."""
        with self._lock:
            return sum(nbytes for _, nbytes in self._sources.get(source, {}).values())

    def held(self, source: str) -> set[int]:
        """The steps held for one source."""
        with self._lock:
            return set(self._sources.get(source, {}))

    def steps(self, source: str) -> int:
        """Number of steps held for one source."""
        return len(self.held(source))


class LRU(Generic[V]):
    """A map under a budget of bytes that forgets what was used least recently."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._items: OrderedDict[tuple[str, bytes], tuple[V, int]] = OrderedDict()
        self._lock = threading.RLock()  # reentrant: closing a generator may come in between

    def get(self, key: tuple[str, bytes]) -> V | None:
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: tuple[str, bytes], value: V, nbytes: int) -> None:
        with self._lock:
            if key in self._items:
                self.nbytes -= self._items.pop(key)[1]
            self._items[key] = (value, nbytes)
            self.nbytes += nbytes
            while self.nbytes > self.budget:
                _, (_, freed) = self._items.popitem(last=False)
                self.nbytes -= freed

    def drop(self, source: str) -> None:
        """Forget every key of one source."""
        with self._lock:
            for key in [k for k in self._items if k[0] == source]:
                self.nbytes -= self._items.pop(key)[1]

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
            self.nbytes = 0
