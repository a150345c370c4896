"""Runs on the device: generate a source, apply an edit, with previews; and the page as it stands after them.

A run stops at its next step once the page wants something else (`Session.outdated`). What it computed stays
in the engine's cache.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from . import pictures
from .components.compare import Pair
from .components.line import line
from .components.look import LookValue
from .components.timeline import RunSteps
from .controls import Controls, Reading
from .engine import Engine
from .maps import first_look
from .memory import give_back
from .messages import (
    ENDED,
    NO_SOURCE,
    PAGE_FREED,
    chips_value,
    notes_of,
    result_line,
    waiting_text,
)
from .queue import Turns
from .session_storage import remember, save_page
from .sessions import Kind, Session, Sessions
from .sheets import takeaways
from .views import Update, boards, history_value, pair, read_session, shown_pair

if TYPE_CHECKING:
    from p2p_core import Result, Source
    from p2p_core.steps import Steps

Updates = Generator[Update, None, None]  # what a handler gives
T = TypeVar("T")
MIN_PREVIEW_SECONDS = 0.2  # between two previews; a frame costs about 30 ms on its way
PREVIEW_REST = 3  # on a slow machine: so many times what the last preview has cost
MAX_REST_SECONDS = 0.6  # of an edit that is finished although the fader has moved on
MAX_ECHO_SECONDS = 1.0  # an identical request within this time is ignored: a drag ends with a duplicate


class Runner:
    """Runs for one engine and all sessions, one at a time."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions
        self.turns = Turns()
        self.running: str | None = None  # key of the session whose run is on the device

    # --- what the page shows ------------------------------------------------------------------------

    def observe(self, session: Session, updates: Iterator[Update]) -> Updates:
        """The same updates; the session knows from them what its page shows."""
        try:
            for update in updates:
                if isinstance(update.get("line"), dict):
                    busy = update["line"]["kind"] == "busy"
                    session.line = {**update["line"], "edited": session.shows_edit and not busy}
                    update = {**update, "line": session.line}
                    if session.line["kind"] in ("done", "stopped", "error"):
                        session.settled_line = session.line
                if "picture" in update:
                    session.shows_preview = update["picture"] is not None and update["picture"].is_preview
                if "look" in update:
                    session.shows_look = update["look"] != LookValue()
                yield update
        finally:
            getattr(updates, "close", int)()

    def tidy(self, session: Session, clock: float) -> Updates:
        """What a run that came to nothing has left on the page, put right; unless a newer one will do so."""
        if session.closed or session.wanted_at > clock:
            return
        if session.shows_preview:
            yield {"picture": self.pair(session)}
        if session.line is not None and session.line["kind"] == "busy" and self.running != session.key:
            yield {"line": session.settled_line or line("idle", "")}

    def pair(self, session: Session) -> Pair | None:
        """The source and the edit, with the region over it if the page wants to see that."""
        show = session.controls is not None and session.controls.region.show
        return shown_pair(self.engine, session, region=show)

    def reading(self, session: Session) -> Reading:
        return read_session(self.engine, session)

    # --- turns --------------------------------------------------------------------------------------

    def in_turn(
        self,
        session: Session,
        clock: float,
        updates: Generator[Update, None, T],
        kind: Kind = "edit",
        dragged: str | None = None,
    ) -> Generator[Update, None, T | None]:
        """Wait for the device, saying how many are ahead, and run `updates`. Gives what that returns, or None
        if the page wanted something else meanwhile. dragged: see `Session.lost`."""
        waiting = self.sessions.limits.waiting
        with self.turns.ticket(session.client, waiting=waiting, newest_wins=True) as mine:
            while ahead := self.turns.ahead(mine, 0.5):
                if mine.gave_way:  # to what the page asked for after it
                    return None
                if session.outdated(clock, kind):
                    break
                if self.running != session.key:
                    yield {"line": line("busy", waiting_text(ahead, self.turns.seconds))}
            if ahead or session.lost(clock, kind, dragged):
                if session.halted(clock) and (session.line or {}).get("kind") == "busy":
                    yield {"line": line("stopped", "Stopped before it began; nothing was changed.")}
                return None
            self.running = session.key
            try:
                return (yield from updates)
            finally:
                self.running = None

    # --- sources ------------------------------------------------------------------------------------

    def run_source(
        self, session: Session, run: Steps[Source], clock: float, doing: str = "generating the source"
    ) -> Generator[Update, None, bool]:
        """Record a source into the session. False if the page wanted something else meanwhile."""
        yield {"line": line("busy", f"{doing} …")}
        source = yield from self.run_steps(session, run, clock, doing, None, "source")
        if source is None:
            return False
        if source.inversion is None or self.engine.step_seconds is None:  # an inversion may have been stored
            self.engine.step_seconds = source.seconds / source.steps
        if session.outdated(clock, "source"):  # since its last step
            self.sessions.trim(session, {source.key: source})
            yield from self._stopped(session, clock, source.steps, source.steps, "source")
            return False
        self.set_source(session, source)
        yield self.source_shown(session)
        return True

    def run_generated(
        self, session: Session, settings: dict[str, Any], clock: float
    ) -> Generator[Update, None, bool]:
        """Generate a source into the session, or take the same one from whoever has it. False if the page
        wanted something else meanwhile."""
        self.sessions.limits.check(settings, self.engine.p2p.default_size)
        source = self.sessions.find_generated(settings)
        if source is None:
            if not (yield from self.run_source(session, self.engine.p2p.iter_generate(**settings), clock)):
                return False
            self.sessions.add_generated(settings, session.source)
            return True
        self.set_source(session, source)
        yield self.source_shown(session)
        return True

    def set_source(self, session: Session, source: Source, path: str = "") -> None:
        """The session's source is another one. path: of its picture, if that is there."""
        before, path = session.sources(), path or pictures.shown(source.image, session.path("source.png"))
        session.source, session.source_path = source, path
        session.result, session.result_source, session.exact_edit = None, None, None
        self.sessions.trim(session, before)

    def source_shown(self, session: Session) -> Update:
        return {"picture": pair(session, session.source_path, session.source_path), "look": LookValue()}

    # --- edits --------------------------------------------------------------------------------------

    def run_edit(
        self, session: Session, clock: float, seen: Controls | None = None, dragged: str | None = None
    ) -> Updates:
        """Apply the session's controls to its source. `seen`: what the page's boards hold already."""
        if session.opening and session.source is None:
            return  # The page's first run will apply them.
        self.engine.wait()
        if session.wanted_at > clock and session.lost(clock, "edit", dragged):
            return  # It waited for a source, say: a newer one applies what is newest.
        source = session.source
        if source is None:
            yield {"line": line("error", PAGE_FREED if session.freed else NO_SOURCE)}
            return
        reading = self.reading(session)
        update = boards(session, reading, seen)
        if not reading.controls.prompt.strip():
            yield {**update, "line": line("error", "The edit prompt is empty. Say what you want.")}
            return
        key = f"{source.key} {reading.key}"
        if session.result is not None and session.answer is not None:
            answered, when, answer = session.answer
            if answered == key and time.monotonic() - when < MAX_ECHO_SECONDS:
                yield {**update, "line": answer}
                return
        yield {**update, "line": line("busy", "editing …")}
        yield from self._apply(session, clock, source, reading, key)

    def _apply(self, session: Session, clock: float, source: Source, reading: Reading, key: str) -> Updates:
        """The run itself, and what comes of it. key: of what is asked for."""
        prompt, edit = reading.controls.prompt, reading.edit
        if session.exact_edit is not None and session.exact_edit[0] == reading.key:
            edit = session.exact_edit[1]
        run = self.engine.p2p.iter_edit(source, edit)
        result = yield from self.run_steps(
            session, run, clock, "editing", session.source_path, dragged=prompt
        )
        if result is None:
            return
        if (dragged := session.dragged_on(clock, prompt)) and self.reading(session).key != reading.key:
            passing = pair(session, session.source_path, pictures.preview(result.image), prompt)
            yield {"picture": passing, "line": result_line(result)}
            return
        if session.outdated(clock) and not dragged:  # since its last step
            yield from self._stopped(session, clock, result.steps_total, result.steps_total)
            return
        update = self._finished(session, reading, result)
        session.answer = key, time.monotonic(), update["line"]
        yield update
        give_back()
        if self.reading(session).key != reading.key:  # a fader is dragged on: nobody saves this picture
            return
        yield takeaways(session, prompt, result)
        if reading.controls.desk.picked is not None:
            yield {"look": first_look(self.engine, session, self.reading(session))}

    def _finished(self, session: Session, reading: Reading, result: Result) -> Update:
        """Everything that a finished edit changes on the page."""
        recipe = result.recipe().to_dict()
        before = session.sources()
        controls = reading.controls
        shown = pictures.shown(result.image, session.path("after.png"))
        session.result, session.result_source, session.result_path = result, None, shown
        remember(session, reading, recipe)
        self.sessions.trim(session, before)
        run = RunSteps(computed=result.steps_computed, total=result.steps_total)
        return {
            "chips": chips_value(reading.plan, notes_of(reading, result)),
            "picture": shown_pair(self.engine, session, region=controls.region.show),
            "line": result_line(result),
            "storage": save_page(session, controls.desk, recipe),
            "timeline": controls.timeline.replace(run=run),
            "history": history_value(session),
            "download": gr.update(interactive=False),  # until `takeaways` has written this picture's
            "card": gr.update(interactive=False),
        }

    # --- steps --------------------------------------------------------------------------------------

    def run_steps(
        self,
        session: Session,
        run: Steps[T],
        clock: float,
        doing: str,
        before: str | None,
        kind: Kind = "edit",
        dragged: str | None = None,
    ) -> Generator[Update, None, T | None]:
        """A run of the engine with previews. Its result, or None if the page wants something else.

        before: file of the picture beside the previews; None: the preview itself. dragged: of a run that is
        soon done, see `Session.lost`."""
        index = total = 0
        due = 0.0  # when the next preview is
        try:
            while not session.lost(clock, kind, dragged if self._soon_done(index, total) else None):
                state = next(run, None)
                if state is None:
                    return run.result
                index, total = state.index, state.total
                if index < total and (begun := time.perf_counter()) > due:
                    picture = pictures.preview(self.engine.p2p.preview(state))
                    words = f"{doing} — step {index} of {total}"
                    prompt = session.controls.prompt if session.controls else ""
                    yield {
                        "picture": pair(session, before or picture, picture, prompt),
                        "line": line("busy", words, step=index, total=total),
                    }
                    now = time.perf_counter()
                    due = now + max(MIN_PREVIEW_SECONDS, PREVIEW_REST * (now - begun))
            yield from self._stopped(session, clock, index, total, kind)
            return None
        finally:
            run.close()

    def _soon_done(self, index: int, total: int) -> bool:
        return index > 0 and (total - index) * (self.engine.step_seconds or 1) <= MAX_REST_SECONDS

    def _stopped(
        self, session: Session, clock: float, index: int, total: int, kind: Kind = "edit"
    ) -> Updates:
        """Where a run was stopped; nothing if the next one has its own say."""
        if session.halted(clock):
            tail = "nothing was changed." if kind == "source" else "what was computed is kept."
            at = f"Stopped at step {index} of {total}; {tail}" if index else "Stopped."
            yield {"line": line("stopped", ENDED if self.sessions.ended else at)}
