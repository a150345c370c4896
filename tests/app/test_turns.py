"""Whose turn it is: addresses take turns, pages of one address too, and few runs of one may wait."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from p2p_app.queue import Client, Ticket, TooManyRuns, Turns


def run_all(waiting: list[Client], served: list[Client] | None = None) -> list[Client]:
    """The order in which these clients get the device, who arrived one after another while it was busy."""
    turns, order, threads = Turns(), [], []
    for client in served or ():  # who has had it before, in this order
        with turns.ticket(client) as mine:
            assert turns.ahead(mine, 1) == 0
    with turns.ticket(Client("holder")) as holder:
        assert turns.ahead(holder, 1) == 0
        for client in waiting:
            there = threading.Event()

            def wait(client: Client = client, there: threading.Event = there) -> None:
                with turns.ticket(client) as mine:
                    there.set()
                    while turns.ahead(mine, 5):
                        pass
                    order.append(client)

            threads.append(threading.Thread(target=wait))
            threads[-1].start()
            assert there.wait(5)
    for thread in threads:
        thread.join(10)
    assert len(turns) == 0
    return order


A1, A2, A3, B, C = (Client(*who) for who in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1")))


def test_addresses_take_turns_whatever_they_ask_for() -> None:
    assert run_all([A1, A1, A1, A1, B, C, B]) == [A1, B, C, A1, B, A1, A1]


def test_pages_of_an_address_take_turns() -> None:
    assert run_all([A1, A1, A1, A2, A3, B]) == [A1, B, A2, A3, A1, A1]


def test_who_had_the_device_longest_ago_is_next() -> None:
    assert run_all([A1, B, C], served=[C, B, A1]) == [C, B, A1]
    assert run_all([A1, B], served=[A1]) == [B, A1], "somebody new before somebody who just had it"


def test_those_who_wait_are_bounded() -> None:
    turns = Turns()
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(turns.ticket(A1, waiting=2))
        assert turns.ahead(holder, 1) == 0
        for _ in range(2):
            stack.enter_context(turns.ticket(A1, waiting=2))
        with pytest.raises(TooManyRuns, match="2 of your runs wait already"), turns.ticket(A1, waiting=2):
            pass
        other = stack.enter_context(turns.ticket(A2, waiting=2))
        assert turns.ahead(other, 0.01) > 0
    assert len(turns) == 0


def test_the_newest_run_of_a_page_wins() -> None:
    turns = Turns()
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(turns.ticket(B))
        assert turns.ahead(holder, 1) == 0
        tickets: list[Ticket] = [
            stack.enter_context(turns.ticket(A1, waiting=2, newest_wins=True)) for _ in range(4)
        ]
        assert [ticket.gave_way for ticket in tickets] == [True, True, False, False]
        assert turns.ahead(tickets[0], 5) > 0
        assert turns.ahead(tickets[2], 0.01) == 1 and turns.ahead(tickets[3], 0.01) == 2
        turns_of_others = stack.enter_context(turns.ticket(C))
        assert turns.ahead(turns_of_others, 0.01) == 2, "those that gave way are in nobody's"


def test_waiting_is_told_with_an_estimate() -> None:
    turns = Turns()
    assert turns.seconds is None
    with turns.ticket(A1) as mine:
        turns.ahead(mine, 1)
        time.sleep(0.05)
    assert turns.seconds is not None and 0.05 <= turns.seconds < 5
