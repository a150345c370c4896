"""What the page does. Handlers are generators that yield {name of a component: its new value}.

None of them raises: what goes wrong becomes a sentence in the line.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import gradio as gr

from .components.widgets import line
from .controls import Controls, example_controls, read
from .engine import Engine, NotReady
from .examples import PAPER_WALK, WALK, examples_for
from .messages import listed, settings_of, shelf
from .runner import GONE, Runs, Updates, device, sentences, tidy
from .session_storage import remembered
from .sessions import NEVER, Session, Sessions
from .tabs.attention import LookHandlers
from .tabs.explore import ExploreHandlers
from .tabs.paint import PaintHandlers
from .tabs.recipes import TakeHandlers
from .tabs.your_picture import YoursHandlers

LOADED = "This edit is from before the page was loaded again. Click it once, then it can be compared."
STAY = 1.0  # seconds between two looks whether a page is still open


class Handlers(LookHandlers, ExploreHandlers, TakeHandlers, PaintHandlers, YoursHandlers, Runs):
    """The page's handlers, for one engine and all sessions."""

    pick = tidy(LookHandlers.pick)
    look = tidy(LookHandlers.look)
    only_there = device("edit")(LookHandlers.only_there)
    show_region = sentences(LookHandlers.show_region)
    maps = tidy(LookHandlers.maps)
    offer = sentences(ExploreHandlers.offer)
    explore = tidy(ExploreHandlers.explore)
    take = device("source")(ExploreHandlers.take)
    recipe = sentences(TakeHandlers.recipe)
    bring = device("source")(TakeHandlers.bring)
    paste = device("source")(TakeHandlers.paste)
    next_source = device("source")(TakeHandlers.next_source)
    described = sentences(YoursHandlers.described)
    chosen = sentences(YoursHandlers.chosen)
    cropped = sentences(YoursHandlers.cropped)
    example_of_yours = device("source")(YoursHandlers.example_of_yours)
    invert = device("source")(YoursHandlers.invert)
    open_painting = sentences(PaintHandlers.open_painting)
    close_painting = sentences(PaintHandlers.close_painting)
    use_painting = device("edit")(PaintHandlers.use_painting)
    wipe_painting = device("edit")(PaintHandlers.wipe_painting)

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        super().__init__(engine, sessions)
        self.examples = examples_for(engine.bundled, engine.steps)

    # --- the page opens and closes ------------------------------------------------------------------

    @sentences
    def start(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Says how far the model is, until it is there."""
        self.sessions.get(request.session_hash).opening = True
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
        yield from self.refresh(prompt, desk, timeline, region, clock, request)

    @device("source")
    def first(self, kept: str, clock: float, request: gr.Request) -> Updates:
        """What the tab showed before it was loaded again, else the first example, so that the page opens with
        a picture. Larger models wait to be asked."""
        session = self.sessions.get(request.session_hash)
        try:
            if self.engine.ready and session.source is None:
                yield from self._first(session, kept, clock)
        finally:
            session.opening = False

    def _first(self, session: Session, kept: str, clock: float) -> Updates:
        if kept:
            try:
                data = json.loads(kept)
                recipe = self.engine.core.load_recipe(data)
                levers, session.history = remembered(data)
                yield from self.restored(session, recipe, clock, levers)
                return
            except (ValueError, RecursionError, self.engine.core.P2PError):  # of an older version, say
                pass
        if self.engine.bundled:
            yield from self._example(session, 0, clock)
        else:
            yield {"line": line("idle", "Press Generate, or pick an example.")}

    async def stay(self, request: gr.Request) -> AsyncIterator[None]:
        """Under way as long as the page is open; changes nothing on it."""
        session = self.sessions.get(request.session_hash)
        while not session.closed:
            await asyncio.sleep(STAY)
        yield

    def close(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.sessions.close(request.session_hash)

    # --- wishes -------------------------------------------------------------------------------------

    def touch(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Any:
        """The page wants something new: an edit that runs for it stops at its next step."""
        session = self.sessions.get(request.session_hash)
        session.want(clock)
        if clock > session.seen:
            session.see(self._held(session, prompt, desk, timeline, region), clock)
        return gr.skip() if self.engine.ready else line("busy", "waiting for the model …")

    def renew(self, clock: float, request: gr.Request) -> Any:
        """The page wants another source: whatever runs for it stops at its next step."""
        self.sessions.get(request.session_hash).renew(clock)
        return gr.skip() if self.engine.ready else line("busy", "waiting for the model …")

    def glance(self, clock: float, request: gr.Request) -> None:
        """The page wants to see where a word looks: an earlier map of it is left."""
        session = self.sessions.get(request.session_hash)
        session.looked = max(session.looked, clock)

    def stop(self, clock: float, request: gr.Request) -> None:
        self.sessions.get(request.session_hash).stop(clock)

    @sentences
    def refresh(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """As you type: how the prompts align, and the boards for the new words. Runs no model."""
        session = self.sessions.get(request.session_hash)
        seen = self._held(session, prompt, desk, timeline, region)
        session.see(seen, clock)
        if self.engine.ready and session.controls is seen:
            yield self._boards(session, self.reading(session), seen)

    def _held(self, session: Session, prompt: str, desk: dict, timeline: dict, region: dict) -> Controls:
        """The page's controls, with what no control shows."""
        return Controls(prompt, desk, timeline, region, session.controls.extra if session.controls else {})

    # --- runs ---------------------------------------------------------------------------------------

    @device("source")
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
        old, meant = session.source, session.controls or Controls.fresh()
        settings = {
            "prompt": prompt,
            "seed": seed,
            "steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative or "",
        }
        if not (yield from self.run_generated(session, settings, clock)):
            return
        controls = session.controls or meant
        follows = old is not None and old.prompt.text != prompt and controls.prompt == meant.prompt
        if not controls.prompt.strip() or follows:  # unless somebody has typed meanwhile
            session.controls = replace(controls, prompt=prompt)
            yield {"prompt": prompt}
        yield from self.run_edit(session, clock)

    @tidy
    def edit(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Apply the edit to the source, once a source that is under way is there."""
        session = self.sessions.get(request.session_hash)
        seen = self._held(session, prompt, desk, timeline, region)
        session.see(seen, clock)
        yield from self.in_turn(session, clock, self._edit(session, clock, seen))

    def _edit(self, session: Session, clock: float, seen: Controls) -> Updates:
        # while it waited, a new source may have set the controls
        yield from self.run_edit(session, clock, seen if session.controls is seen else None)

    def edit_with(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Apply an edit, for handlers that have their turn already."""
        session = self.sessions.get(request.session_hash)
        seen = self._held(session, prompt, desk, timeline, region)
        session.see(seen, clock)
        yield from self.run_edit(session, clock, seen)

    @device("source")
    def example(self, examples: dict, clock: float, request: gr.Request) -> Updates:
        """Run an example as it stands."""
        n = examples["clicked"]
        if n is not None and 0 <= n < len(self.examples):
            yield from self._example(self.sessions.get(request.session_hash), n, clock)

    @device("source")
    def recall(self, history: dict, clock: float, request: gr.Request) -> Updates:
        """Back to an earlier edit: its source, its controls, its picture."""
        session = self.sessions.get(request.session_hash)
        n = history["clicked"]
        if n is None or not 0 <= n < len(session.history):
            gone = GONE if session.lost else "This edit is no longer in the history."
            yield {"line": line("error", gone), "history": shelf(session)}
            return
        entry = session.history[n]
        if entry.source is None:  # the page was loaded again since
            recipe = self.engine.core.load_recipe(entry.recipe)
            if (yield from self.restored(session, recipe, clock, entry.levers)) and session.current != n:
                session.history[n] = session.history.pop()
                session.current = n
                yield {"history": shelf(session)}
            return
        self.have(session, entry.source, entry.source_path)
        session.controls, session.exact = entry.controls, entry.exact
        controls = entry.controls
        yield {"prompt": controls.prompt, "timeline": controls.timeline, **settings_of(entry.source)}
        if entry.source.inversion is not None:
            yield {**self.came_back(session), **self.as_inverted(session)}
        yield from self.run_edit(session, clock)

    @sentences
    def compare(self, history: dict, clock: float, request: gr.Request) -> Updates:
        """Another edit beside the one that is shown, instead of the source."""
        session = self.sessions.get(request.session_hash)
        n, mine = history["against"], session.current
        shown = self.pair(session, session.controls.region) if session.controls else None
        if shown is None:
            return
        if n is not None and 0 <= n < len(session.history) and not session.history[n].path:
            yield {"line": line("error", LOADED), "history": {**shelf(session), "against": None}}
            return
        if n is None or mine is None or not 0 <= n < len(session.history):
            yield {"picture": shown, "history": {**shelf(session), "against": None}}
            return
        yield {
            "picture": (session.history[n].path, shown[1]),
            "history": {**shelf(session), "against": n},
            "line": line(
                "done", "left: ", f"*{session.history[n].title}", " \u2014 right: the edit that is shown"
            ),
        }

    @device("source")
    def walk(self, guide: dict, clock: float, request: gr.Request) -> Updates:
        """A step of the guide: its example, and the next step unlocks."""
        n = guide["clicked"]
        if n is None or not 0 <= n < len(WALK):
            return
        session = self.sessions.get(request.session_hash)
        titles = [example.title for example in self.examples]
        title = WALK[n].example if self.engine.bundled else PAPER_WALK[n]
        yield from self._example(session, titles.index(title), clock)
        if session.source is not None and not session.outdated(clock, "source"):
            done = [flag or i == n for i, flag in enumerate(guide["done"])]
            yield {"guide": {**guide, "done": done}}

    # --- parts --------------------------------------------------------------------------------------

    def _example(self, session: Session, n: int, clock: float) -> Updates:
        example = self.examples[n]
        first = session.opening and session.wanted > NEVER  # somebody was quicker than the first picture
        controls = session.controls if first else example_controls(example)
        reading = read(self.engine, example.source, controls, example.steps)
        session.controls = reading.controls
        settings = {
            "prompt": example.source,
            "seed": example.seed,
            "steps": example.steps,
            "guidance_scale": self.engine.guidance,
            "negative_prompt": "",
        }
        yield {
            "source_tabs": gr.update(selected="words"),
            "source_prompt": example.source,
            "seed": example.seed,
            "steps": example.steps,
            "guidance": self.engine.guidance,
            "negative": "",
            "prompt": reading.controls.prompt,
            "examples": {"items": listed(self.examples), "clicked": n},
            **self._boards(session, reading, None),
        }
        have = session.source
        if have is None or any(have.to_dict()[name] != value for name, value in settings.items()):
            if not (yield from self.run_generated(session, settings, clock)):
                return
        if n == 0 and self.engine.bundled:
            self.sessions.opens_with(session.source)
        yield from self.run_edit(session, clock)
