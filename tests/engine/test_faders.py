"""Faders that keep the picture: weights as shares, and the amount of a whole edit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.attention import AttentionLayer, AttentionRecord, Term, attend
from p2p_core.errors import BadInput, UnknownWord
from p2p_core.injection import Injection, Projections, RowEdit, RowEdits
from p2p_core.plan import make_plan
from reference import side_by_side
from reference.by_hand import controls, embed_two

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close, relative
from .test_paper import CASES, SAME, SCALE, N, literal, random_edit

CASTLE = "a red castle on a snowy hill at night"
CAT = "a big red castle on a snowy hill with a cat"
BLEND = Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.25)
EVERYTHING = Edit(CAT, self_steps=1.0, self_pixels=math.inf, weights={"cat": -1.5, "red": 2.0}, blend=BLEND)


@pytest.fixture
def source(eps: PromptToPrompt) -> Source:
    return eps.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE)


# --- the engine against the literal run ----------------------------------------------------------------


SOME = [
    "swap, one token for many",
    "remove",
    "re-weight",
    "re-weight without injection",
    "blend, subtract, add, windows and faders",
]


@pytest.mark.parametrize("mode, amount", [("share", 1.0), ("gain", 0.6), ("share", 0.6)])
@pytest.mark.parametrize("name", SOME)
def test_modes_and_amounts_are_what_explicit_maps_give(
    eps: PromptToPrompt, source: Source, name: str, mode: str, amount: float
) -> None:
    edit, groups, asked = CASES[name]
    edit = edit.replace(weights_mode=mode, amount=amount)
    literally = {"share": mode == "share", "amount": amount}
    _, theirs, mask = literal(eps, source, edit.prompt, groups, **asked, **literally)
    result = eps.edit(source, edit)
    assert_close(result.latents[None], theirs)
    if mask is not None:
        assert result.mask is not None and np.array_equal(result.mask.astype(bool), mask.numpy())


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_of_any_amount_are_what_explicit_maps_give(v: PromptToPrompt, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = v.generate(HOUSE, seed=3, steps=5, guidance_scale=SCALE)
    edit, groups, asked = random_edit(rng, 5)
    amount, share = float(rng.uniform(0, 1)), bool(seed % 2)
    _, theirs, _ = literal(v, source, edit.prompt, groups, **asked, share=share, amount=amount)
    edit = edit.replace(amount=amount, weights_mode="share" if share else "gain")
    assert_close(v.edit(source, edit).latents[None], theirs)


def test_sdxls_pooled_text_takes_part_in_the_amount() -> None:
    xl = PromptToPrompt(tiny.xl_pipeline())
    source = xl.generate(HOUSE, seed=3, steps=4, guidance_scale=SCALE)
    (negative, one, two), added = embed_two(xl.pipe, HOUSE, CASTLE, (64, 64))
    pooled = added["text_embeds"]
    pooled[3] = 0.3 * pooled[3] + 0.7 * pooled[2]
    asked = controls(xl.pipe.tokenizer, HOUSE, CASTLE, SAME, 4, cross=(0, 2), self_steps=(0, 2), amount=0.3)
    theirs = side_by_side.sample(
        xl.pipe, (negative, one, two), source.latents[:1], asked, steps=4, guidance_scale=SCALE, added=added
    )
    result = xl.edit(source, Edit(CASTLE, cross_steps=0.5, self_steps=0.5, amount=0.3))
    assert_close(result.latents[None], theirs[1])


# --- the ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", [EVERYTHING, EVERYTHING.replace(weights_mode="share"), Edit("")])
def test_no_amount_of_an_edit_is_the_source_bit_for_bit(
    eps: PromptToPrompt, source: Source, edit: Edit
) -> None:
    result = eps.edit(source, edit.replace(amount=0))
    assert torch.equal(result.latents, source.latents[-1]) and result.steps_computed == 0
    assert np.array_equal(np.asarray(result.image), np.asarray(source.image))
    assert any("amount of the edit is 0" in note for note in result.plan.notes)
    with_no_word = edit.replace(amount=0, weights={"elephant": 2})
    with pytest.raises(UnknownWord, match="elephant"):
        eps.edit(source, with_no_word)


@pytest.mark.parametrize("edit", [EVERYTHING, EVERYTHING.replace(weights_mode="share"), Edit("")])
def test_an_amount_near_an_end_is_near_it(eps: PromptToPrompt, source: Source, edit: Edit) -> None:
    whole = eps.edit(source, edit.replace(blend=None)).latents
    steps = [relative(whole, source.latents[-1])]
    assert steps[0] > 0.05
    little = eps.edit(source, edit.replace(blend=None, amount=1e-5)).latents
    nearly = eps.edit(source, edit.replace(blend=None, amount=1 - 1e-5)).latents
    assert relative(little, source.latents[-1]) < 1e-2 * steps[0]
    assert relative(nearly, whole) < 1e-2 * steps[0]


def test_the_whole_amount_is_the_edit_and_known(eps: PromptToPrompt, source: Source) -> None:
    whole = eps.edit(source, EVERYTHING)
    again = eps.edit(source, EVERYTHING.replace(amount=1))
    assert torch.equal(again.latents, whole.latents) and again.steps_computed == 0


@pytest.mark.parametrize("edit", [Edit(HOUSE, weights_mode="share"), Edit(HOUSE, amount=0.4)])
def test_equal_prompts_and_faders_at_one_are_the_source(
    eps: PromptToPrompt, source: Source, edit: Edit
) -> None:
    result = eps.edit(source, edit.replace(weights={"red": 1.0}))
    assert torch.equal(result.latents, source.latents[-1]) and result.plan.changes_nothing
    plan = make_plan(source.prompt, source.prompt, edit, N)
    state = source.state(0)
    for i in range(N):  # every step really run
        state = eps.edit_step(source, [plan], [state])[0]
        if edit.amount == 1:
            assert torch.equal(state.latents, source.latents[i + 1, None])
        assert_close(state.latents, source.latents[i + 1, None])


def test_one_word_for_another_has_nothing_to_divide(eps: PromptToPrompt, source: Source) -> None:
    """Every row of the edited map sums to 1, so both modes are one edit, and known."""
    edit = Edit("a red car on a snowy hill at night")
    first = eps.edit(source, edit)
    second = eps.edit(source, edit.replace(weights_mode="share"))
    assert second.steps_computed == 0 and torch.equal(first.latents, second.latents)


# --- reuse ---------------------------------------------------------------------------------------------


def test_edits_of_all_modes_in_one_batch_are_themselves(eps: PromptToPrompt, source: Source) -> None:
    edits = [
        EVERYTHING.replace(weights_mode=mode, amount=amount, blend=None)
        for mode in ("gain", "share")
        for amount in (0, 0.3, 0.7, 1)
    ]
    edits += [Edit(CASTLE), Edit(CASTLE, cross_steps=0, self_steps=0), Edit(HOUSE, weights={"red": 3})]
    together = eps.edit_many(source, edits)
    eps.forget_edits()
    for edit, result in zip(edits, together, strict=True):
        assert_close(result.latents, eps.edit(source, edit).latents)
    ends = {bytes(result.latents.numpy().tobytes()) for result in together}
    assert len(ends) == len(edits) - 1, "both modes of an amount of 0 are the source, all others differ"


def test_amounts_without_a_cache_are_the_same() -> None:
    ends = []
    for budget in (None, 0):
        p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=budget)
        source = p2p.generate(HOUSE, seed=3, steps=5, guidance_scale=SCALE)
        ends.append(p2p.edit(source, EVERYTHING.replace(amount=0.5, weights_mode="share")).latents)
    assert_close(*ends)


def test_an_amount_of_an_edit_of_an_edit(eps: PromptToPrompt, source: Source) -> None:
    """The first edit is its source: at 0 bit for bit, near 0 nearly, at 1 the second edit."""
    first = eps.edit(source, Edit(CAT, weights={"red": 1.5})).as_source()
    second = Edit("a big red car on a snowy hill with a cat", weights={"cat": -0.5}, weights_mode="share")
    assert torch.equal(eps.edit(first, second.replace(amount=0)).latents, first.latents[-1])
    whole = eps.edit(first, second)
    little = eps.edit(first, second.replace(amount=1e-5))
    span = relative(whole.latents, first.latents[-1])
    assert relative(little.latents, first.latents[-1]) < 1e-2 * span
    half = eps.edit(first, second.replace(amount=0.5)).latents
    assert relative(half, first.latents[-1]) > 0.05 * span and relative(half, whole.latents) > 0.05 * span


@pytest.mark.parametrize("change", [{"amount": 0.5}, {"weights_mode": "share", "weights": {"red": 2}}])
def test_what_is_no_map_times_values_is_no_source(
    eps: PromptToPrompt, source: Source, change: dict[str, Any]
) -> None:
    result = eps.edit(source, Edit(CASTLE, **change))
    for ask in (result.as_source, lambda: result.attention("castle")):
        with pytest.raises(BadInput, match="has no maps"):
            ask()


# --- a layer -------------------------------------------------------------------------------------------

LAYER = AttentionLayer(name="x", kind="cross", halvings=0, mid=False, heads=2, scale=0.5)
S, C, PIXELS = 6, 8, 5


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g) * 2 for shape in shapes]


def crossed(q: Any, k: Any, v: Any, q_source: Any, k_source: Any, row: RowEdit) -> torch.Tensor:
    record = AttentionRecord(cross={"x": (Term(q_source, k_source),)})
    edits = RowEdits([row], torch.device("cpu"), torch.float32)
    return Injection(record, edits).cross(q, k, v, LAYER, Projections())


weights = st.lists(st.floats(-5, 5), min_size=S, max_size=S)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 8), min_size=S - 1, max_size=S - 1), st.booleans(), st.integers(0, 99))
def test_shares_are_a_softmax_with_the_weights_logarithm(w: list[float], taken: bool, seed: int) -> None:
    q, k, v = tensors(seed, (1, PIXELS, C), (1, S, C), (1, S, C))
    w_ = torch.tensor([1.0, *w])  # the start mark has no fader
    take, keep = (w_.diag(), torch.zeros(S)) if taken else (None, w_)
    got = crossed(q, k, v, q, k, RowEdit(take=take, keep=keep, self_pixels=0, share=True))
    parts = []
    for h in range(LAYER.heads):
        at = slice(h * 4, h * 4 + 4)
        logits = q[0, :, at] @ k[0, :, at].T * LAYER.scale + w_.log()
        parts.append(logits.softmax(-1) @ v[0, :, at])
    assert_close(got[0], torch.cat(parts, -1))


@settings(deadline=None, max_examples=60)
@given(weights, weights, st.integers(0, 99))
def test_shares_are_never_larger_than_the_values(take: list[float], keep: list[float], seed: int) -> None:
    q, k, v, q_source, k_source = tensors(seed, (1, PIXELS, C), *[(1, S, C)] * 2, (1, PIXELS, C), (1, S, C))
    row = RowEdit(take=torch.tensor(take).diag(), keep=torch.tensor(keep), self_pixels=0, share=True)
    got = crossed(q, k, v, q_source, k_source, row)
    assert (got.abs() <= v.abs().amax((0, 1)) * (1 + 1e-5)).all()


@settings(deadline=None, max_examples=30)
@given(weights, weights, st.integers(0, 99))
def test_gains_are_the_two_products_bit_for_bit(take: list[float], keep: list[float], seed: int) -> None:
    q, k, v, q_source, k_source = tensors(seed, (1, PIXELS, C), *[(1, S, C)] * 2, (1, PIXELS, C), (1, S, C))
    t, w = torch.tensor(take).diag(), torch.tensor(keep)
    got = crossed(q, k, v, q_source, k_source, RowEdit(take=t, keep=w, self_pixels=0))
    assert torch.equal(got, attend(q, k, v * w[:, None], LAYER) + attend(q_source, k_source, t @ v, LAYER))


def test_a_share_is_continuous_at_zero(eps: PromptToPrompt, source: Source) -> None:
    ends = [
        eps.edit(source, Edit(HOUSE, weights={"snowy": c}, weights_mode="share")).latents
        for c in (-1e-5, 0.0, 1e-5)
    ]
    span = relative(ends[1], source.latents[-1])
    assert relative(ends[0], ends[1]) < 1e-2 * span and relative(ends[2], ends[1]) < 1e-2 * span
