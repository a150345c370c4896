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
from .components.widgets import line
from .controls import Controls, Reading, chips, read
from .engine import Engine, NotReady
from .examples import examples_for
from .memory import give_back
from .messages import idle_controls, idle_region, shelf, titled, told
from .queue import Turns
from .session_storage import kept, levers
from .sessions import Entry, Session, Sessions
from .tabs.attention import first_look

log = logging.getLogger("p2p.ui")
Update = dict[str, Any]
Updates = Iterator[Update]
PREVIEW_EVERY = 0.2  # seconds; a frame costs about 30 ms on its way
PREVIEW_REST = 3  # on a slow machine, so many times what a frame has cost
THUMB = 72
NO_SOURCE = "There is no source picture yet. Press Generate first."
GONE = (
    "This page was left alone for long, and what it held was freed. Load it again: its last edit comes back."
)
ECHO = 1.0  # seconds in which the same wish again is the end of a drag: the line stays as it is


def sentences(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Whatever a handler raises becomes a sentence in the page."""

    @functools.wraps(handler)
    def safe(self: Runs, *args: Any) -> Updates:
        session, _ = self.asked_by(args)
        updates = handler(self, *args)
        try:
            yield from self.noted(session, updates)
        except Exception as error:  # the page's last line of defence: a raise would drop the pending event
            if session.closed:  # its files are gone, and there is nobody to tell
                return
            yield from self.noted(session, iter([{"line": line("error", self.sentence(error))}]))

    return safe


def tidy(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """A handler that may run something. However it ends, it leaves nothing unfinished on the page."""
    safe = sentences(handler)

    @functools.wraps(handler)
    def whole(self: Runs, *args: Any) -> Updates:
        session, clock = self.asked_by(args)
        try:
            yield from safe(self, *args)
            yield from self.noted(session, self.left_over(session, clock))
        finally:
            if session.closed:  # in the last step of a run, say
                self.sessions.sweep(session)

    return whole


def device(kind: str) -> Callable[[Callable[..., Updates]], Callable[..., Updates]]:
    """A handler that needs the device: it waits for its turn. kind: see `Session.outdated`.

    The last two arguments of such a handler are the page's clock and the request.
    """

    def of(handler: Callable[..., Updates]) -> Callable[..., Updates]:
        @functools.wraps(handler)
        def in_turn(self: Runs, *args: Any) -> Updates:
            session, clock = self.asked_by(args)
            yield from self.in_turn(session, clock, handler(self, *args), kind)

        return tidy(in_turn)

    return of


def previewed(picture: Any) -> bool:
    """True if it is a preview: files are final."""
    return isinstance(picture, tuple) and not isinstance(picture[1], str)


class Runs:
    """What the handlers are made of, for one engine and all sessions."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions
        self.turns = Turns()
        self.running: str | None = None  # the session whose run is on the device

    def asked_by(self, args: tuple[Any, ...]) -> tuple[Session, float]:
        """Who asks, and when by the page's clock: the last two arguments of a handler."""
        if not args or not hasattr(args[-1], "session_hash"):
            return Session(key=""), 0.0
        session = self.sessions.get(args[-1].session_hash)
        timed = len(args) > 1 and isinstance(args[-2], (int, float)) and not isinstance(args[-2], bool)
        return session, float(args[-2]) if timed else session.wanted

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

    # --- what the page shows ------------------------------------------------------------------------

    def noted(self, session: Session, updates: Updates) -> Updates:
        """The same updates; the session knows from them what its page shows."""
        try:
            for update in updates:
                said = update.get("line")
                if isinstance(said, dict):
                    busy = said["kind"] == "busy"
                    said = {**said, "edited": session.shows_edit and not busy}
                    update = {**update, "line": said}
                    session.line = said
                    if said["kind"] in ("done", "stopped", "error"):
                        session.settled = said
                if "picture" in update:
                    session.previewed = previewed(update["picture"])
                if "look" in update:
                    session.looking = bool(update["look"])
                yield update
        finally:
            getattr(updates, "close", int)()

    def left_over(self, session: Session, clock: float) -> Updates:
        """What a run that came to nothing has left on the page, put right; unless a newer one will do so."""
        if session.closed or session.wanted > clock:
            return
        if session.previewed:
            region = (session.controls or Controls.fresh()).region
            yield {"picture": self.pair(session, region)}
        if session.line is not None and session.line["kind"] == "busy" and self.running != session.key:
            yield {"line": session.settled or line("idle", "")}

    # --- turns --------------------------------------------------------------------------------------

    def in_turn(
        self, session: Session, clock: float, updates: Generator[Update, None, Any], kind: str = "edit"
    ) -> Generator[Update, None, Any]:
        """Wait for the device, saying how many are ahead, and run `updates`. Gives what that returns, or None
        if the page wanted something else meanwhile."""
        with self.turns.ticket() as mine:
            while ahead := self.turns.ahead(mine, 0.5):
                if session.outdated(clock, kind):
                    break
                if self.running != session.key:
                    runs = "one run is" if ahead == 1 else f"{ahead} runs are"
                    yield {"line": line("busy", f"waiting for your turn \u2014 {runs} ahead of yours")}
            if session.outdated(clock, kind):
                if session.halted(clock) and (session.line or {}).get("kind") == "busy":
                    yield {"line": line("stopped", "Stopped before it began; nothing was changed.")}
                return None
            self.running = session.key
            try:
                return (yield from updates)
            finally:
                self.running = None

    # --- runs ---------------------------------------------------------------------------------------

    def run_source(
        self, session: Session, states: Any, clock: float, doing: str = "generating the source"
    ) -> Generator[Update, None, bool]:
        """Record a source into the session. False if the page wanted something else meanwhile."""
        yield {"line": line("busy", f"{doing} …")}
        source = yield from self._run(session, states, clock, doing, None, "source")
        if source is None:
            return False
        if source.inversion is None or self.engine.a_step is None:  # an inversion may have been on the shelf
            self.engine.a_step = source.seconds / source.steps
        if session.outdated(clock, "source"):  # since its last step
            self.sessions.trim(session, {source.key: source})
            yield from self._stopped(session, clock, source.steps, source.steps, "source")
            return False
        self.have(session, source)
        yield {"picture": (session.source_path, session.source_path), "look": {}}
        return True

    def run_generated(
        self, session: Session, settings: dict[str, Any], clock: float
    ) -> Generator[Update, None, bool]:
        """Generate a source into the session, or take the same one from whoever has it. False if the page
        wanted something else meanwhile."""
        source = self.sessions.known(settings)
        if source is None:
            if not (yield from self.run_source(session, self.engine.p2p.record(**settings), clock)):
                return False
            self.sessions.made(settings, session.source)
            return True
        self.have(session, source)
        yield {"picture": (session.source_path, session.source_path), "look": {}}
        return True

    def have(self, session: Session, source: Any, path: str = "") -> None:
        """The session's source is another one. path: of its picture, if that is there."""
        before = session.sources()
        session.source, session.result, session.edited, session.exact = source, None, None, None
        session.source_path = path or pictures.shown(source.image, session.path("source.png"))
        self.sessions.trim(session, before)

    def run_edit(self, session: Session, clock: float, seen: Controls | None = None) -> Updates:
        """Apply the session's controls to its source. `seen`: what the page's boards hold already."""
        if session.opening and session.source is None:  # the page's first run will apply them
            return
        self.engine.wait()
        if session.wanted > clock:  # an edit that waits for this one's source, say: it applies what is newest
            return
        source = session.source
        if source is None:
            yield {"line": line("error", GONE if session.lost else NO_SOURCE)}
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
        if session.outdated(clock):  # since its last step; the engine keeps what it computed
            yield from self._stopped(session, clock, result.steps_total, result.steps_total)
            return
        update = self._finished(session, reading, result)
        session.told = wish, time.monotonic(), update["line"]
        yield update
        give_back()
        if reading.controls.desk["picked"] is not None:
            yield {"look": first_look(self, session)}

    def _finished(self, session: Session, reading: Reading, result: Any) -> Update:
        """Everything that a finished edit changes on the page."""
        recipe = self.engine.core.recipe_of(result).to_dict()
        before = session.sources()
        source = result.source
        session.result, session.edited = result, None
        name = "-".join(reading.controls.prompt.lower().split())[:40]
        name = "".join(c for c in name if c.isalnum() or c == "-").strip("-") or "edit"
        saved = result.save(session.path(f"{name}.png"))
        session.result_path = pictures.shown(result.image, session.path("after.png"))
        if session.shows_edit:
            session.remember(
                Entry(
                    source=source,
                    source_path=session.source_path,
                    controls=reading.controls,
                    title=titled(reading, source.steps),
                    thumb=pictures.data_uri(result.image, THUMB),
                    path=session.result_path,
                    key=f"{source.key} {reading.key}",
                    exact=session.exact,
                    recipe=recipe,
                    levers=levers(reading.controls.desk),
                )
            )
        self.sessions.trim(session, before)
        run = {"computed": result.steps_computed, "total": result.steps_total}
        notes = [*result.plan.notes, *idle_controls(reading), *idle_region(result)]
        return {
            "chips": {**chips(reading.plan), "notes": notes},
            "picture": self.pair(session, reading.controls.region),
            "line": told(result),
            "keep": kept(session, recipe),
            "timeline": {**reading.controls.timeline, "run": run},
            "history": shelf(session),
            "download": gr.update(value=str(saved), interactive=True),
        }

    def _run(
        self, session: Session, states: Any, clock: float, doing: str, before: str | None, kind: str = "edit"
    ) -> Generator[Update, None, Any]:
        """Run a generator of states with previews. Its result, or None if the page wants something else."""
        p2p, index, total = self.engine.p2p, 0, 0
        due = 0.0  # when the next preview is
        try:
            while True:
                if session.outdated(clock, kind):
                    yield from self._stopped(session, clock, index, total, kind)
                    return None
                try:
                    state = next(states)
                except StopIteration as stop:
                    return stop.value
                index, total = state.index, state.total
                if index < total and (begun := time.perf_counter()) > due:
                    picture = pictures.preview(p2p.preview(state))
                    words = f"{doing} — step {index} of {total}"
                    yield {
                        "picture": (before or picture, picture),
                        "line": line("busy", words, step=index, total=total),
                    }
                    now = time.perf_counter()
                    due = now + max(PREVIEW_EVERY, PREVIEW_REST * (now - begun))
        finally:
            states.close()

    def _stopped(self, session: Session, clock: float, index: int, total: int, kind: str = "edit") -> Updates:
        """Where a run was stopped; nothing if the next one has its own say."""
        if session.halted(clock):
            tail = "nothing was changed." if kind == "source" else "what was computed is kept."
            at = f"Stopped at step {index} of {total}; {tail}" if index else "Stopped."
            yield {"line": line("stopped", at)}

    def pair(self, session: Session, region: dict) -> tuple[str, str] | None:
        """Before and after, with the region drawn over it if asked for."""
        if session.source is None:
            return None
        result = session.result
        if result is None or not session.shows_edit:
            return session.source_path, session.source_path
        if region["show"] and result.mask is not None:
            image = self.engine.figures.mask_overlay(pictures.enlarged(result.image), result.mask)
            return session.source_path, pictures.shown(image, session.path("region.png"))
        return session.source_path, session.result_path

    def reading(self, session: Session) -> Reading:
        controls, source = session.controls or Controls.fresh(), session.source
        text = controls.prompt if source is None else source.prompt.text
        first = examples_for(self.engine.bundled, self.engine.steps)[0]
        if source is None and text == first.prompt:  # as the page opens
            text = first.source
        steps = controls.timeline["steps"] if source is None else source.steps
        reading = read(self.engine, text, controls, steps)
        session.controls = reading.controls
        return reading

    def _boards(self, session: Session, reading: Reading, seen: Controls | None) -> Update:
        """The boards that follow the words, where they differ from what the page has."""
        notes = [*reading.plan.notes, *idle_controls(reading)] if session.source is not None else []
        update: Update = {"chips": {**chips(reading.plan), "notes": notes}}
        if session.looking and reading.controls.desk["picked"] is None:  # its word has left the prompt
            update["look"] = {}
        for name in ("desk", "region", "timeline"):
            now = getattr(reading.controls, name)
            if name == "timeline":  # what the last run did stays on it
                now = {**now, "run": (seen or reading.controls).timeline["run"]}
            if seen is None or now != getattr(seen, name):
                update[name] = now
        return update
