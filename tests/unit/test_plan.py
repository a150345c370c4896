"""Edits resolved to plans: the central formula, windows, faders, digests, notes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core import Blend, Edit, Plan, PromptToPrompt, Window, align
from p2p_core.errors import BadSteps, UnknownWord
from p2p_core.plan import make_plan
from p2p_core.window import step_at

from ..conftest import HOUSE
from .test_words import PROMPTS, parse

CASTLE = "a red castle on a snowy hill at night"
fractions = st.floats(0, 1, allow_nan=False)
windows = st.tuples(fractions, fractions).map(sorted).map(tuple)


def plan(source: str, edit: Edit, steps: int = 10) -> Plan:
    return make_plan(parse(source), parse(edit.prompt), edit, steps)


@settings(deadline=None, max_examples=80)
@given(PROMPTS, PROMPTS, windows, windows, st.integers(1, 30), st.floats(-2, 2))
def test_take_and_keep_are_the_formula(
    source: str, target: str, cross: tuple[float, float], faders: tuple[float, float], N: int, c: float
) -> None:
    words = parse(target).words
    weights = {0: c} if words else {}
    edit = Edit(target, cross_steps=cross, weight_steps=faders, weights=weights)
    p = plan(source, edit, N)
    alignment = align(parse(source), parse(target))
    A, n = alignment.matrix, alignment.new.astype(np.float32)
    lo, hi = (int(np.floor(f * N + 0.5 + 1e-9)) for f in cross)
    first, last = (int(np.floor(f * N + 0.5 + 1e-9)) for f in faders)
    assert len(p.steps) == N
    for i, step in enumerate(p.steps):
        a = 1.0 if lo <= i < hi else 0.0
        w = np.ones(len(n), np.float32)
        if words and first <= i < last:
            w[list(words[0].tokens)] = np.float32(c)
        assert np.allclose(step.take, A * a * w, atol=1e-6)
        assert np.allclose(step.keep, (n * a + (1 - a)) * w, atol=1e-6)


def test_windows_round_halves_up() -> None:
    """int() loses 0.58 of 50 and Python's round goes to even; both are wrong somewhere."""
    assert step_at(0.58, 50) == 29 and step_at(0.25, 10) == 3 and step_at(0.05, 50) == 3
    assert [step_at(f / 100, 50) for f in (0, 1, 99, 100)] == [0, 1, 50, 50]
    for f in range(101):
        exact = (f * 50 * 2 + 100) // 200  # round half up in whole numbers
        assert step_at(f / 100, 50) == exact
    assert Window.of(0.3).steps(10) == range(0, 3)
    assert Window.of((0.25, 0.75)).steps(8) == range(2, 6)


def test_cross_and_self_windows_of_one_fraction_cover_the_same_steps() -> None:
    for f in range(101):
        p = plan(HOUSE, Edit(CASTLE, cross_steps=f / 100, self_steps=f / 100), 50)
        assert [bool(s.take.any()) for s in p.steps] == [s.inject_self for s in p.steps]


def test_windows_of_words_replace_the_default() -> None:
    target = "a red castle on a snowy hill at night"
    p = plan(HOUSE, Edit(target, cross_steps={"default_": 0.5, "castle": (0.2, 0.3), "snowy hill": 1.0}))
    t = parse(target)
    for i, step in enumerate(p.steps):
        assert bool(step.take[:, t.find("castle")[0]].any()) == (i == 2)
        assert bool(step.take[:, t.find("snowy")[0]].any())
        assert bool(step.take[:, t.find("red")[0]].any()) == (i < 5)
    whole = plan(HOUSE, Edit(target, cross_steps={"castle": 0.0}))
    assert all(step.take[:, t.find("red")[0]].any() for step in whole.steps), "no default_: the whole run"


def test_faders_hold_in_every_step_and_for_every_occurrence() -> None:
    p = plan(HOUSE, Edit(HOUSE, cross_steps=0.3, weights={"a": 2.0, "#4": -1.0}))
    prompt = parse(HOUSE)
    first, second = (prompt.words[n].tokens[0] for n in (0, 4))
    for i, step in enumerate(p.steps):
        part = step.take if i < 3 else step.keep[None]
        assert part[:, first].sum() == 2 and part[:, second].sum() == -1, (
            "the number is the more specific name"
        )


@pytest.mark.parametrize(
    "edit",
    [
        Edit(CASTLE, weights={"house": 1.0}),
        Edit(CASTLE, cross_steps={"house": 0.5}),
        Edit(CASTLE, blend=Blend(source_words=("castle",))),
        Edit(CASTLE, blend=Blend(target_words=("house",))),
        Edit(CASTLE, blend=Blend(target_words=("castle",), subtract_words=("tower",))),
        Edit(CASTLE, weights={40: 1.0}),
        Edit(HOUSE, blend=Blend(source_words=("tower",))),
    ],
)
def test_words_that_are_not_there_are_errors(edit: Edit) -> None:
    with pytest.raises(UnknownWord, match="is not in the prompt"):
        plan(HOUSE, edit)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2000, 2.5, "50", None, True, float("nan")])
def test_numbers_of_steps_that_are_none(eps: PromptToPrompt, steps: object) -> None:
    with pytest.raises(BadSteps, match="1 to 1000"):
        eps.plan(HOUSE, Edit(CASTLE), steps=steps)  # type: ignore[arg-type]


# --- digests: two plans share a state exactly as long as they are the same -------------------------------


def test_digests_differ_from_the_first_step_that_differs() -> None:
    a = plan(HOUSE, Edit(CASTLE, cross_steps=0.8))
    b = plan(HOUSE, Edit(CASTLE, cross_steps=0.5))
    assert [a.digest(k) == b.digest(k) for k in range(11)] == [k <= 5 for k in range(11)]
    assert a.digest(0) == b"" and len({a.digest(k) for k in range(11)}) == 11


def test_digests_know_prompts_faders_self_attention_and_blends() -> None:
    base = Edit(CASTLE)
    variants = [
        Edit("a red car on a snowy hill at night"),
        base.replace(weights={"snowy": 1.1}),
        base.replace(self_steps=0.5),
        base.replace(self_pixels=64),
        base.replace(kind="refine"),
        base.replace(blend=Blend(target_words=("castle",))),
    ]
    digests = [plan(HOUSE, e).digest(10) for e in [base, *variants]]
    assert len(set(digests)) == len(digests)
    assert plan(HOUSE, base.replace(weights={"snowy": 1.0})).digest(10) == digests[0]
    assert plan(HOUSE, base.replace(cross_steps=0.81)).digest(10) == digests[0]


def test_a_blends_threshold_counts_from_its_start() -> None:
    a = plan(HOUSE, Edit(CASTLE, blend=Blend(target_words=("castle",), threshold=0.3, start=0.4)))
    b = plan(HOUSE, Edit(CASTLE, blend=Blend(target_words=("castle",), threshold=0.5, start=0.4)))
    assert [a.digest(k) == b.digest(k) for k in range(11)] == [k <= 4 for k in range(11)]


def test_where_an_edit_leaves_the_sources_path_belongs_to_its_state() -> None:
    early = plan(HOUSE, Edit(HOUSE, weights={"snowy": 2.0}, weight_steps=(0.2, 0.9)))
    late = plan(HOUSE, Edit(HOUSE, weights={"snowy": 2.0}, weight_steps=(0.3, 1.0)))
    assert early.digest(2) == late.digest(3) == b""
    assert early.digest(3) != late.digest(4)


# --- what the user is told ----------------------------------------------------------------------------


def test_nothing_is_silent() -> None:
    same = plan(HOUSE, Edit(HOUSE))
    assert same.changes_nothing and "every fader is at 1" in same.notes[0]
    spaced = plan(HOUSE, Edit(HOUSE.replace(" ", "  ").upper()))
    assert spaced.changes_nothing and "reads both prompts the same" in spaced.notes[0]
    assert not plan(HOUSE, Edit(CASTLE)).changes_nothing and not plan(HOUSE, Edit(CASTLE)).notes
    assert not plan(HOUSE, Edit(HOUSE, weights={"snowy": 1.5})).changes_nothing
    still = plan(HOUSE, Edit(HOUSE, weights={"snowy": 1.5}, weight_steps=0.0))
    assert still.changes_nothing and any("window covers no step" in note for note in still.notes)
    blended = plan(HOUSE, Edit(HOUSE, blend=Blend(target_words=("house",))))
    assert blended.changes_nothing


def test_words_past_the_limit_are_named() -> None:
    long = HOUSE + " hippopotamus" * 4
    p = plan(HOUSE, Edit(long, weights={"#12": 2.0}))
    assert any("hippopotamus" in note and "fell off" in note for note in p.notes)
    assert any("#12" in note and "changes nothing" in note for note in p.notes)


def test_a_blend_that_does_nothing_says_so() -> None:
    long = HOUSE + " hippopotamus" * 4
    lost = plan(HOUSE, Edit(long, blend=Blend(target_words=("#12",))))
    assert any("keeps the whole source" in note and "#12" in note for note in lost.notes)
    half = plan(HOUSE, Edit(long, blend=Blend(source_words=("house",), target_words=("#12",))))
    assert not any("blend" in note for note in half.notes)
    late = plan(HOUSE, Edit(CASTLE, blend=Blend(target_words=("castle",), start=1.0)))
    assert any("starts after the last step" in note for note in late.notes)
    assert not plan(HOUSE, Edit(CASTLE, blend=Blend(target_words=("castle",)))).notes


def test_a_plan_needs_no_model_run(eps: PromptToPrompt) -> None:
    calls = []
    handle = eps.pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    p = eps.plan(HOUSE, Edit(CASTLE), steps=20)
    handle.remove()
    assert not calls and len(p.steps) == 20 and p.steps[0].take.shape == (24, 24)


@pytest.mark.parametrize("text", ["a (red:1.3) house", "a red++ house", "a [red] house"])
def test_weights_written_into_a_prompt_are_letters_and_a_note_says_so(text: str) -> None:
    plan = make_plan(parse("a red house"), parse(text), Edit(text), 4)
    assert any("read as letters" in note and "Edit.from_weighted" in note for note in plan.notes)
    plain = make_plan(parse("a red house"), parse("a blue house"), Edit("a blue house"), 4)
    assert plain.notes == ()
