"""Decorators of handlers: what goes wrong becomes a sentence, nothing unfinished stays, runs take their turn.

A handler is a generator method `(self, wish)` of a class with a `runner`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol, TypeVar

from .components.line import line
from .problems import sentence
from .runner import Runner, Updates
from .sessions import Kind
from .wish import Wish


class HasRunner(Protocol):
    runner: Runner


Tab = TypeVar("Tab", bound=HasRunner)
Handler = Callable[[Tab, Wish], Updates]


def reports_errors(handler: Handler[Tab]) -> Handler[Tab]:
    """Whatever a handler raises becomes a sentence in the page."""

    @functools.wraps(handler)
    def guarded(self: Tab, wish: Wish) -> Updates:
        runner, session = self.runner, wish.session
        try:
            yield from runner.observe(session, handler(self, wish))
        except Exception as error:  # the page's last line of defence: a raise would drop the pending event
            if session.closed:  # its files are gone, and there is nobody to tell
                return
            yield from runner.observe(session, iter([{"line": line("error", sentence(error))}]))

    return guarded


def settles(handler: Handler[Tab]) -> Handler[Tab]:
    """For a handler that may run something: however it ends, it leaves nothing unfinished on the page."""
    safe = reports_errors(handler)

    @functools.wraps(handler)
    def guarded(self: Tab, wish: Wish) -> Updates:
        runner, session = self.runner, wish.session
        try:
            yield from safe(self, wish)
            yield from runner.observe(session, runner.tidy(session, wish.clock))
        finally:
            if session.closed:  # in the last step of a run, say
                runner.sessions.sweep(session)

    return guarded


def queued(kind: Kind) -> Callable[[Handler[Tab]], Handler[Tab]]:
    """For a handler that needs the device as a whole: it waits for its turn. kind: what it makes."""

    def decorate(handler: Handler[Tab]) -> Handler[Tab]:
        @functools.wraps(handler)
        def in_turn(self: Tab, wish: Wish) -> Updates:
            yield from self.runner.in_turn(wish.session, wish.clock, handler(self, wish), kind)

        return settles(in_turn)

    return decorate
