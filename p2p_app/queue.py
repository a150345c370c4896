"""Whose turn it is on the device: the one who had it longest ago is next, and all know how many are ahead."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from p2p_core.errors import P2PError

MAX_CLIENTS = 4096  # of whom it is remembered when they last had the device
MAX_WAITING = 256  # of all


class TooManyRuns(P2PError):
    """A run that may not wait, because enough do; the message is fit for the page."""


class Client(NamedTuple):
    """Who asks: an address, and one of its pages, or "" for the API's callers there."""

    address: str = ""
    page: str = ""


Who = Client | str  # a page, or an address with all its pages


@dataclass(eq=False)
class Ticket:
    """A place in the queue."""

    client: Client
    gave_way: bool = False


class Turns:
    """A queue of runs. One holds the device at a time. Addresses take turns, and so do the pages of each."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: list[Ticket] = []  # in order of arrival
        self._holder: Ticket | None = None
        self._began = 0.0  # when the holder got the device
        self.seconds: float | None = None  # about how long a run has it
        self._last: OrderedDict[Who, float] = OrderedDict()  # when an address or a page had the device

    def __len__(self) -> int:
        return len(self._line)

    @contextmanager
    def ticket(
        self, client: Client | None = None, *, waiting: int = MAX_WAITING, newest_wins: bool = False
    ) -> Iterator[Ticket]:
        """A place in the queue, given back at the end whatever happens.

        waiting: how many places the client may have beside the one that runs. For one more its oldest has to
        give way if `newest_wins`; else it raises `TooManyRuns`.
        """
        mine = Ticket(client or Client())
        with self._changed:
            theirs = [
                t for t in self._line if t.client == mine.client and t is not self._holder and not t.gave_way
            ]
            if len(self._line) >= MAX_WAITING:
                raise TooManyRuns("Too many runs wait already; try again in a while.")
            if len(theirs) >= waiting and not newest_wins:
                raise TooManyRuns(f"{len(theirs)} of your runs wait already; try again once one is done.")
            if len(theirs) >= waiting:
                theirs[0].gave_way = True
                self._changed.notify_all()
            self._line.append(mine)
        try:
            yield mine
        finally:
            with self._changed:
                self._line.remove(mine)
                if self._holder is mine:
                    self._holder = None
                    self._note(mine.client)
                self._changed.notify_all()

    def ahead(self, ticket: Ticket, timeout: float) -> int:
        """How many runs are ahead, 0 for one's turn; waits up to `timeout` seconds for it to fall."""
        with self._changed:
            before = self._place(ticket)
            if before:
                self._changed.wait_for(lambda: ticket.gave_way or self._place(ticket) < before, timeout)
            place = self._place(ticket)
            if ticket.gave_way:  # it never gets its turn, and whoever has it leaves
                return max(1, place)
            if place == 0 and self._holder is None:
                self._holder, self._began = ticket, time.monotonic()
            return place

    def _place(self, ticket: Ticket) -> int:
        return self._order().index(ticket)

    def _order(self) -> list[Ticket]:
        """The holder, then round by round: of each address, and within it of each page, the one that had
        the device longest ago first."""
        waiting = [t for t in self._line if t is not self._holder and not t.gave_way]
        by_page = self._rounds(waiting, lambda t: t.client)
        by_address = self._rounds(by_page, lambda t: t.client.address)
        gave_way = [t for t in self._line if t.gave_way]
        return ([] if self._holder is None else [self._holder]) + by_address + gave_way

    def _rounds(self, tickets: list[Ticket], who: Callable[[Ticket], Who]) -> list[Ticket]:
        count: dict[Who, int] = {}
        rounds: dict[Ticket, int] = {}
        for ticket in tickets:
            rounds[ticket] = count[who(ticket)] = count.get(who(ticket), -1) + 1
        return sorted(tickets, key=lambda t: (rounds[t], self._last.get(who(t), 0.0)))

    def _note(self, client: Client) -> None:
        """The client had the device until now."""
        took = time.monotonic() - self._began
        self.seconds = took if self.seconds is None else 0.8 * self.seconds + 0.2 * took
        for who in (client, client.address):
            self._last[who] = time.monotonic()
            self._last.move_to_end(who)
        while len(self._last) > MAX_CLIENTS:
            self._last.popitem(last=False)
