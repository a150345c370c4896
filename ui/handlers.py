"""What the page does. Handlers are generators that yield {name of a component: its new value}.

None of them raises: what goes wrong becomes a sentence in the line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from .controls import Controls, example_controls
from .engine import Engine, NotReady
from .examples import examples_for
from .looks import LookHandlers
from .runs import Runs, Updates, sentences
from .sessions import Session, Sessions
from .telling import listed, settings_of
from .widgets import line


class Handlers(LookHandlers, Runs):
    """The page's handlers, for one engine and all sessions."""

    pick = sentences(LookHandlers.pick)
    look = sentences(LookHandlers.look)
    only_there = sentences(LookHandlers.only_there)
    show_region = sentences(LookHandlers.show_region)
    maps = sentences(LookHandlers.maps)

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
    ) -> Any:
        """The page wants something new: whatever runs for it stops at its next step."""
        session = self.sessions.get(request.session_hash)
        session.controls = Controls(prompt, desk, timeline, region)
        session.want(clock)
        if not self.engine.ready:
            return line("busy", "waiting for the model …")
        if self.running not in (None, session.key):
            return line("busy", "waiting for another visitor's run …")
        return gr.skip()

    def stop(self, clock: float, request: gr.Request) -> None:
        self.sessions.get(request.session_hash).stop(clock)

    @sentences
    def refresh(self, prompt: str, desk: dict, timeline: dict, region: dict, request: gr.Request) -> Updates:
        """As you type: how the prompts align, and the boards for the new words. Runs no model."""
        if not self.engine.ready:
            return
        session = self.sessions.get(request.session_hash)
        seen = session.controls = Controls(prompt, desk, timeline, region)
        yield self._boards(session, self.reading(session), seen)

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
        if not (yield from self.run_source(session, settings, clock)):
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
        seen = session.controls = Controls(prompt, desk, timeline, region)
        yield from self.run_edit(session, clock, seen)

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
        controls = entry.controls
        yield {"prompt": controls.prompt, "timeline": controls.timeline, **settings_of(entry.source)}
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
            if not (yield from self.run_source(session, settings, clock)):
                return
        yield from self.run_edit(session, clock)
