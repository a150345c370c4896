"""Take away and bring back: the recipe as JSON, as Python lines, and a file that restores it."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2p_core import load_recipe

from ..components.line import line
from ..controls import Controls, controls_of, read
from ..guards import queued, reports_errors
from ..runner import Runner, Updates
from ..sessions import Session
from ..views import Update, boards, source_settings
from ..wish import Wish
from .your_picture import YourPictureTab

if TYPE_CHECKING:
    from p2p_core import Recipe

MAX_FILE_BYTES = 10_000_000
NO_RECIPE = "# There is no picture yet. Press Generate first.\n"
NO_EDIT = "There is no edit to take as the source; this is the source itself."


def python_lines(recipe: Recipe) -> str:
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
        text = json.dumps(edit.to_dict(), ensure_ascii=False)
        lines.append(f"result = p2p.edit(source, Edit.from_json({text!r}))")
    lines.append('result.save("edit.png")')
    return "\n".join(lines) + "\n"


class RecipesTab:
    """The handlers of the tab, and an edit as the next source."""

    def __init__(self, runner: Runner, your_picture: YourPictureTab) -> None:
        self.runner, self.your_picture = runner, your_picture

    @reports_errors
    def show(self, wish: Wish) -> Updates:
        """The recipe of what the page shows, as text."""
        if wish.session.result is None:
            yield {"recipe_json": "", "recipe_python": NO_RECIPE}
            return
        recipe = wish.session.result.recipe()
        text = json.dumps(recipe.to_dict(), ensure_ascii=False, indent=2)
        yield {"recipe_json": text, "recipe_python": python_lines(recipe)}

    @queued("source")
    def bring(self, wish: Wish) -> Updates:
        """A PNG or JSON file was dropped: everything as it was when it was saved."""
        path = wish.values["bring"]
        if not path:
            return
        file = Path(path)
        yield {"bring": None}
        if file.stat().st_size > MAX_FILE_BYTES:
            megabytes = MAX_FILE_BYTES // 10**6
            yield {"line": line("error", f"A recipe's file has at most {megabytes} MB.")}
            return
        recipe = load_recipe(file)
        yield from self.restore(wish.session, recipe, wish.clock)

    @queued("source")
    def paste(self, wish: Wish) -> Updates:
        """The recipe's text was changed or pasted, and is to be run."""
        try:
            data = json.loads(wish.values["recipe_json"] or "")
        except (ValueError, RecursionError) as error:
            yield {"line": line("error", f"The recipe is not JSON ({error}).")}
            return
        recipe = load_recipe(data)
        yield from self.restore(wish.session, recipe, wish.clock)

    def restore(
        self, session: Session, recipe: Recipe, clock: float, levers: Mapping[str, Any] | None = None
    ) -> Generator[Update, None, bool]:
        """Run a recipe and set every control as it says. False if the page wanted something else meanwhile.

        levers: of the desk, where they are known.
        """
        engine, runner = self.runner.engine, self.runner
        limits = runner.sessions.limits
        limits.check(recipe.source, engine.p2p.default_size, pictures=1 + len(recipe.edits))
        for edit in recipe.edits:
            limits.check_edit(edit)
        states = engine.p2p.iter_source_of(recipe)
        prompt = [recipe.source["prompt"], *(edit.prompt for edit in recipe.edits)][-2]
        steps = recipe.source.get("steps", 50)
        controls, lost = controls_of(engine, prompt, recipe.edit, steps)
        reading = read(engine, prompt, controls, steps)
        if levers is not None:
            desk = controls.desk.replace(**levers)
            other = read(engine, prompt, replace(controls, desk=desk), steps)
            reading = other if other.key == reading.key else reading
        session.controls = reading.controls
        yield {"prompt": controls.prompt, **boards(session, reading)}
        if not (yield from runner.run_source(session, states, clock)):
            return False
        if session.source is None:
            return False
        yield self.your_picture.controls_of(session, session.source)
        for edit in recipe.edits[:-1]:
            earlier = engine.p2p.iter_edit(session.source, edit)
            result = yield from runner.run_steps(
                session, earlier, clock, "an earlier edit", session.source_path, "source"
            )
            if result is None:
                return False
            runner.set_source(session, result.as_source())
        if reading.key != recipe.edit.to_json():  # something in it that no control shows
            session.exact_edit = (reading.key, recipe.edit)
        yield source_settings(session.source)
        yield from runner.run_edit(session, clock)
        notes = [*lost]
        if recipe.model and recipe.model not in (engine.model, engine.name):
            notes.insert(0, f"It was made with {recipe.model}; this is {engine.model}.")
        if notes and not session.outdated(clock):
            yield {"line": line("done", " ".join(["Restored.", *notes]))}
        return True

    @queued("source")
    def use_as_source(self, wish: Wish) -> Updates:
        """The edit that is shown becomes the source of the next one."""
        session = wish.session
        if session.result is None or not session.shows_edit:
            yield {"line": line("error", NO_EDIT)}
            return
        source = session.result.as_source()
        self.runner.set_source(session, source)
        text = source.prompt.text
        whole = (0.0, 1.0)  # The edit stays the source while all that was injected is injected again.
        timeline = (session.controls or Controls()).timeline
        timeline = timeline.replace(words={}, run=None, cross=whole, self=whole)
        session.controls = Controls(text, timeline=timeline)
        yield {**source_settings(source), "prompt": text, "timeline": timeline}
        yield from self.runner.run_edit(session, wish.clock)
        if not session.outdated(wish.clock):
            yield {
                "line": line(
                    "done",
                    "This edit is the source now, and all of its attention is injected. Change its prompt or "
                    "its faders; shorten the windows for more.",
                )
            }
