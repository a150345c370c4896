"""Your picture: upload, describe, invert, and see how well it comes back before it is edited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .. import pictures
from ..components.widgets import line, seconds
from ..controls import Controls, example_controls
from ..examples import YOURS, with_steps
from ..messages import inverted, listed, settings_of
from ..sessions import Session

METHODS = {  # as the page says them -> the engine's name, UNet rows a step, what it is like
    "direct": ("direct", 2, "exact and quick: the picture itself is the source"),
    "null-text": ("null_text", 32, "exact, guidance and all, but slow"),
    "negative prompt": ("negative_prompt", 3, "quick and close"),
    "DDIM": ("ddim", 3, "the paper's own way; guidance leads it away from the picture"),
}
FITS = {"crop": "crop", "pad": "pad"}
HINT = "Name all that you want to edit: the thing, its colour, the place, the weather."
ROWS = 2  # of the UNet in a step of a generated picture
WISH = (
    "yours_picture", "yours_prompt", "yours_method", "yours_fit", "yours_x", "yours_y",
    "steps", "guidance", "negative",
)  # fmt: skip


def note(method: str, a_step: float | None, steps: int) -> str:
    """What a method is like, and about how long it takes here."""
    _, rows, text = METHODS.get(method, METHODS["direct"])
    if a_step is None:
        return f"{text}."
    return f"{text}, about {seconds(max(0.1, rows / ROWS * steps * a_step))} here."


class Picture(gr.Image):
    """`gr.Image` that hands an upload over as it came.

    Gradio would decode it first: what is transparent would turn black, 16 bits would be cut off, and a broken
    file would raise where no sentence of ours is said.
    """

    is_template = True  # in the page it is a `gr.Image`

    def preprocess(self, payload: Any) -> Any:
        if payload is None or payload.path is None or (payload.url or "").startswith("data:"):
            return super().preprocess(payload)
        return payload.path


class YoursHandlers:
    """Handlers of the tab. Mixed into the runs."""

    def described(self: Any, method: str, steps: int, request: gr.Request) -> Any:
        """What a method costs, as it is chosen."""
        yield {"yours_note": self.costs(method, steps)}

    def costs(self: Any, method: str, steps: Any) -> str:
        """About the method, and what a good description holds."""
        known = steps if isinstance(steps, (int, float)) else 30
        return f"{note(method, self.engine.a_step, known)} {HINT}"

    def chosen(self: Any, picture: str | None, fit: str) -> Any:
        """Another picture: the crop begins in its middle, and the old comparison goes."""
        yield {
            "yours_crop": crop_row(picture, fit),
            "yours_x": 0.5,
            "yours_y": 0.5,
            "yours_compare": gr.update(value=None, visible=False),
        }

    def cropped(self: Any, picture: str | None, fit: str) -> Any:
        """The crop can be moved where there is one."""
        yield {"yours_crop": crop_row(picture, fit)}

    def invert(self: Any, wish: dict[str, Any], clock: float, request: gr.Request) -> Any:
        """A picture becomes the source; the edit prompt begins as its description."""
        session = self.sessions.get(request.session_hash)
        if not wish["yours_picture"]:
            yield {"line": line("error", "There is no picture yet. Drop one, paste it, or take one.")}
            return
        text = (wish["yours_prompt"] or "").strip()
        if not text:
            yield {"line": line("error", f"Say what the picture shows first. {HINT}")}
            return
        self.engine.wait()
        states = self.engine.p2p.inverting(
            wish["yours_picture"],
            text,
            method=METHODS.get(wish["yours_method"], METHODS["direct"])[0],
            steps=wish["steps"],
            guidance_scale=wish["guidance"],
            negative_prompt=wish["negative"] or "",
            fit=FITS.get(wish["yours_fit"], "crop"),
            center=(wish["yours_x"], wish["yours_y"]),
        )
        if not (yield from self.run_source(session, states, clock, "inverting")):
            return
        session.uploads[session.source.key] = wish["yours_picture"]
        said = inverted(session.source)
        before = session.controls or Controls.fresh()
        session.controls = Controls.fresh(text, timeline={**before.timeline, "words": {}, "run": None})
        yield {**self.came_back(session), **settings_of(session.source), "prompt": text}
        yield from self.summed_up(session, clock, said, wish["yours_method"])

    def summed_up(
        self: Any, session: Session, clock: float, said: dict[str, Any], method: str
    ) -> Iterator[dict[str, Any]]:
        """The edit; at its end how well the picture came back, and what that costs, now that it is known."""
        for update in self.run_edit(session, clock):
            its = update.get("line", {})
            if its.get("kind") == "done":
                told = {"line": {**its, "parts": said["parts"]}}
                yield {**update, **told, "yours_note": self.costs(method, session.source.steps)}
            else:
                yield update

    def example_of_yours(self: Any, examples: dict, clock: float, request: gr.Request) -> Any:
        """A picture that comes with the app: inverted, and edited as the example says."""
        n = examples["clicked"]
        if n is None or not 0 <= n < len(YOURS):
            return
        self.engine.wait()
        example = with_steps(YOURS, self.engine.steps)[n]
        session = self.sessions.get(request.session_hash)
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
            "guidance": self.engine.guidance,
            "negative": "",
            "prompt": example.prompt,
            "yours_examples": {"items": listed(YOURS), "clicked": n},
        }
        settings = {"steps": example.steps, "guidance_scale": self.engine.guidance}
        states = self.engine.p2p.inverting(path, example.source, **settings)
        if not (yield from self.run_source(session, states, clock, "inverting")):
            return
        session.uploads[session.source.key] = path
        said = inverted(session.source)
        yield self.came_back(session)
        yield from self.summed_up(session, clock, said, "direct")

    def came_back(self: Any, session: Session) -> dict[str, Any]:
        """The picture beside what the model makes of it."""
        original = pictures.shown(session.source.inversion.picture, session.path("original.png"))
        return {"yours_compare": gr.update(value=(original, session.source_path), visible=True)}

    def as_inverted(self: Any, session: Session) -> dict[str, Any]:
        """The tab's controls as for this source: the file itself while it is there, else as it was fitted."""
        source = session.source
        while source.origin is not None:
            source = source.origin[0]
        report = source.inversion
        path = session.uploads.get(source.key, "")
        if not path or not Path(path).is_file():
            path = str(session.path("picture.png"))
            report.picture.save(path)
            session.uploads[source.key] = path
        fit = next((name for name, known in FITS.items() if known == report.fit), "crop")
        method = next(name for name, (known, *_) in METHODS.items() if known == report.method)
        return {
            "yours_picture": path,
            "yours_method": method,
            "yours_fit": fit,
            "yours_x": report.center[0],
            "yours_y": report.center[1],
            "yours_crop": crop_row(path, fit),
            "yours_note": self.costs(method, source.steps),
        }


def crop_row(picture: str | None, fit: str) -> Any:
    """The crop's sliders, where there is a picture and something of it is cut off."""
    return gr.update(visible=bool(picture) and FITS.get(fit) == "crop")
