"""Take away and bring back: the recipe as JSON, as Python lines, and a file that restores it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from ..components.widgets import line
from ..controls import of_edit, read
from ..messages import settings_of
from ..sessions import Session

LARGEST = 10_000_000  # bytes of a file that is brought back


def python_lines(recipe: Any) -> str:
    """A program that makes the picture of a recipe again."""
    skipped = ("prompt", "picture")
    settings = {k: v for k, v in recipe.source.items() if k not in skipped and v not in ("", None)}
    arguments = "".join(f", {name}={value!r}" for name, value in settings.items())
    prompt = repr(recipe.source["prompt"])
    made = f"source = p2p.generate({prompt}{arguments})"
    if "picture" in recipe.source:
        made = f'source = p2p.invert("your-picture.png", {prompt}{arguments})'
    lines = [
        "from p2p_core import Edit, PromptToPrompt",
        "",
        f"p2p = PromptToPrompt.from_pretrained({recipe.model!r})",
        made,
    ]
    for number, edit in enumerate(recipe.edits):
        if number:
            lines.append("source = result.as_source()")
        lines.append(
            f"result = p2p.edit(source, Edit.from_json({json.dumps(edit.to_dict(), ensure_ascii=False)!r}))"
        )
    lines.append('result.save("edit.png")')
    return "\n".join(lines) + "\n"


class TakeHandlers:
    """Handlers about recipes. Mixed into the runs."""

    def recipe(self: Any, request: gr.Request) -> Any:
        """The recipe of what the page shows, as text."""
        session = self.sessions.get(request.session_hash)
        if session.result is None:
            yield {"recipe_json": "", "recipe_python": "# There is no picture yet. Press Generate first.\n"}
            return
        recipe = self.engine.core.recipe_of(session.result)
        text = json.dumps(recipe.to_dict(), ensure_ascii=False, indent=2)
        yield {"recipe_json": text, "recipe_python": python_lines(recipe)}

    def bring(self: Any, path: str | None, clock: float, request: gr.Request) -> Any:
        """A PNG or JSON file was dropped: everything as it was when it was saved."""
        if not path:
            return
        file = Path(path)
        if file.stat().st_size > LARGEST:
            yield {
                "line": line("error", f"A recipe's file has at most {LARGEST // 10**6} MB."),
                "bring": None,
            }
            return
        self.engine.wait()
        yield {"bring": None}
        yield from self.restore(request, file, clock)

    def paste(self: Any, text: str, clock: float, request: gr.Request) -> Any:
        """The recipe's text was changed or pasted, and is to be run."""
        try:
            data = json.loads(text or "")
        except (ValueError, RecursionError) as error:
            yield {"line": line("error", f"The recipe is not JSON ({error}).")}
            return
        self.engine.wait()
        yield from self.restore(request, data, clock)

    def restore(self: Any, request: gr.Request, given: Any, clock: float) -> Iterator[dict[str, Any]]:
        """Run a recipe and set every control as it says."""
        session = self.sessions.get(request.session_hash)
        recipe = self.engine.core.load_recipe(given)
        yield from self.restored(session, recipe, clock)

    def restored(
        self: Any, session: Session, recipe: Any, clock: float, levers: dict[str, Any] | None = None
    ) -> Generator[dict[str, Any], None, bool]:
        """False if the page wanted something else meanwhile. levers: of the desk, where they are known."""
        notes = []
        if recipe.model and recipe.model != self.engine.model:
            notes.append(f"It was made with {recipe.model}; this is {self.engine.model}.")
        states = self.engine.p2p.recording_of(recipe)
        prompt = [recipe.source["prompt"], *(edit.prompt for edit in recipe.edits)][-2]
        steps = recipe.source.get("steps", 50)
        controls, said = of_edit(self.engine, prompt, recipe.edit, steps)
        reading = read(self.engine, prompt, controls, steps)
        if levers is not None:
            desk = {**controls.desk, **levers}
            known = read(self.engine, prompt, replace(controls, desk=desk), steps)
            reading = known if known.key == reading.key else reading
        session.controls = reading.controls
        yield {"prompt": controls.prompt, **self._boards(session, reading, None)}
        if not (yield from self.run_source(session, states, clock)):
            return False
        if session.source.inversion is not None:
            yield {**self.came_back(session), **self.as_inverted(session)}
        for edit in recipe.edits[:-1]:
            states = self.engine.p2p.stream(session.source, edit)
            doing = "an earlier edit"
            result = yield from self._run(session, states, clock, doing, session.source_path, "source")
            if result is None:
                return False
            self.have(session, result.as_source())
        if reading.key != recipe.edit.to_json():  # something in it that no control shows
            session.exact = (reading.key, recipe.edit)
        yield settings_of(session.source)
        yield from self.run_edit(session, clock)
        if notes + said and not session.outdated(clock):
            yield {"line": line("done", " ".join(["Restored.", *notes, *said]))}
        return True

    def next_source(self: Any, clock: float, request: gr.Request) -> Any:
        """The edit that is shown becomes the source of the next one."""
        session = self.sessions.get(request.session_hash)
        result = session.result
        if result is None or result.plan.changes_nothing:
            yield {
                "line": line("error", "There is no edit to take as the source; this is the source itself.")
            }
            return
        self.have(session, result.as_source())
        text = session.source.prompt.text
        session.controls = session.controls.__class__.fresh(
            text, timeline={**session.controls.timeline, "words": {}, "run": None}
        )
        yield {**settings_of(session.source), "prompt": text, "timeline": session.controls.timeline}
        yield from self.run_edit(session, clock)
        if not session.outdated(clock):
            yield {"line": line("done", "This edit is the source now. Change its prompt or its faders.")}
