"""What the page does. Handlers are generators that yield {name of a component: its new value}.

None of them raises: what goes wrong becomes a sentence in the line.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from p2p_core import Edit, P2PError, load_recipe

from .components.line import line
from .components.region import RegionValue
from .controls import Controls, controls_of, example_controls, read
from .engine import Engine, NotReady
from .examples import PAPER_WALK, WALK, examples_for
from .guards import queued, reports_errors, settles
from .messages import PAGE_FREED
from .runner import Runner, Updates
from .session_storage import load_page
from .sessions import NEVER, Session, Sessions
from .tabs.attention import AttentionTab
from .tabs.explore import ExploreTab
from .tabs.paint import PaintTab
from .tabs.recipes import RecipesTab
from .tabs.your_picture import YourPictureTab
from .views import boards, examples_value, history_value, source_settings
from .wish import Wish

NOT_DRAWN = "This edit is from before the page was loaded again. Click it once, then it can be compared."
WAITING = "waiting for the model …"
OPEN_CHECK_SECONDS = 1.0  # between two looks whether a page is still open


class Handlers:
    """The page's handlers, for one engine and all sessions; those of its tabs are its attributes."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self.engine, self.sessions = engine, sessions
        self.runner = Runner(engine, sessions)
        self.examples = examples_for(engine.bundled, engine.steps)
        self.attention = AttentionTab(self.runner)
        self.explore = ExploreTab(self.runner)
        self.your_picture = YourPictureTab(self.runner)
        self.paint = PaintTab(self.runner)
        self.recipes = RecipesTab(self.runner, self.your_picture)

    # --- the page opens and closes ------------------------------------------------------------------

    @reports_errors
    def start(self, wish: Wish) -> Updates:
        """Says how far the model is, until it is there."""
        wish.session.opening = True
        last = None
        ready = False
        while not ready:
            try:
                ready = self.engine.wait(0.25)
            except NotReady:
                yield {"status": self.engine.status()}
                raise
            status = self.engine.status()
            if status != last:
                last = status
                yield {"status": status}
        yield from self._refresh(wish)

    @queued("source")
    def first(self, wish: Wish) -> Updates:
        """What the tab showed before it was loaded again, else the first example, so that the page opens with
        a picture. Larger models wait to be asked."""
        session = wish.session
        try:
            if self.engine.ready and session.source is None:
                yield from self._first(session, wish.values["storage"] or "", wish.clock)
        finally:
            session.opening = False

    def _first(self, session: Session, storage: str, clock: float) -> Updates:
        if storage:
            try:
                data = json.loads(storage)
                recipe = load_recipe(data)
                levers, session.history = load_page(data)
                yield from self.recipes.restore(session, recipe, clock, levers)
                return
            except (ValueError, RecursionError, P2PError):  # of an older version, say
                pass
        if self.engine.bundled:
            yield from self._example(session, 0, clock)
        else:
            yield {"line": line("idle", "Press Generate, or pick an example.")}

    async def stay(
        self, session: Session, has_left: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[None]:
        """Under way as long as the page is open; changes nothing on it. has_left: the page is gone."""
        session.open += 1
        try:
            while not session.closed and not has_left():
                await asyncio.sleep(OPEN_CHECK_SECONDS)
        finally:
            session.open -= 1
        yield

    # --- wishes, heard at once -----------------------------------------------------------------------

    def touch(self, wish: Wish) -> dict[str, Any] | None:
        """The page wants something new: an edit that runs for it stops at its next step. Gives a line."""
        wish.session.want(wish.clock)
        if wish.clock > wish.session.seen_at:
            wish.session.see(wish.controls, wish.clock)
        return None if self.engine.ready else line("busy", WAITING)

    def renew(self, wish: Wish) -> dict[str, Any] | None:
        """The page wants another source: whatever runs for it stops at its next step. Gives a line."""
        wish.session.renew(wish.clock)
        return None if self.engine.ready else line("busy", WAITING)

    def glance(self, wish: Wish) -> None:
        """The page wants to see where a word looks: an earlier map of it is left."""
        wish.session.glance(wish.clock)

    def stop(self, wish: Wish) -> None:
        wish.session.stop(wish.clock)

    @reports_errors
    def refresh(self, wish: Wish) -> Updates:
        """As you type: how the prompts align, and the boards for the new words. Runs no model."""
        yield from self._refresh(wish)

    def _refresh(self, wish: Wish) -> Updates:
        session, seen = wish.session, wish.controls
        session.see(seen, wish.clock)
        if self.engine.ready and session.controls is seen:
            yield boards(session, self.runner.reading(session), seen)

    # --- runs ---------------------------------------------------------------------------------------

    @queued("source")
    def generate(self, wish: Wish) -> Updates:
        """A new source; the edit that the page holds is applied to it."""
        session, values = wish.session, wish.values
        old, before = session.source, session.controls or Controls()
        prompt = values["source_prompt"]
        settings = {
            "prompt": prompt,
            "seed": values["seed"],
            "steps": values["steps"],
            "guidance_scale": values["guidance"],
            "negative_prompt": values["negative"] or "",
        }
        if not (yield from self.runner.run_generated(session, settings, wish.clock)):
            return
        controls = session.controls or before
        follows = old is not None and old.prompt.text != prompt and controls.prompt == before.prompt
        if not controls.prompt.strip() or follows:  # unless somebody has typed meanwhile
            auto = controls.timeline.replace(auto=True, words={})
            session.controls = Controls(prompt, controls.desk, auto, RegionValue(auto=True))
            yield {"prompt": prompt}
        yield from self.runner.run_edit(session, wish.clock)

    @settles
    def edit(self, wish: Wish) -> Updates:
        """Apply the edit to the source, once a source that is under way is there."""
        session, seen = wish.session, wish.controls
        session.see(seen, wish.clock)
        run = self._edit(session, wish.clock, seen)
        yield from self.runner.in_turn(session, wish.clock, run, dragged=seen.prompt)

    def _edit(self, session: Session, clock: float, seen: Controls) -> Updates:
        # while it waited, a new source may have set the controls
        known = seen if session.controls is seen else None
        yield from self.runner.run_edit(session, clock, known, dragged=seen.prompt)

    @settles
    def read_weights(self, wish: Wish) -> Updates:
        """The weights that are written into the prompt, as faders."""
        session, seen = wish.session, wish.controls
        edit = Edit.from_weighted(seen.prompt)
        source = edit.prompt if session.source is None else session.source.prompt.text
        found, notes = controls_of(self.engine, source, edit, seen.timeline.steps)
        desk = seen.desk.replace(weights={**seen.desk.weights, **found.desk.weights})
        session.see(replace(seen, prompt=edit.prompt, desk=desk), wish.clock)
        yield {"prompt": edit.prompt}
        yield from self.runner.in_turn(session, wish.clock, self.runner.run_edit(session, wish.clock))
        if notes and not session.outdated(wish.clock):
            yield {"line": line("done", *notes)}

    @queued("source")
    def example(self, wish: Wish) -> Updates:
        """Run an example as it stands."""
        n = wish.values["examples"].clicked
        if n is not None and 0 <= n < len(self.examples):
            yield from self._example(wish.session, n, wish.clock)

    @queued("source")
    def recall(self, wish: Wish) -> Updates:
        """Back to an earlier edit: its source, its controls, its picture."""
        session, n = wish.session, wish.values["history"].clicked
        if n is None or not 0 <= n < len(session.history):
            gone = PAGE_FREED if session.freed else "This edit is no longer in the history."
            yield {"line": line("error", gone), "history": history_value(session)}
            return
        entry = session.history[n]
        if entry.source is None:  # the page was loaded again since
            recipe = load_recipe(entry.recipe)
            restored = yield from self.recipes.restore(session, recipe, wish.clock, entry.levers)
            if restored and session.current != n:
                session.history[n] = session.history.pop()
                session.current = n
                yield {"history": history_value(session)}
            return
        self.runner.set_source(session, entry.source, entry.source_path)
        controls = entry.controls
        session.controls, session.exact_edit = controls, entry.exact_edit
        yield {
            "prompt": controls.prompt,
            "timeline": controls.timeline,
            **source_settings(entry.source),
            **self.your_picture.controls_of(session, entry.source),
        }
        yield from self.runner.run_edit(session, wish.clock)

    @reports_errors
    def compare(self, wish: Wish) -> Updates:
        """Another edit beside the one that is shown, instead of the source."""
        session, n = wish.session, wish.values["history"].against
        shown = self.runner.pair(session)
        if shown is None:
            return
        if n is None or session.current is None or not 0 <= n < len(session.history):
            yield {"picture": shown, "history": history_value(session)}
            return
        other = session.history[n]
        if not other.path:
            yield {"line": line("error", NOT_DRAWN), "history": history_value(session)}
            return
        yield {
            "picture": shown._replace(
                before=other.path,
                names=("the other edit", shown.names[1]),
                texts=(other.title, shown.texts[1]),
            ),
            "history": history_value(session, against=n),
            "line": line("done", "left: ", f"*{other.title}", " \u2014 right: the edit that is shown"),
        }

    @queued("source")
    def walk(self, wish: Wish) -> Updates:
        """A step of the guide: its example, and the next step unlocks."""
        session, guide = wish.session, wish.values["guide"]
        n = guide.clicked
        if n is None or not 0 <= n < len(WALK):
            return
        titles = [example.title for example in self.examples]
        title = WALK[n].example if self.engine.bundled else PAPER_WALK[n]
        yield from self._example(session, titles.index(title), wish.clock)
        if session.source is not None and not session.outdated(wish.clock, "source"):
            yield {"guide": guide.replace(done=[done or i == n for i, done in enumerate(guide.done)])}

    def _example(self, session: Session, n: int, clock: float) -> Updates:
        example = self.examples[n]
        moved = session.opening and session.wanted_at > NEVER  # somebody was quicker than the first picture
        controls = (session.controls if moved else None) or example_controls(example)
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
            "examples": examples_value(self.examples, n),
            **boards(session, reading),
        }
        source = session.source
        made = source is not None and settings.items() <= source.to_dict().items()
        if not made and not (yield from self.runner.run_generated(session, settings, clock)):
            return
        if n == 0 and self.engine.bundled:
            self.sessions.open_with(session.source)
        yield from self.runner.run_edit(session, clock)
