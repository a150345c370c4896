"""Where words look: one word over the picture, and the figures of all words. Mixed into the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from . import pictures
from .region import toggled
from .sessions import Session

if TYPE_CHECKING:
    from .controls import Reading
    from .runs import Runs

SIDE = 192
VIEWS = ("mean of all steps", "step by step")
USUAL = "the usual layers"
MOST_ROWS = 6


def blank(session: Session, reading: Reading) -> dict[str, Any]:
    """The look of the picked word before any map is drawn."""
    key = reading.controls.desk["picked"]
    number = next((n for n, word in enumerate(reading.controls.desk["words"]) if word["key"] == key), None)
    if number is None:
        return {}
    source = [reading.plan.source.words[n].text for n in reading.partners[number][1]]
    return {
        "word": reading.controls.desk["words"][number]["text"],
        "old": " ".join(source),
        "key": key,
        "total": len(reading.plan.steps),
        "region": key in reading.controls.region["chosen"],
        "number": number,
        "partners": reading.partners[number][1],
    }


def heat_of(pictured: Any, numbers: Sequence[int], step: int) -> Any:
    """The mean map of some words of a source; step 0 means all steps."""
    maps = [pictured.attention(n, step=step - 1 if step else None) for n in numbers]
    return sum(maps) / len(maps)


def edited_of(session: Session) -> Any:
    """The result as a source, for its maps; None where there is no edit to look at."""
    result = session.result
    if result is None or result.plan.changes_nothing:
        return None
    if session.edited is None:
        session.edited = result.as_source()
    return session.edited


def views(runs: Runs, session: Session, step: int, *, edit: bool = True) -> Iterator[dict[str, Any]]:
    """The picked word's look: first over the source, then over the edit."""
    if session.source is None:
        return
    reading = runs.reading(session)
    value = blank(session, reading)
    if not value:
        yield {"look": {}}
        return
    number, partners = value.pop("number"), value.pop("partners")
    value["step"] = min(step, session.source.steps)
    figures = runs.engine.figures
    if partners:
        heat = heat_of(session.source, partners, value["step"])
        picture = figures.overlay(pictures.enlarged(session.source.image, SIDE), heat)
        value["before"] = pictures.data_uri(picture, SIDE)
    result = session.result
    current = result is not None and result.plan.target.text == reading.controls.prompt
    value["stale"] = bool(current and not result.plan.changes_nothing)
    yield {"look": value}
    if edit and value["stale"]:
        heat = heat_of(edited_of(session), [number], value["step"])
        picture = figures.overlay(pictures.enlarged(result.image, SIDE), heat)
        yield {"look": {**value, "after": pictures.data_uri(picture, SIDE)}}


def first_look(runs: Runs, session: Session) -> dict[str, Any]:
    """The picked word's look after a new edit: the edit's map is drawn when it is asked for."""
    for update in views(runs, session, 0, edit=False):
        return update["look"]
    return {}


class LookHandlers:
    """Handlers about attention maps."""

    def pick(self: Any, desk: dict, request: gr.Request) -> Any:
        """A word was clicked: show where it looks."""
        session = self.sessions.get(request.session_hash)
        if session.controls is not None:
            session.controls = replace(session.controls, desk=desk)
        yield from views(self, session, 0)

    def look(self: Any, look: dict, request: gr.Request) -> Any:
        """Another step of the picked word's map, or the edit's map after a new edit."""
        yield from views(self, self.sessions.get(request.session_hash), look["step"])

    def only_there(self: Any, region: dict, look: dict, clock: float, request: gr.Request) -> Any:
        """The picked word becomes the region of the edit, or leaves it."""
        session = self.sessions.get(request.session_hash)
        if session.controls is None or not look["key"]:
            return
        session.controls = replace(session.controls, region=toggled(region, look["key"]))
        yield {"look": {**look, "region": look["key"] in session.controls.region["chosen"]}}
        yield from self.run_edit(session, clock)

    def show_region(self: Any, region: dict, request: gr.Request) -> Any:
        """Draw the region over the edited picture, or don't."""
        session = self.sessions.get(request.session_hash)
        if session.controls is not None:
            session.controls = replace(session.controls, region=region)
        yield {"picture": self.pair(session, region)}

    def maps(self: Any, which: str, layers: str, request: gr.Request) -> Any:
        """Figures: every word's map, or a grid of words x steps, in the source and in the edit.

        which: one of `VIEWS`. layers: a group of `PromptToPrompt.map_layers`, or "" for the usual ones.
        """
        session = self.sessions.get(request.session_hash)
        if session.source is None:
            yield {"maps_note": "There is no source picture yet. Press Generate first."}
            return
        figures, groups = self.engine.figures, self.engine.p2p.map_layers(session.source)
        sites = groups.get(layers)
        yield {
            "maps_note": "drawing …",
            "maps_layers": gr.update(choices=[USUAL, *groups], value=layers if sites else USUAL),
        }
        reading = self.reading(session)
        picked = blank(session, reading)
        edited = edited_of(session)
        for name, pictured in (("source", session.source), ("edit", edited)):
            if pictured is None:
                yield {"maps_edit": drawn(None)}
                continue
            words = [n for n, word in enumerate(pictured.prompt.words) if word.tokens]
            if which == VIEWS[0]:
                figure = figures.word_maps(pictured, [f"#{n}" for n in words], sites=sites)
            else:
                if picked:
                    own = [picked["number"]] if pictured is edited else list(picked["partners"])
                    words = [n for n in own if n in words] or words
                figure = figures.words_over_steps(pictured, words[:MOST_ROWS], sites=sites)
            yield {f"maps_{name}": drawn(figure), f"maps_{name}_png": saved(figure, session, name)}
        note = (
            ""
            if which == VIEWS[0] or picked
            else f"The first {MOST_ROWS} words; pick one on the desk for it alone."
        )
        yield {"maps_note": note}


def saved(figure: Any, session: Session, name: str) -> Any:
    """The figure as a file to download."""
    path = session.path(f"attention-{name}.png")
    figure.savefig(path, facecolor="white")
    return gr.update(value=str(path), interactive=True)


def drawn(figure: Any) -> dict[str, Any]:
    """A plot with a figure; without one it doesn't show."""
    return gr.update(value=figure, visible=figure is not None)
