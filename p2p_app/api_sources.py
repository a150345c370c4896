"""Sources that callers of the API hold by an id that nobody can guess, a share for each address."""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p_core import Source

MAX_SOURCES = 128


class ApiSources:
    """Sources by their ids. share: how many one address may hold."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._sources: OrderedDict[str, tuple[str, Source]] = OrderedDict()  # the longest unused first

    def add(self, source: Source, address: str) -> tuple[str, list[Source]]:
        """The source's id, and the sources that are no longer held: the address's own beyond its share, or,
        where there are too many in all, of the address that has the most."""
        name = secrets.token_urlsafe(12)
        self._sources[name] = (address, source)
        dropped = []
        count = Counter(owner for owner, _ in self._sources.values())
        while count[address] > self._share or len(self._sources) > MAX_SOURCES:
            most = address if count[address] > self._share else count.most_common(1)[0][0]
            oldest = next(key for key, (owner, _) in self._sources.items() if owner == most)
            dropped.append(self._sources.pop(oldest)[1])
            count[most] -= 1
        return name, dropped

    def get(self, name: str) -> Source | None:
        """The source of an id, or None."""
        if name not in self._sources:
            return None
        self._sources.move_to_end(name)
        return self._sources[name][1]

    def all(self) -> list[Source]:
        return [source for _, source in self._sources.values()]
