"""Where a word looks: its attention maps over the source and over the edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import pictures
from .components.look import LookValue
from .controls import Reading
from .engine import Engine
from .sessions import Session

if TYPE_CHECKING:
    from PIL import Image

    from p2p_core import Source

SIDE = 192  # pixels of a map


@dataclass(frozen=True)
class Picked:
    """The picked word. number: in the edit prompt. partners: numbers of its words in the source's prompt."""

    number: int
    partners: tuple[int, ...]
    look: LookValue  # without any map


def picked_word(session: Session, reading: Reading) -> Picked | None:
    """The word that is picked on the desk, or None."""
    desk = reading.controls.desk
    number = next((n for n, word in enumerate(desk.words) if word.key == desk.picked), None)
    if number is None:
        return None
    word, partners = desk.words[number], reading.partners[number][1]
    # an edit whose map can be drawn
    prompt = session.result.plan.target if session.result is not None and session.shows_edit else None
    stale = prompt is not None and session.controls is not None and prompt.text == session.controls.prompt
    look = LookValue(
        word=word.text,
        old=" ".join(reading.plan.source.words[n].text for n in partners),
        key=word.key,
        total=len(reading.plan.steps),
        region=word.key in reading.controls.region.chosen,
        stale=stale,
    )
    return Picked(number, partners, look)


def mean_map(source: Source, numbers: Sequence[int], step: int) -> Iterator[Any]:
    """The mean map (h, w) of some words of a source up to each step, so that it can be left; the last one is
    that of all steps. step: only this one, from 1; 0: all."""
    total: Any = 0.0
    for count, i in enumerate([step - 1] if step else range(source.steps), 1):
        for n in numbers:
            total = total + source.attention(n, step=i)
        yield total / (count * len(numbers))


def edited_source(session: Session) -> Source | None:
    """The result as a source, for its maps; None where there is no edit to look at, or one without maps."""
    if session.result is None or not session.shows_edit or not session.result.plan.has_maps:
        return None
    if session.result_source is None:
        session.result_source = session.result.as_source()
    return session.result_source


def first_look(engine: Engine, session: Session, reading: Reading) -> LookValue:
    """The picked word's look after a new edit: the source's map; the edit's is drawn when it is asked for."""
    picked, source = picked_word(session, reading), session.source
    if picked is None or source is None:
        return LookValue()
    if not picked.partners:
        return picked.look
    maps = [source.attention(n) for n in picked.partners]
    return picked.look.replace(before=map_over(engine, source.image, sum(maps) / len(maps)))


def map_over(engine: Engine, image: Image.Image, heat: Any) -> str:
    """A map over a picture, as a data URI."""
    return pictures.data_uri(engine.figures.overlay(pictures.enlarged(image, SIDE), heat), SIDE)
