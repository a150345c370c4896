"""Regions of any words: what the page asks the place of becomes the region of the edit."""

from __future__ import annotations

import pytest

from p2p_app import Engine
from p2p_app.components.explore import ExploreValue
from p2p_app.components.region import RegionValue
from p2p_app.controls import controls_of, read
from p2p_app.handlers import Handlers
from p2p_app.sessions import Sessions
from p2p_core import Blend, Edit, PromptToPrompt
from p2p_core.edit import VARIANTS

from .visitor import boards, last, said, wish, words

HOUSE, CASTLE, STEPS = "a red house on a snowy hill", "a red castle on a snowy hill", 4


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    made = Handlers(Engine(p2p=p2p), Sessions(forget=p2p.forget))
    last(made.generate(wish(made, 0.0, **words(HOUSE, 3, STEPS))))
    return made


@pytest.mark.parametrize("asked", ["house", "roof", "a lot of snow"])
def test_the_place_of_any_words_becomes_the_region(handlers: Handlers, asked: str) -> None:
    session = handlers.sessions.get("me")
    page = boards(CASTLE) | {"region": RegionValue(ask=asked)}
    updates = list(handlers.attention.find(wish(handlers, 1.0, **page)))
    shown = {name: value for update in updates for name, value in update.items()}
    assert shown["region"].mask and shown["region"].ask == "" and shown["region"].show
    blend = session.result.edit.blend
    assert blend is not None and blend.mask == shown["region"].mask
    assert 0 < session.result.mask.mean() < 1


def test_asked_of_nothing(handlers: Handlers) -> None:
    page = boards(CASTLE) | {"region": RegionValue(ask=" ")}
    assert "A region is that of some words" in said(
        last(handlers.attention.find(wish(handlers, 1.0, **page)))
    )
    fresh = Handlers(handlers.engine, Sessions(forget=handlers.engine.p2p.forget))
    page["region"] = RegionValue(ask="house")
    assert last(fresh.attention.find(wish(fresh, 1.0, **page)))["line"]["kind"] == "error"


def test_sharp_regions_go_both_ways(p2p: PromptToPrompt) -> None:
    edit = Edit(CASTLE, blend=Blend(target_words=("castle",), source_words=("house",), refine=True))
    controls, notes = controls_of(Engine(p2p=p2p), HOUSE, edit, STEPS)
    assert controls.region.sharp and not notes
    again = read(Engine(p2p=p2p), HOUSE, controls, STEPS).edit.blend
    assert again is not None and again.refine


def test_a_new_source_leaves_its_edit_to_auto(handlers: Handlers) -> None:
    """Until somebody touches a window, the settings follow what the prompt changes."""
    page = boards(HOUSE) | words("a red car on a hill", 3, STEPS)
    updates = list(handlers.generate(wish(handlers, 5.0, **page)))
    shown = {name: value for update in updates for name, value in update.items()}
    assert shown["prompt"] == "a red car on a hill"
    controls = handlers.sessions.get("me").controls
    assert controls.timeline.auto and controls.region.auto


def test_variants_are_an_axis(handlers: Handlers) -> None:
    session = handlers.sessions.get("me")
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    explore = ExploreValue(x="auto", n=8)
    updates = list(handlers.explore.explore(wish(handlers, 2.0, **boards(CASTLE), explore=explore)))
    shown = {name: value for update in updates for name, value in update.items()}
    assert [cell.captions[0] for cell in session.sheet.cells] == [*VARIANTS]
    windows = [cell.controls.timeline.cross[1] for cell in session.sheet.cells]
    assert windows == sorted(windows, reverse=True) and windows[0] > windows[-1] == 0
    assert len(shown["explore"].cells) == 4
