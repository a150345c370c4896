"""The page's faders: as shares, the amount of an edit, weights that are written into the prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from p2p_app import Engine
from p2p_app.components.desk import DeskValue
from p2p_app.components.timeline import TimelineValue
from p2p_app.controls import controls_of, read
from p2p_app.handlers import Handlers
from p2p_app.sessions import Sessions
from p2p_core import Edit, PromptToPrompt

from .. import tiny
from .visitor import boards, last, said, wish, words

HOUSE, CASTLE = "a red house on a snowy hill", "a red castle on a snowy hill"
STEPS = 4


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline("v_prediction"))


@pytest.fixture
def handlers(p2p: PromptToPrompt) -> Handlers:
    made = Handlers(Engine(p2p=p2p), Sessions(forget=p2p.forget))
    last(made.generate(wish(made, 0.0, **words(HOUSE, 3, STEPS))))
    return made


def test_modes_and_amounts_go_both_ways(p2p: PromptToPrompt) -> None:
    engine = Engine(p2p=p2p)
    edit = Edit(CASTLE, weights={"#1": 1.5}, weights_mode="share", amount=0.35)
    controls, notes = controls_of(engine, HOUSE, edit, STEPS)
    assert controls.desk.mode == "share" and controls.timeline.amount == 0.35 and not notes
    again = read(engine, HOUSE, controls, STEPS).edit
    assert (again.weights, again.weights_mode, again.amount) == (edit.weights, "share", 0.35)
    plain = read(engine, HOUSE, replace(controls, desk=DeskValue(), timeline=TimelineValue()), STEPS).edit
    assert plain.weights_mode == "gain" and plain.amount == 1


@pytest.mark.parametrize("negative", [None, "", "fog"])
def test_what_an_edit_has_of_its_own_goes_both_ways(p2p: PromptToPrompt, negative: str | None) -> None:
    own = {"clip_skip": 1, "lora_scale": 0.5} if negative == "" else {}
    edit = Edit(CASTLE, guidance_scale=9.0, negative_prompt=negative, **own)
    controls, notes = controls_of(Engine(p2p=p2p), HOUSE, edit, STEPS)
    again = read(Engine(p2p=p2p), HOUSE, controls, STEPS).edit
    assert (again.run_settings, again.clip_skip) == (edit.run_settings, edit.clip_skip) and not notes


def test_an_edit_with_its_own_negative_prompt_is_another_picture(handlers: Handlers) -> None:
    session = handlers.sessions.get("me")
    last(handlers.edit(wish(handlers, 1.0, **boards(CASTLE))))
    plain = session.result.latents
    own = boards(CASTLE) | {"timeline": TimelineValue(steps=STEPS, negative="snowy", guidance=9.0)}
    last(handlers.edit(wish(handlers, 2.0, **own)))
    assert session.result.edit.run_settings == ("snowy", 9.0, None)
    assert not np.allclose(session.result.latents, plain, atol=1e-3)
    assert session.history[-1].title.endswith("guidance 9, without snowy")


@pytest.mark.parametrize("value", [None, "loud", -3, float("nan"), [], {}])
def test_what_a_page_sends_that_is_none(value: object) -> None:
    assert DeskValue.read({"mode": value}).mode == "gain"
    assert TimelineValue.read({"amount": value}).amount in (0.0, 1.0)
    assert TimelineValue.read({"guidance": value}).guidance in (None, 0.0)
    assert TimelineValue.read({"negative": value}).negative in (None, "loud")


def test_weights_in_the_prompt_are_offered_and_read_as_faders(handlers: Handlers) -> None:
    typed = "a (red:1.5) castle++ on a [snowy] hill"
    shown = last(handlers.refresh(wish(handlers, 1.0, **boards(typed))))
    assert shown["chips"]["weighted"] is True
    updates = list(handlers.read_weights(wish(handlers, 2.0, **boards(typed))))
    merged = {name: value for update in updates for name, value in update.items()}
    assert merged["prompt"] == CASTLE and merged["chips"]["weighted"] is False
    assert merged["desk"].weights == {"red/0": 1.5, "castle/0": 1.21, "snowy/0": 0.91}
    edit = handlers.sessions.get("me").result.edit
    assert edit.prompt == CASTLE and edit.weights == {"#1": 1.5, "#2": 1.21, "#5": 0.91}


def test_weights_beyond_the_faders_and_unreadable_ones_are_said(handlers: Handlers) -> None:
    done = last(handlers.read_weights(wish(handlers, 1.0, **boards("a (red:9) castle"))))
    assert "Faders reach from -2 to 2" in said(done)
    error = last(handlers.read_weights(wish(handlers, 2.0, **boards("a [cat:dog:0.5]"))))
    assert error["line"]["kind"] == "error" and "changes the prompt during the run" in said(error)


def test_a_part_of_an_edit_is_no_source_and_says_so(handlers: Handlers) -> None:
    session = handlers.sessions.get("me")
    source = session.source
    half = boards(CASTLE) | {"timeline": TimelineValue(steps=STEPS, amount=0.5)}
    assert last(handlers.edit(wish(handlers, 1.0, **half)))["line"]["kind"] == "done"
    assert session.result.edit.amount == 0.5 and "amount 0.50" in session.history[-1].title
    error = last(handlers.recipes.use_as_source(wish(handlers, 2.0)))
    assert error["line"]["kind"] == "error" and "amount of 1" in said(error)
    assert session.source is source
