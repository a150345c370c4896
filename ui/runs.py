"""Runs on the device: generate a source, apply an edit, with previews; and the page as it stands after them.

A run stops at its next step once the page wants something else (`Session.outdated`). What it computed stays
in the engine's cache.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gradio as gr

from . import pictures
from .controls import Controls, Reading, chips, read
from .engine import Engine, NotReady
from .examples import examples_for
from .looks import first_look
from .sessions import Entry, Session, Sessions
from .telling import shelf, told
from .turns import Turns
from .widgets import line

log = logging.getLogger("p2p.ui")
Update = dict[str, Any]
Updates = Iterator[Update]
PREVIEW_EVERY = 0.2  # seconds; a frame costs about 30 ms on its way
THUMB = 96
ECHO = 1.0  # seconds in which the same wish again is the end of a drag: the line stays as it is


def sentences(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Whatever a handler raises becomes a sentence in the page."""

    @functools.wraps(handler)
    def safe(self: Runs, *args: Any, **kwargs: Any) -> Updates:
        try:
            yield from handler(self, *args, **kwargs)
        except Exception as error:  # the page's last line of defence: a raise would drop the pending event
            yield {"line": line("error", self.sentence(error))}

    return safe


def device(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """A handler that needs the device: it waits for its turn and says how many are ahead.

    The last two arguments of a handler with a clock are the clock and the request: if the page has wished for
    something else meanwhile, it leaves the queue.
    """

    @functools.wraps(handler)
    def in_turn(self: Runs, *args: Any) -> Updates:
        session = self.sessions.get(args[-1].session_hash)
        clock = args[-2] if len(args) > 1 and isinstance(args[-2], (int, float)) else None
        with self.turns.ticket() as mine:
            while ahead := self.turns.ahead(mine, 0.5):
                if clock is not None and session.outdated(clock):
                    return
                if self.running != session.key:
                    runs = "one run is" if ahead == 1 else f"{ahead} runs are"
                    yield {"line": line("busy", f"waiting for your turn \u2014 {runs} ahead of yours")}
            yield from handler(self, *args)

    return in_turn


class Runs:
    """What the handlers are made of, for one engine and all sessions."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions
        self.turns = Turns()
        self.running: str | None = None  # the session whose run is on the device

    def sentence(self, error: Exception) -> str:
        """An error as the page says it."""
        if isinstance(error, NotReady):
            return f"The model could not be loaded. {error}"
        if self.engine.ready and isinstance(error, self.engine.core.P2PError):
            return str(error)
        log.error("A handler failed", exc_info=error)
        if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
            return "The device ran out of memory. Fewer steps, or a smaller --cache-mb, leave more room."
        return f"Something went wrong ({type(error).__name__}); the server's log has the details."

    def run_source(
        self, session: Session, states: Any, clock: float, doing: str = "generating the source"
    ) -> Generator[Update, None, bool]:
        """Record a source into the session. False if the page wanted something else meanwhile."""
        yield {"line": line("busy", f"{doing} …")}
        source = yield from self._run(session, states, clock, doing, None)
        if source is None:
            return False
        if source.inversion is None or self.engine.a_step is None:  # an inversion may have been on the shelf
            self.engine.a_step = source.seconds / source.steps
        before = session.sources()
        session.source, session.result, session.edited, session.exact = source, None, None, None
        session.source_path = pictures.shown(source.image, session.path("source.png"))
        self.sessions.trim(session, before)
        yield {
            "picture": (session.source_path, session.source_path),
            "look": {},
        }
        return True

    def run_edit(self, session: Session, clock: float, seen: Controls | None = None) -> Updates:
        """Apply the session's controls to its source. `seen`: what the page's boards hold already."""
        self.engine.wait()
        source = session.source
        if source is None:
            yield {"line": line("error", "There is no source picture yet. Press Generate first.")}
            return
        reading = self.reading(session)
        boards = self._boards(session, reading, seen)
        if not reading.controls.prompt.strip():
            yield {**boards, "line": line("error", "The edit prompt is empty. Say what you want.")}
            return
        wish = f"{source.key} {reading.key}"
        if session.result is not None and session.told is not None:
            known, when, said = session.told
            if known == wish and time.monotonic() - when < ECHO:
                yield {**boards, "line": said}
                return
        yield {**boards, "line": line("busy", "editing …")}
        edit = reading.edit
        if session.exact is not None and session.exact[0] == reading.key:
            edit = session.exact[1]
        states = self.engine.p2p.stream(source, edit)
        result = yield from self._run(session, states, clock, "editing", session.source_path)
        if result is None:
            return
        update = self._finished(session, reading, result)
        session.told = wish, time.monotonic(), update["line"]
        yield update
        if reading.controls.desk["picked"] is not None:
            yield {"look": first_look(self, session)}

    def _finished(self, session: Session, reading: Reading, result: Any) -> Update:
        """Everything that a finished edit changes on the page."""
        recipe_of = self.engine.core.recipe_of
        before = session.sources()
        source = result.source
        session.result, session.edited = result, None
        name = "-".join(reading.controls.prompt.lower().split())[:40]
        name = "".join(c for c in name if c.isalnum() or c == "-").strip("-") or "edit"
        saved = result.save(session.path(f"{name}.png"))
        pair = self.pair(session, reading.controls.region)
        if not result.plan.changes_nothing:
            session.remember(
                Entry(
                    source=source,
                    source_path=session.source_path,
                    controls=reading.controls,
                    title=reading.controls.prompt,
                    thumb=pictures.data_uri(result.image, THUMB),
                    path=pair[1] if pair and not reading.controls.region["show"] else "",
                    key=f"{source.key} {reading.key}",
                    family=f"{source.key} {reading.controls.prompt}",
                )
            )
        self.sessions.trim(session, before)
        run = {"computed": result.steps_computed, "total": result.steps_total}
        return {
            "picture": pair,
            "line": told(result),
            "keep": recipe_of(result).to_json(),
            "timeline": {**reading.controls.timeline, "run": run},
            "history": shelf(session),
            "download": gr.update(value=str(saved), interactive=True),
        }

    def _run(
        self, session: Session, states: Any, clock: float, doing: str, before: str | None
    ) -> Generator[Update, None, Any]:
        """Run a generator of states with previews. Its result, or None if the page wants something else."""
        p2p, last, index, total = self.engine.p2p, 0.0, 0, 0
        self.running = session.key
        try:
            while True:
                if session.outdated(clock):
                    if session.stopped > clock:  # else the next run has its own say
                        tail = "what was computed is kept." if before else "nothing was changed."
                        at = f"Stopped at step {index} of {total}; {tail}" if index else "Stopped."
                        yield {"line": line("stopped", at)}
                    return None
                try:
                    state = next(states)
                except StopIteration as stop:
                    return stop.value
                index, total = state.index, state.total
                if index < total and time.perf_counter() - last > PREVIEW_EVERY:
                    picture = pictures.preview(p2p.preview(state))
                    words = f"{doing} — step {index} of {total}"
                    yield {
                        "picture": (before or picture, picture),
                        "line": line("busy", words, step=index, total=total),
                    }
                    last = time.perf_counter()
        finally:
            self.running = None
            states.close()

    def pair(self, session: Session, region: dict) -> tuple[str, str] | None:
        """Before and after, with the region drawn over it if asked for."""
        if session.source is None:
            return None
        result = session.result
        if result is None or result.plan.changes_nothing:
            return session.source_path, session.source_path
        image = result.image
        if region["show"] and result.mask is not None:
            image = self.engine.figures.mask_overlay(pictures.enlarged(image), result.mask)
        return session.source_path, pictures.shown(image, session.path("after.png"))

    def reading(self, session: Session) -> Reading:
        controls, source = session.controls or Controls.fresh(), session.source
        text = controls.prompt if source is None else source.prompt.text
        first = examples_for(self.engine.bundled)[0]
        if source is None and text == first.prompt:  # as the page opens
            text = first.source
        steps = controls.timeline["steps"] if source is None else source.steps
        reading = read(self.engine, text, controls, steps)
        session.controls = reading.controls
        return reading

    def _boards(self, session: Session, reading: Reading, seen: Controls | None) -> Update:
        """The boards that follow the words, where they differ from what the page has."""
        notes = list(reading.plan.notes) if session.source is not None else []
        update: Update = {"chips": {**chips(reading.plan), "notes": notes}}
        for name in ("desk", "region", "timeline"):
            now = getattr(reading.controls, name)
            if name == "timeline":  # what the last run did stays on it
                now = {**now, "run": (seen or reading.controls).timeline["run"]}
            if seen is None or now != getattr(seen, name):
                update[name] = now
        return update
