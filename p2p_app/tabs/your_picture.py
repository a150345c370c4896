"""Your picture: upload, describe, invert, and see how well it comes back before it is edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from p2p_core.images.load import open_picture

from .. import pictures
from ..components.compare import Pair
from ..components.line import line, seconds
from ..components.timeline import DEFAULT_STEPS
from ..controls import Controls, example_controls
from ..examples import YOURS, with_steps
from ..guards import queued, reports_errors
from ..messages import inversion_line
from ..runner import Runner, Updates
from ..sessions import Session
from ..views import Update, examples_value, source_settings
from ..wish import Wish

if TYPE_CHECKING:
    from p2p_core import Source

METHODS = {  # as the page says them -> the engine's name, UNet rows a step, what it is like
    "direct": ("direct", 2, "exact and quick: the picture itself is the source"),
    "aligned": ("aligned", 1, "exact, in half of direct's time: recorded on the way to noise"),
    "null-text": ("null_text", 32, "exact, guidance and all, but slow"),
    "negative prompt": ("negative_prompt", 3, "quick and close"),
    "DDIM": ("ddim", 3, "the paper's own way; guidance leads it away from the picture"),
}
ONE_ROW = ("direct", "aligned", "DDIM")  # those that need no unconditional row
NOT_SHOWN = (".tif", ".tiff", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm")  # by browsers
FITS = {"crop": "crop", "pad": "pad"}
HINT = "Name all that you want to edit: the thing, its colour, the place, the weather."
NO_PICTURE = "There is no picture yet. Drop one, paste it, or take one."
COMES_BACK = ("your picture", "your picture as the model gives it back")


def method_note(method: str, step_seconds: float | None, steps: int, rows_a_step: int = 2) -> str:
    """What a method is like, and about how long it takes here, by what a step of a picture takes."""
    _, rows, text = METHODS.get(method, METHODS["direct"])
    if step_seconds is None:
        return f"{text}."
    return f"{text}, about {seconds(max(0.1, rows / rows_a_step * steps * step_seconds))} here."


class YourPictureTab:
    """The handlers of the tab."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @reports_errors
    def describe_method(self, wish: Wish) -> Updates:
        """What a method costs, as it is chosen."""
        yield {"yours_note": self._note(wish.values["yours_method"], wish.values["steps"])}

    def _note(self, method: str, steps: Any) -> str:
        """About the method, and what a good description holds."""
        count = steps if isinstance(steps, (int, float)) else DEFAULT_STEPS
        engine = self.runner.engine
        return f"{method_note(method, engine.step_seconds, int(count), engine.rows)} {HINT}"

    @reports_errors
    def choose_picture(self, wish: Wish) -> Updates:
        """Another picture: the crop begins in its middle, and the old comparison goes. One that can't be read
        is said at once; of a kind that browsers don't show, the page gets a PNG."""
        picture = wish.values["yours_picture"]
        update: Update = {
            "yours_crop": crop_row(picture, wish.values["yours_fit"]),
            "yours_x": 0.5,
            "yours_y": 0.5,
            "yours_compare": gr.update(value=None, visible=False),
        }
        if picture:
            image = open_picture(picture)
            if Path(picture).suffix.lower() in NOT_SHOWN:
                shown = wish.session.path("picture.png")
                image.save(shown, compress_level=1)
                update["yours_picture"] = str(shown)
        yield update

    @reports_errors
    def choose_fit(self, wish: Wish) -> Updates:
        """The crop can be moved where there is one."""
        yield {"yours_crop": crop_row(wish.values["yours_picture"], wish.values["yours_fit"])}

    @queued("source")
    def invert(self, wish: Wish) -> Updates:
        """A picture becomes the source; the edit prompt begins as its description."""
        session, values, engine = wish.session, wish.values, self.runner.engine
        picture, text = values["yours_picture"], (values["yours_prompt"] or "").strip()
        if not picture:
            yield {"line": line("error", NO_PICTURE)}
            return
        if not text:
            yield {"line": line("error", f"Say what the picture shows first. {HINT}")}
            return
        method, rows, _ = METHODS.get(values["yours_method"], METHODS["direct"])
        size = engine.p2p.default_size
        self.runner.sessions.limits.check({"steps": values["steps"]}, size, pictures=rows / engine.rows)
        states = engine.p2p.iter_invert(
            picture,
            text,
            method=method,
            steps=values["steps"],
            guidance_scale=values["guidance"],
            negative_prompt=values["negative"] or "",
            fit=FITS.get(values["yours_fit"], "crop"),
            center=(values["yours_x"], values["yours_y"]),
        )
        if not (yield from self.runner.run_source(session, states, wish.clock, "inverting")):
            return
        source: Source | None = session.source
        if source is None:
            return
        session.uploads[source.key] = picture
        timeline = (session.controls or Controls()).timeline.replace(words={}, run=None)
        session.controls = Controls(text, timeline=timeline)
        yield {**self.comparison(session, source), **source_settings(source), "prompt": text}
        yield from self._edit(session, source, wish.clock, values["yours_method"])

    def _edit(self, session: Session, source: Source, clock: float, method: str) -> Updates:
        """The edit; at its end how well the picture came back, and what the method costs as measured."""
        report = inversion_line(source)
        for update in self.runner.run_edit(session, clock):
            end = update.get("line", {})
            if end.get("kind") == "done":
                end = {**end, "parts": report["parts"]}
                yield {**update, "line": end, "yours_note": self._note(method, source.steps)}
            else:
                yield update

    @queued("source")
    def run_example(self, wish: Wish) -> Updates:
        """A picture that comes with the app: inverted, and edited as the example says."""
        session, engine, n = wish.session, self.runner.engine, wish.values["yours_examples"].clicked
        if n is None or not 0 <= n < len(YOURS):
            return
        example = with_steps(YOURS, engine.steps)[n]
        session.controls = example_controls(example)
        path = str(pictures.path_of(example.picture))
        yield {
            "yours_picture": path,
            "yours_prompt": example.source,
            "yours_method": "direct",
            "yours_fit": "crop",
            "yours_x": 0.5,
            "yours_y": 0.5,
            "yours_crop": crop_row(path, "crop"),
            "steps": example.steps,
            "guidance": engine.guidance,
            "negative": "",
            "prompt": example.prompt,
            "yours_examples": examples_value(YOURS, n),
        }
        states = engine.p2p.iter_invert(
            path, example.source, steps=example.steps, guidance_scale=engine.guidance
        )
        if not (yield from self.runner.run_source(session, states, wish.clock, "inverting")):
            return
        source: Source | None = session.source
        if source is None:
            return
        session.uploads[source.key] = path
        yield self.comparison(session, source)
        yield from self._edit(session, source, wish.clock, "direct")

    def comparison(self, session: Session, source: Source) -> Update:
        """The picture beside what the model makes of it."""
        report: Any = source.inversion
        original = pictures.shown(report.picture, session.path("original.png"))
        pair = Pair(original, session.source_path, ("your picture", "as it comes back"), COMES_BACK)
        return {"yours_compare": gr.update(value=pair, visible=True)}

    def controls_of(self, session: Session, source: Source) -> Update:
        """The tab's controls as for this source: the file itself while it is there, else as it was fitted;
        and the picture beside what the model makes of it. Nothing for a source from words."""
        if source.inversion is None:
            return {}
        inverted = source
        while inverted.origin is not None:
            inverted = inverted.origin[0]
        report: Any = inverted.inversion
        path = session.uploads.get(inverted.key, "")
        if not path or not Path(path).is_file():
            path = str(session.path("picture.png"))
            report.picture.save(path)
            session.uploads[inverted.key] = path
        fit = next((name for name, value in FITS.items() if value == report.fit), "crop")
        method = next(name for name, (value, *_) in METHODS.items() if value == report.method)
        return {
            **self.comparison(session, source),
            "yours_picture": path,
            "yours_method": method,
            "yours_fit": fit,
            "yours_x": report.center[0],
            "yours_y": report.center[1],
            "yours_crop": crop_row(path, fit),
            "yours_note": self._note(method, inverted.steps),
        }


def crop_row(picture: str | None, fit: str) -> Any:
    """The crop's sliders, where there is a picture and something of it is cut off."""
    return gr.update(visible=bool(picture) and FITS.get(fit) == "crop")
