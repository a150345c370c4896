"""Weights that are written into a prompt, and the fields of an edit that say how faders count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core import Edit, has_weights
from p2p_core.errors import BadInput
from p2p_core.plan import make_plan

from ..conftest import HOUSE
from .test_words import parse

READ = {
    "a (red:1.3) house": ("a red house", {"red": 1.3}),
    "a (red) house": ("a red house", {"red": 1.1}),
    "a [red] house": ("a red house", {"red": 1 / 1.1}),
    "a red++ house": ("a red house", {"red": 1.21}),
    "a red+ house--": ("a red house", {"red": 1.1, "house": 0.81}),
    "a ((red)) [[house]]": ("a red house", {"red": 1.21, "house": 1 / 1.21}),
    "a (red house:1.3), at night": ("a red house, at night", {"red": 1.3, "house": 1.3}),
    "a (red (house:1.5):2) (hill)": ("a red house hill", {"red": 2, "house": 3, "hill": 1.1}),
    "(a red house)++": ("a red house", {"a": 1.21, "red": 1.21, "house": 1.21}),
    "a (red++:2) house": ("a red house", {"red": 2.42}),
    "a (red : -0.5 ) house": ("a red  house", {"red": -0.5}),
    "a (red:.5) (house:1)": ("a red house", {"red": 0.5}),
    "a (red,) house": ("a red, house", {"red": 1.1}),
    "a red house by a (red:2) car": ("a red house by a red car", {"#5": 2.0}),
    "a (red) house by a (Red) car": ("a red house by a Red car", {"red": 1.1}),
    "([red])": ("red", {}),
    "\u6f22\u5b57 (\u732b:1.2)": ("\u6f22\u5b57 \u732b", {"\u732b": 1.2}),
}
LETTERS = {
    r"a \(red\) house": "a (red) house",
    r"a \[red\] \\ house": r"a [red] \ house",
    "a red house, (at night": "a red house, (at night",
    "a red) house]": "a red) house]",
    "smile :) (:3) () house": "smile :) (:3) () house",
    "a well-known, half-red house - at 10:30": "a well-known, half-red house - at 10:30",
    "1 + 1 -- and 2+2": "1 + 1 -- and 2+2",
    "": "",
}


@pytest.mark.parametrize("text", READ)
def test_written_weights_become_faders(text: str) -> None:
    prompt, weights = READ[text]
    edit = Edit.from_weighted(text)
    assert edit.prompt.split() == prompt.split()
    assert dict(edit.weights) == pytest.approx(weights)
    assert has_weights(text) and not has_weights(edit.prompt)
    tokens = make_plan(parse(HOUSE), parse(edit.prompt), edit, 4)
    assert tokens.edit == edit and Edit.from_json(edit.to_json()) == edit


@pytest.mark.parametrize("text", LETTERS)
def test_what_stays_letters(text: str) -> None:
    edit = Edit.from_weighted(text)
    assert edit.prompt == LETTERS[text] and not edit.weights and not has_weights(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("un(believ)able", "a part of 'unbelievable'"),
        ("(red):1.2 house", "a part of 'red:1.2'"),
        ("a [cat:dog:0.5]", "changes the prompt during the run"),
        ("a [cat|dog]", "changes the prompt during the run"),
        ("(red:" + "9" * 400 + ")", "finite"),
    ],
)
def test_weights_that_no_fader_has(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Edit.from_weighted(text)
    assert has_weights(text)


def test_other_fields_come_along_and_given_weights_win() -> None:
    edit = Edit.from_weighted("a (red:1.3) (house)", cross_steps=0.5, weights={"house": 2.0})
    assert edit.cross_steps.end == 0.5 and edit.weights == {"red": 1.3, "house": 2.0}


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab \\()[]:+-1.,", max_size=40))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        edit = Edit.from_weighted(text)
    except BadInput as error:
        assert has_weights(text) and str(error)
        return
    assert not edit.weights or has_weights(text)
    if not has_weights(text) and "\\" not in text:
        assert edit.prompt == text
    edit.weights and make_plan(parse(text), parse(edit.prompt), edit, 2)


def test_a_hundred_thousand_brackets_are_read() -> None:
    many = 50_000
    assert has_weights("(" * many + "a" + ")" * many) and not has_weights("(" * many + "a" + "]" * many)


# --- the fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["loud", None, 1, "GAIN"])
def test_modes_that_are_none(mode: object) -> None:
    with pytest.raises(BadInput, match="gain or share"):
        Edit("a", weights_mode=mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), "1", None, True])
def test_amounts_that_are_none(amount: object) -> None:
    with pytest.raises(BadInput, match="from 0 to 1"):
        Edit("a", amount=amount)  # type: ignore[arg-type]


def test_modes_and_amounts_are_in_the_json_and_old_ones_lack_them() -> None:
    edit = Edit("a", weights_mode="share", amount=0.3)
    assert Edit.from_json(edit.to_json()) == edit and edit != Edit("a")
    old = Edit("a").to_dict()
    del old["weights_mode"], old["amount"]
    assert Edit.from_json(old) == Edit("a")


def test_plans_know_modes_and_amounts() -> None:
    edit = Edit("a red castle on a snowy hill at night", weights={"red": 2.0})
    variants = [edit, edit.replace(weights_mode="share"), edit.replace(amount=0.5), edit.replace(amount=0.25)]
    digests = {make_plan(parse(HOUSE), parse(edit.prompt), e, 4).digest(4) for e in variants}
    assert len(digests) == 4
    none = make_plan(parse(HOUSE), parse(edit.prompt), edit.replace(amount=0), 4)
    assert none.changes_nothing and any("amount of the edit is 0" in note for note in none.notes)
