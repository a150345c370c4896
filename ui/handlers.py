"""What the page does. Handlers are generators that yield {name of a component: its new value}.

None of them raises: what goes wrong becomes a sentence in the line. A run stops at its next step once the
page wants something else (`Session.outdated`), and what it computed stays in the engine's cache.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from . import pictures
from .controls import Controls, Reading, chips, read
from .desk import keys
from .engine import Engine, NotReady
from .examples import Example, examples_for
from .looks import LookHandlers, views
from .region import Region
from .sessions import Entry, Session, Sessions
from .timeline import Timeline
from .widgets import line, megabytes, seconds

log = logging.getLogger("p2p.ui")
Update = dict[str, Any]
Updates = Iterator[Update]
PREVIEW_EVERY = 0.2  # seconds; a frame costs about 30 ms on its way
THUMB = 96


def sentences(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Whatever a handler raises becomes a sentence in the page."""

    @functools.wraps(handler)
    def safe(self: Handlers, *args: Any, **kwargs: Any) -> Updates:
        try:
            yield from handler(self, *args, **kwargs)
        except Exception as error:  # the page's last line of defence: a raise would drop the pending event
            yield {"line": line("error", self.sentence(error))}

    return safe


class Handlers(LookHandlers):
    """The page's handlers, for one engine and all sessions."""

    pick = sentences(LookHandlers.pick)
    look = sentences(LookHandlers.look)
    only_there = sentences(LookHandlers.only_there)
    show_region = sentences(LookHandlers.show_region)
    maps = sentences(LookHandlers.maps)

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions
        self.examples = examples_for(engine.bundled)

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

    # --- the page opens and closes ------------------------------------------------------------------

    @sentences
    def start(self, prompt: str, desk: dict, timeline: dict, region: dict, request: gr.Request) -> Updates:
        """Says how far the model is, until it is there."""
        last = None
        while True:
            try:
                ready = self.engine.wait(0.25)
            except NotReady:
                yield {"status": self.engine.status()}
                raise
            status = self.engine.status()
            if status != last:
                last = status
                yield {"status": status}
            if ready:
                break
        yield from self.refresh(prompt, desk, timeline, region, request)

    @sentences
    def first(self, clock: float, request: gr.Request) -> Updates:
        """The first example, so that the page opens with a picture. Larger models wait to be asked."""
        session = self.sessions.get(request.session_hash)
        if self.engine.ready and self.engine.bundled and session.source is None:
            yield from self._example(session, 0, clock)
        elif self.engine.ready:
            yield {"line": line("idle", "Press Generate, or pick an example.")}

    def close(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.sessions.close(request.session_hash)

    # --- wishes -------------------------------------------------------------------------------------

    def touch(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> None:
        """The page wants something new: whatever runs for it stops at its next step."""
        session = self.sessions.get(request.session_hash)
        session.controls = Controls(prompt, desk, timeline, region)
        session.want(clock)

    def stop(self, clock: float, request: gr.Request) -> None:
        self.sessions.get(request.session_hash).want(clock)

    @sentences
    def refresh(self, prompt: str, desk: dict, timeline: dict, region: dict, request: gr.Request) -> Updates:
        """As you type: how the prompts align, and the boards for the new words. Runs no model."""
        if not self.engine.ready:
            return
        session = self.sessions.get(request.session_hash)
        session.controls = Controls(prompt, desk, timeline, region)
        yield self._boards(self.reading(session))

    # --- runs ---------------------------------------------------------------------------------------

    @sentences
    def generate(
        self,
        prompt: str,
        seed: int,
        steps: int,
        guidance: float,
        negative: str,
        clock: float,
        request: gr.Request,
    ) -> Updates:
        """A new source; the edit that the page holds is applied to it."""
        session = self.sessions.get(request.session_hash)
        old = session.source
        settings = {
            "prompt": prompt,
            "seed": seed,
            "steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative or "",
        }
        if not (yield from self._generate(session, settings, clock)):
            return
        controls = session.controls or Controls.fresh()
        if not controls.prompt.strip() or (old is not None and old.prompt.text != prompt):
            session.controls = replace(controls, prompt=prompt)
            yield {"prompt": prompt}
        yield from self.run_edit(session, clock)

    @sentences
    def edit(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Apply the edit to the source."""
        session = self.sessions.get(request.session_hash)
        session.controls = Controls(prompt, desk, timeline, region)
        yield from self.run_edit(session, clock)

    @sentences
    def example(self, examples: dict, clock: float, request: gr.Request) -> Updates:
        """Run an example as it stands."""
        n = examples["clicked"]
        if n is not None and 0 <= n < len(self.examples):
            yield from self._example(self.sessions.get(request.session_hash), n, clock)

    @sentences
    def recall(self, history: dict, clock: float, request: gr.Request) -> Updates:
        """Back to an earlier edit: its source, its controls, its picture."""
        session = self.sessions.get(request.session_hash)
        n = history["clicked"]
        if n is None or not 0 <= n < len(session.history):
            return
        entry = session.history[n]
        session.source, session.source_path = entry.source, entry.source_path
        session.controls = entry.controls
        yield {"prompt": entry.controls.prompt, "timeline": entry.controls.timeline, **_settings(entry.source)}
        yield from self.run_edit(session, clock)

    # --- parts --------------------------------------------------------------------------------------

    def _example(self, session: Session, n: int, clock: float) -> Updates:
        example = self.examples[n]
        session.controls = example_controls(example)
        settings = {
            "prompt": example.source,
            "seed": example.seed,
            "steps": example.steps,
            "guidance_scale": self.engine.guidance,
            "negative_prompt": "",
        }
        yield {
            "source_prompt": example.source,
            "seed": example.seed,
            "steps": example.steps,
            "guidance": self.engine.guidance,
            "negative": "",
            "prompt": example.prompt,
            "examples": {"items": listed(self.examples), "clicked": n},
        }
        have = session.source
        if have is None or any(have.to_dict()[name] != value for name, value in settings.items()):
            if not (yield from self._generate(session, settings, clock)):
                return
        yield from self.run_edit(session, clock)

    def _generate(self, session: Session, settings: dict, clock: float) -> Generator[Update, None, bool]:
        """Record a source into the session. False if the page wanted something else meanwhile."""
        yield {"line": line("busy", "generating the source …")}
        states = self.engine.p2p.record(settings.pop("prompt"), **settings)
        source = yield from self._run(session, states, clock, "generating the source", None)
        if source is None:
            return False
        before = session.sources()
        session.source, session.result, session.edited = source, None, None
        session.source_path = pictures.shown(source.image, session.path("source.png"))
        self.sessions.trim(session, before)
        yield {
            "picture": (session.source_path, session.source_path),
            "line": line("done", f"*{seconds(source.seconds)}", f" for the source — {held(source)}"),
            "look": {},
        }
        return True

    def run_edit(self, session: Session, clock: float) -> Updates:
        """Apply the session's controls to its source."""
        self.engine.wait()
        source = session.source
        if source is None:
            yield {"line": line("error", "There is no source picture yet. Press Generate first.")}
            return
        reading = self.reading(session)
        if not reading.controls.prompt.strip():
            yield {**self._boards(reading), "line": line("error", "The edit prompt is empty. Say what you want.")}
            return
        yield {**self._boards(reading), "line": line("busy", "editing …")}
        states = self.engine.p2p.stream(source, reading.edit)
        result = yield from self._run(session, states, clock, "editing", session.source_path)
        if result is None or session.outdated(clock):
            return
        yield self._finished(session, reading, result)

    def _finished(self, session: Session, reading: Reading, result: Any) -> Update:
        """Everything that a finished edit changes on the page."""
        before = session.sources()
        source = result.source
        session.result, session.edited = result, None
        name = "-".join(reading.controls.prompt.lower().split())[:40]
        name = "".join(c for c in name if c.isalnum() or c == "-").strip("-") or "edit"
        saved = result.save(session.path(f"{name}.png"))
        if not result.plan.changes_nothing:
            session.remember(
                Entry(
                    source=source,
                    source_path=session.source_path,
                    controls=reading.controls,
                    title=reading.controls.prompt,
                    thumb=pictures.data_uri(result.image, THUMB),
                    key=f"{source.key} {reading.key}",
                )
            )
        self.sessions.trim(session, before)
        run = {"computed": result.steps_computed, "total": result.steps_total}
        return {
            "picture": self.pair(session, reading.controls.region),
            "line": told(result),
            "timeline": {**reading.controls.timeline, "run": run},
            "history": shelf(session),
            "download": gr.update(value=str(saved), interactive=True),
            "look": self._stale(session, reading),
        }

    def _stale(self, session: Session, reading: Reading) -> dict[str, Any]:
        """The picked word's look after a new edit: the edit's map is drawn when it is asked for."""
        for update in views(self, session, 0, edit=False):
            return update["look"]
        return {}

    def _run(
        self, session: Session, states: Any, clock: float, doing: str, before: str | None
    ) -> Generator[Update, None, Any]:
        """Run a generator of states with previews. Its result, or None if the page wants something else."""
        p2p, last, index, total = self.engine.p2p, 0.0, 0, 0
        try:
            while True:
                if session.outdated(clock):
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
        steps = controls.timeline["steps"] if source is None else source.steps
        reading = read(self.engine, text, controls, steps)
        session.controls = reading.controls
        return reading

    def _boards(self, reading: Reading) -> Update:
        """The boards that follow the words."""
        return {
            "chips": {**chips(reading.plan), "notes": list(reading.plan.notes)},
            "desk": reading.controls.desk,
            "region": reading.controls.region,
        }


def listed(examples: tuple[Example, ...]) -> list[dict[str, str]]:
    return [{"title": example.title, "hint": example.hint} for example in examples]


def example_controls(example: Example) -> Controls:
    """An example's edit as the page's controls."""
    names = dict.fromkeys(keys(example.prompt.replace(",", " ").split()))
    weights = {name: w for word, w in example.weights.items() for name in names if name.split("/")[0] == word}
    chosen = [name for name in names if name.rsplit("/", 1)[0] in example.region]
    windows = {"cross": list(example.cross), "self": list(example.self), "steps": example.steps}
    before = example.source.casefold().replace(",", " ").split()
    new = [name for name in names if name.rsplit("/", 1)[0] not in before]
    picked = next(iter([*chosen[-1:], *weights, *new[-1:]]), None)
    return Controls.fresh(
        example.prompt,
        desk={"words": [], "weights": weights, "picked": picked},
        timeline=Timeline.clean(windows),
        region=Region.clean({"chosen": chosen}),
    )


def held(source: Any) -> str:
    """Where a source's recorded attention lies and how much it is."""
    if source.where == "latents only":
        return f"source held as latents only, {megabytes(source.nbytes)}"
    return f"source in {source.where}, {megabytes(source.nbytes)}"


def told(result: Any) -> dict[str, Any]:
    """The honest line about a finished edit."""
    if result.plan.changes_nothing:
        return line("done", "This is the source itself — ", held(result.source))
    parts = [
        f"*{seconds(result.seconds)}",
        " — recomputed ",
        f"*{result.steps_computed}",
        f" of {result.steps_total} steps, {result.steps_reused} reused — {held(result.source)}",
    ]
    if result.mask is not None:
        parts.append(f" — region covers {float(result.mask.mean()):.0%} of the picture")
    return line("done", *parts)


def shelf(session: Session) -> dict[str, Any]:
    items = [{"src": entry.thumb, "title": entry.title} for entry in session.history]
    return {"items": items, "current": session.current, "clicked": None}


def _settings(source: Any) -> Update:
    return {
        "source_prompt": source.prompt.text,
        "seed": source.seed,
        "steps": source.steps,
        "guidance": source.guidance_scale,
        "negative": source.negative_prompt,
    }
