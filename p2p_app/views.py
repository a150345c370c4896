"""What the page shows of a session: its pictures, its boards, the settings of its source, its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from . import pictures
from .auto import with_suggestion
from .components.compare import Pair, Picture
from .components.examples import ExamplesValue
from .components.history import HistoryItem, HistoryValue
from .components.look import LookValue
from .controls import Controls, Reading, read
from .engine import Engine
from .examples import Example, examples_for
from .messages import chips_value, notes_of
from .sessions import Session

if TYPE_CHECKING:
    from p2p_core import Source

Update = dict[str, Any]  # new values of components, by their names in `layout.Page`


def read_session(engine: Engine, session: Session) -> Reading:
    """The session's controls, read against its source; they stay in the session."""
    source = session.source
    controls = with_suggestion(engine, session, session.controls or Controls())
    text = controls.prompt if source is None else source.prompt.text
    first = examples_for(engine.bundled, engine.steps)[0]
    if source is None and text == first.prompt:  # as the page opens
        text = first.source
    steps = controls.timeline.steps if source is None else source.steps
    origin = source.origin[1] if source is not None and source.origin else None
    reading = read(engine, text, controls, steps, origin)
    session.controls = reading.controls
    return reading


def boards(session: Session, reading: Reading, seen: Controls | None = None) -> Update:
    """The boards that follow the words, where they differ from `seen`, what the page has."""
    notes = notes_of(reading) if session.source is not None else []
    update: Update = {"chips": chips_value(reading.plan, notes)}
    controls = reading.controls
    if session.shows_look and controls.desk.picked is None:  # its word has left the prompt
        update["look"] = LookValue()
    # what the last run did stays on the timeline
    timeline = controls.timeline.replace(run=(seen or controls).timeline.run)
    for name, now in (("desk", controls.desk), ("region", controls.region), ("timeline", timeline)):
        if seen is None or now != getattr(seen, name):
            update[name] = now
    return update


def pair(session: Session, before: Picture, after: Picture, prompt: str = "") -> Pair:
    """Two pictures for the stage, the source and an edit of it. prompt: the edit's."""
    source = session.source
    name = "source" if source is None or source.inversion is None else "your picture"
    text = "" if source is None else source.prompt.text
    return Pair(before, after, (name, "edit"), (f"{name}: {text}", f"edit: {prompt or text}"))


def shown_pair(engine: Engine, session: Session, *, region: bool) -> Pair | None:
    """The source and the edit that the page shows. region: draw the region over the latter."""
    source, result = session.source, session.result
    if source is None:
        return None
    if result is None or not session.shows_edit:
        return pair(session, session.source_path, session.source_path)
    path = session.result_path
    if region and result.mask is not None:
        image = engine.figures.mask_overlay(pictures.enlarged(result.image), result.mask)
        path = pictures.shown(image, session.path("region.png"))
    return pair(session, session.source_path, path, result.edit.prompt)


def history_value(session: Session, against: int | None = None) -> HistoryValue:
    items = [
        HistoryItem(src=entry.thumb, title=entry.title, key=entry.key, kind=entry.kind)
        for entry in session.history
    ]
    return HistoryValue(items=items, current=session.current, against=against)


def examples_value(examples: Sequence[Example], clicked: int | None = None) -> ExamplesValue:
    items = [
        {"title": example.title, "hint": example.hint, "src": pictures.thumb_of(example.picture)}
        for example in examples
    ]
    return ExamplesValue.read({"items": items, "clicked": clicked})


def source_settings(source: Source) -> Update:
    """The source card's controls as the source was made: from words, or from a picture."""
    settings = {
        "steps": source.steps,
        "guidance": source.guidance_scale,
        "negative": source.negative_prompt,
    }
    if source.inversion is not None:
        described = source if source.origin is None else source.origin[0]
        tab = gr.update(selected="yours")
        return {**settings, "yours_prompt": described.prompt.text, "source_tabs": tab}
    tab = gr.update(selected="words")
    return {**settings, "source_prompt": source.prompt.text, "seed": source.seed, "source_tabs": tab}
