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

from .controls import Controls, example_controls
from .engine import Engine, NotReady
from .examples import PAPER_WALK, WALK, examples_for
from .explore import ExploreHandlers
from .looks import LookHandlers
from .painting import PaintHandlers
from .runs import Runs, Updates, device, sentences
from .sessions import Session, Sessions
from .takeaway import TakeHandlers
from .telling import listed, settings_of, shelf
from .widgets import line
from .yours import YoursHandlers

STAY = 1.0  # seconds between two looks whether a page is still open


class Handlers(LookHandlers, ExploreHandlers, TakeHandlers, PaintHandlers, YoursHandlers, Runs):
    """The page's handlers, for one engine and all sessions."""

    pick = sentences(device(LookHandlers.pick))
    look = sentences(device(LookHandlers.look))
    only_there = sentences(device(LookHandlers.only_there))
    show_region = sentences(LookHandlers.show_region)
    maps = sentences(device(LookHandlers.maps))
    offer = sentences(ExploreHandlers.offer)
    explore = sentences(device(ExploreHandlers.explore))
    take = sentences(device(ExploreHandlers.take))
    recipe = sentences(TakeHandlers.recipe)
    bring = sentences(device(TakeHandlers.bring))
    paste = sentences(device(TakeHandlers.paste))
    next_source = sentences(device(TakeHandlers.next_source))
    described = sentences(YoursHandlers.described)
    chosen = sentences(YoursHandlers.chosen)
    cropped = sentences(YoursHandlers.cropped)
    example_of_yours = sentences(device(YoursHandlers.example_of_yours))
    invert = sentences(device(YoursHandlers.invert))
    open_painting = sentences(PaintHandlers.open_painting)
    use_painting = sentences(device(PaintHandlers.use_painting))
    wipe_painting = sentences(device(PaintHandlers.wipe_painting))

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        super().__init__(engine, sessions)
        self.examples = examples_for(engine.bundled)

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
    @device
    def first(self, kept: str, clock: float, request: gr.Request) -> Updates:
        """What the tab showed before it was loaded again, else the first example, so that the page opens with
        a picture. Larger models wait to be asked."""
        session = self.sessions.get(request.session_hash)
        if self.engine.ready and kept and session.source is None:
            try:
                recipe = self.engine.core.load_recipe(json.loads(kept))
                yield from self.restored(session, recipe, clock)
                return
            except (ValueError, RecursionError, self.engine.core.P2PError):  # of an older version, say
                pass
        if self.engine.ready and self.engine.bundled and session.source is None:
            yield from self._example(session, 0, clock)
        elif self.engine.ready:
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
        """The page wants something new: whatever runs for it stops at its next step."""
        session = self.sessions.get(request.session_hash)
        extra = session.controls.extra if session.controls else {}
        session.controls = Controls(prompt, desk, timeline, region, extra)
        session.want(clock)
        if not self.engine.ready:
            return line("busy", "waiting for the model …")
        return gr.skip()

    def stop(self, clock: float, request: gr.Request) -> None:
        self.sessions.get(request.session_hash).stop(clock)

    @sentences
    def refresh(self, prompt: str, desk: dict, timeline: dict, region: dict, request: gr.Request) -> Updates:
        """As you type: how the prompts align, and the boards for the new words. Runs no model."""
        if not self.engine.ready:
            return
        session = self.sessions.get(request.session_hash)
        extra = session.controls.extra if session.controls else {}
        seen = session.controls = Controls(prompt, desk, timeline, region, extra)
        yield self._boards(session, self.reading(session), seen)

    # --- runs ---------------------------------------------------------------------------------------

    @sentences
    @device
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
            "seed": seed,
            "steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative or "",
        }
        states = self.engine.p2p.record(prompt, **settings)
        if not (yield from self.run_source(session, states, clock)):
            return
        controls = session.controls or Controls.fresh()
        if not controls.prompt.strip() or (old is not None and old.prompt.text != prompt):
            session.controls = replace(controls, prompt=prompt)
            yield {"prompt": prompt}
        yield from self.run_edit(session, clock)

    @sentences
    @device
    def edit(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Apply the edit to the source."""
        yield from self.edit_with(prompt, desk, timeline, region, clock, request)

    def edit_with(
        self, prompt: str, desk: dict, timeline: dict, region: dict, clock: float, request: gr.Request
    ) -> Updates:
        """Part of `edit`, for handlers that have their turn already."""
        session = self.sessions.get(request.session_hash)
        extra = session.controls.extra if session.controls else {}
        seen = session.controls = Controls(prompt, desk, timeline, region, extra)
        yield from self.run_edit(session, clock, seen)

    @sentences
    @device
    def example(self, examples: dict, clock: float, request: gr.Request) -> Updates:
        """Run an example as it stands."""
        n = examples["clicked"]
        if n is not None and 0 <= n < len(self.examples):
            yield from self._example(self.sessions.get(request.session_hash), n, clock)

    @sentences
    @device
    def recall(self, history: dict, clock: float, request: gr.Request) -> Updates:
        """Back to an earlier edit: its source, its controls, its picture."""
        session = self.sessions.get(request.session_hash)
        n = history["clicked"]
        if n is None or not 0 <= n < len(session.history):
            return
        entry = session.history[n]
        session.source, session.source_path = entry.source, entry.source_path
        session.controls = entry.controls
        controls = entry.controls
        yield {"prompt": controls.prompt, "timeline": controls.timeline, **settings_of(entry.source)}
        if entry.source.inversion is not None:
            yield {**self.came_back(session), **self.as_inverted(session)}
        yield from self.run_edit(session, clock)

    @sentences
    def compare(self, history: dict, request: gr.Request) -> Updates:
        """Another edit beside the one that is shown, instead of the source."""
        session = self.sessions.get(request.session_hash)
        n, mine = history["against"], session.current
        shown = self.pair(session, session.controls.region) if session.controls else None
        if shown is None:
            return
        if n is None or mine is None or not 0 <= n < len(session.history) or not session.history[n].path:
            yield {"picture": shown, "history": {**shelf(session), "against": None}}
            return
        yield {
            "picture": (session.history[n].path, shown[1]),
            "history": {**shelf(session), "against": n},
            "line": line(
                "done", "left: ", f"*{session.history[n].title}", " \u2014 right: the edit that is shown"
            ),
        }

    @sentences
    @device
    def walk(self, guide: dict, clock: float, request: gr.Request) -> Updates:
        """A step of the guide: its example, and the next step unlocks."""
        n = guide["clicked"]
        if n is None or not 0 <= n < len(WALK):
            return
        session = self.sessions.get(request.session_hash)
        titles = [example.title for example in self.examples]
        title = WALK[n].example if self.engine.bundled else PAPER_WALK[n]
        yield from self._example(session, titles.index(title), clock)
        if session.result is not None and not session.outdated(clock):
            done = [flag or i == n for i, flag in enumerate(guide["done"])]
            yield {"guide": {**guide, "done": done}}

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
            "source_tabs": gr.update(selected="words"),
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
            states = self.engine.p2p.record(**settings)
            if not (yield from self.run_source(session, states, clock)):
                return
        yield from self.run_edit(session, clock)
