"""Where words look: one word over the picture, and the figures of all words. Mixed into the runs."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from .. import pictures
from ..components.region import toggled
from ..sessions import Session

if TYPE_CHECKING:
    from ..controls import Reading
    from ..runner import Runs

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


def heats(pictured: Any, numbers: Sequence[int], step: int) -> Generator[None, None, Any]:
    """The mean map of some words of a source, a step at a time so that it can be left. step 0: all steps."""
    found = None
    steps = [step - 1] if step else range(pictured.steps)
    for i in steps:
        for n in numbers:
            heat = pictured.attention(n, step=i)
            found = heat if found is None else found + heat
        yield
    return found / (len(steps) * len(numbers))


def edited_of(session: Session) -> Any:
    """The result as a source, for its maps; None where there is no edit to look at."""
    if not session.shows_edit:
        return None
    if session.edited is None:
        session.edited = session.result.as_source()
    return session.edited


def first_look(runs: Runs, session: Session) -> dict[str, Any]:
    """The picked word's look after a new edit: the source's map; the edit's is drawn when it is asked for."""
    value = blank(session, runs.reading(session))
    if not value:
        return {}
    number, partners = value.pop("number"), value.pop("partners")
    if partners:
        maps = [session.source.attention(n) for n in partners]
        value["before"] = drawn_over(runs.engine.figures, session.source.image, sum(maps) / len(maps))
    return {**value, "step": 0, "stale": stale(session, number)}


def stale(session: Session, number: int) -> bool:
    """True if there is an edit in which the word can be looked at."""
    prompt = session.result.plan.target if session.shows_edit else None
    return prompt is not None and session.controls is not None and prompt.text == session.controls.prompt


class LookHandlers:
    """Handlers about attention maps. They hold the device a step at a time, and leave it to whatever else the
    page wants."""

    def pick(self: Any, desk: dict, clock: float, request: gr.Request) -> Any:
        """A word was clicked: show where it looks."""
        session = self.sessions.get(request.session_hash)
        if session.controls is not None:
            picked = desk["picked"]
            session.controls = replace(session.controls, desk={**session.controls.desk, "picked": picked})
        yield from self.views(session, 0, clock)

    def look(self: Any, look: dict, clock: float, request: gr.Request) -> Any:
        """Another step of the picked word's map, or the edit's map after a new edit."""
        yield from self.views(self.sessions.get(request.session_hash), look["step"], clock)

    def views(self: Any, session: Session, step: int, clock: float) -> Iterator[dict[str, Any]]:
        """The picked word's look: first over the source, then over the edit."""
        if session.source is None:
            return
        value = blank(session, self.reading(session))
        if not value:
            yield {"look": {}}
            return
        number, partners = value.pop("number"), value.pop("partners")
        value["step"] = min(step, session.source.steps)
        value["stale"] = stale(session, number)
        wanted = [("before", lambda: session.source, partners)] if partners else []
        if value["stale"]:
            wanted.append(("after", lambda: edited_of(session), [number]))
        if not wanted:
            yield {"look": value}
        for name, pictured, numbers in wanted:
            heat = yield from self.in_turn(
                session, clock, self._heat(session, clock, pictured, numbers, value["step"]), "look"
            )
            if heat is None:
                return
            value[name] = drawn_over(self.engine.figures, pictured().image, heat)
            yield {"look": dict(value)}

    def _heat(
        self: Any, session: Session, clock: float, pictured: Any, numbers: Sequence[int], step: int
    ) -> Generator[dict[str, Any], None, Any]:
        """A map, or None if the page wants something else."""
        steps = heats(pictured(), numbers, step)
        while not session.outdated(clock, "look"):
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            yield {}
        return None

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
            shown = {**session.controls.region, "show": region["show"]}
            session.controls = replace(session.controls, region=shown)
        yield {"picture": self.pair(session, region)}

    def maps(self: Any, which: str, layers: str, clock: float, request: gr.Request) -> Any:
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
            "maps_note": "drawing \u2026",
            "maps_layers": gr.update(choices=[USUAL, *groups], value=layers if sites else USUAL),
        }
        picked = blank(session, self.reading(session))
        for name, pictured in (("source", lambda: session.source), ("edit", lambda: edited_of(session))):
            if name == "edit" and not session.shows_edit:
                yield {"maps_edit": drawn(None)}
                continue
            own = ([picked["number"]] if name == "edit" else list(picked["partners"])) if picked else []
            panels = yield from self.in_turn(
                session, clock, self._panels(session, clock, pictured, which, own, sites), "look"
            )
            if panels is None:
                yield {"maps_note": "Left for what you asked for meanwhile. Press Draw."}
                return
            figure = figures.grid(pictured().image, panels, columns=across(panels, which))
            yield {f"maps_{name}": drawn(figure), f"maps_{name}_png": saved(figure, session, name)}
        note = (
            ""
            if which == VIEWS[0] or picked
            else f"The first {MOST_ROWS} words; pick one on the desk for it alone."
        )
        yield {"maps_note": note}

    def _panels(
        self: Any, session: Session, clock: float, pictured: Any, which: str, own: list[int], sites: Any
    ) -> Generator[dict[str, Any], None, list[tuple[str, Any]] | None]:
        """The maps of a figure with their titles, or None if the page wants something else."""
        if session.outdated(clock, "look"):
            return None
        shown = pictured()
        words = [n for n, word in enumerate(shown.prompt.words) if word.tokens]
        steps = range(shown.steps)
        wanted: list[tuple[str, int, Sequence[int]]]
        if which == VIEWS[0]:
            wanted = [(shown.prompt.words[n].text, n, steps) for n in words]
        else:
            words = ([n for n in own if n in words] or words)[:MOST_ROWS]
            some = sorted({round(i * (shown.steps - 1) / 5) for i in range(6)})
            wanted = []
            for n in words:
                text = shown.prompt.words[n].text
                wanted += [(f"{text} \u00b7 {i + 1}", n, [i]) for i in some]
                wanted.append((f"{text} \u00b7 mean", n, steps))
        sums: list[Any] = [None] * len(wanted)
        for i in steps:
            for k, (_, n, mine) in enumerate(wanted):
                if i in mine:
                    if session.outdated(clock, "look"):
                        return None
                    heat = shown.attention(n, step=i, sites=sites) / len(mine)
                    sums[k] = heat if sums[k] is None else sums[k] + heat
            yield {}
        return [(title, heat) for (title, _, _), heat in zip(wanted, sums, strict=True)]


def across(panels: Sequence[Any], which: str) -> int:
    """Columns of a figure: up to six words in rows of like length, or one word's steps and their mean."""
    if which == VIEWS[0]:
        rows = max(1, math.ceil(len(panels) / 6))
        return max(1, math.ceil(len(panels) / rows))
    return len({t.split(" \u00b7 ")[-1] for t, _ in panels})


def drawn_over(figures: Any, image: Any, heat: Any) -> str:
    """A map over a picture, as a data URI."""
    return pictures.data_uri(figures.overlay(pictures.enlarged(image, SIDE), heat), SIDE)


def saved(figure: Any, session: Session, name: str) -> Any:
    """The figure as a file to download."""
    path = session.path(f"attention-{name}.png")
    figure.savefig(path, facecolor="white")
    return gr.update(value=str(path), interactive=True)


def drawn(figure: Any) -> dict[str, Any]:
    """A plot with a figure; without one it doesn't show."""
    return gr.update(value=figure, visible=figure is not None)
