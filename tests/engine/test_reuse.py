"""Exact reuse, batched edits, eviction, edits of edits, and that nothing is left behind in the model."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, P2PError, PromptToPrompt, Source, StepState

from .. import tiny
from ..conftest import HOUSE
from ..counting import unet_calls
from ..tolerances import assert_close

CASTLE = "a red castle on a snowy hill at night"
N = 8
BLEND = Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.5)
EDITS = [
    Edit(CASTLE, cross_steps=0.75, self_steps=0.5),
    Edit(CASTLE, cross_steps=0.5, self_steps=0.5, weights={"snowy": -1.5}),
    Edit("a big red house on a snowy hill with a cat at night", cross_steps={"default_": 0.75, "hill": 0.25}),
    Edit(CASTLE, cross_steps=0.75, self_steps=0.25, blend=BLEND),
    Edit(HOUSE, weights={"night": 1.8}, weight_steps=(0.5, 1.0)),
    Edit(HOUSE),
]


class Counter:
    """UNet calls and their rows."""

    def __init__(self, asked: list[torch.Tensor]) -> None:
        self.asked = asked

    @property
    def calls(self) -> int:
        return len(self.asked)

    @property
    def rows(self) -> int:
        return sum(map(len, self.asked))


@contextmanager
def counted(p2p: PromptToPrompt) -> Iterator[Counter]:
    with unet_calls(p2p.pipe.unet) as asked:
        yield Counter(asked)


@pytest.mark.parametrize("edit", EDITS, ids=lambda e: e.to_json()[:60])
def test_resuming_from_every_step_is_a_run_from_scratch(
    p2p: PromptToPrompt, source: Source, edit: Edit
) -> None:
    p2p.forget_edits()
    whole = p2p.edit(source, edit)
    for k in range(N + 1):
        p2p.forget_edits()
        states = p2p.stream(source, edit)
        for state in states:  # stop after k steps
            if state.index >= k:
                break
        states.close()
        resumed = p2p.edit(source, edit)
        assert torch.equal(resumed.latents, whole.latents)
        assert np.array_equal(np.asarray(resumed.image), np.asarray(whole.image))
        if k:
            assert resumed.steps_computed <= N - k


def test_moving_a_window_recomputes_the_steps_after_it(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    late = p2p.edit(source, Edit(CASTLE, cross_steps=0.75, self_steps=0.25))
    assert late.steps_computed == N
    with counted(p2p) as counter:
        early = p2p.edit(source, Edit(CASTLE, cross_steps=0.5, self_steps=0.25))
    assert early.steps_computed == counter.calls == N - 4 and early.steps_reused == 4
    with counted(p2p) as counter:
        back = p2p.edit(source, Edit(CASTLE, cross_steps=0.75, self_steps=0.25))
    assert back.steps_computed == counter.calls == 0
    assert torch.equal(back.latents, late.latents)
    p2p.forget_edits()
    assert torch.equal(
        p2p.edit(source, Edit(CASTLE, cross_steps=0.5, self_steps=0.25)).latents, early.latents
    )


def test_the_same_edit_again_makes_no_call(p2p: PromptToPrompt, source: Source) -> None:
    p2p.edit(source, EDITS[2])
    decode, decoded = p2p.model.decode, []
    with counted(p2p) as counter, pytest.MonkeyPatch.context() as patch:
        patch.setattr(p2p.model, "decode", lambda *asked: decoded.append(1) or decode(*asked))
        again = p2p.edit(source, EDITS[2])
        same_plan = p2p.edit(source, EDITS[2].replace(cross_steps={"hill": 0.25, "default_": 0.76}))
    assert counter.calls == 0 and again.steps_computed == same_plan.steps_computed == 0
    assert not decoded, "the decoded picture is kept too"
    assert np.array_equal(np.asarray(again.image), np.asarray(same_plan.image))


def test_a_threshold_recomputes_from_the_blends_first_step(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    p2p.edit(source, EDITS[3])
    blend = Blend(source_words=("house",), target_words=("castle",), threshold=0.8, start=0.5)
    moved = p2p.edit(source, EDITS[3].replace(blend=blend))
    assert moved.steps_computed == N - 4
    p2p.forget_edits()
    assert torch.equal(p2p.edit(source, EDITS[3].replace(blend=blend)).latents, moved.latents)


def test_late_faders_start_from_the_sources_own_steps(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    assert p2p.edit(source, EDITS[4]).steps_computed == N - 4


def test_edit_many_is_edits_one_by_one(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    many = p2p.edit_many(source, EDITS)
    for edit, together in zip(EDITS, many, strict=True):
        p2p.forget_edits()
        alone = p2p.edit(source, edit)
        assert_close(together.latents, alone.latents)
        assert (together.mask is None) == (alone.mask is None)
    assert p2p.edit_many(source, []) == []


def test_a_sweep_shares_its_steps(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    edits = [Edit(CASTLE, cross_steps=f / 10, self_steps=0.0) for f in range(11)]
    steps = [0]
    with counted(p2p) as counter:
        results = p2p.edit_many(source, edits, on_step=lambda _: steps.__setitem__(0, steps[0] + 1))
    distinct = {results[i].plan.digest(k) for i in range(11) for k in range(1, N + 1)}
    assert sum(r.steps_computed for r in results) == steps[0] == len(distinct) <= 0.62 * 11 * N
    assert counter.rows == 2 * len(distinct) and counter.calls <= 2 * N
    assert p2p.edit_many(source, edits)[3].steps_computed == 0


@pytest.mark.parametrize("budget", [0, 300_000])
def test_evicted_sources_are_recorded_again(budget: int) -> None:
    big = PromptToPrompt(tiny.pipeline())
    small = PromptToPrompt(big.pipe, cache_bytes=budget)
    sources = [p.generate(HOUSE, seed=3, steps=N, guidance_scale=5.0) for p in (big, small)]
    assert small.cache.nbytes <= budget < sources[0].nbytes
    assert "of 8 steps" in sources[1].where or sources[1].where == "latents only"
    for edit in EDITS[:4]:
        assert_close(small.edit(sources[1], edit).latents, big.edit(sources[0], edit).latents)
    assert small.cache.nbytes <= budget
    assert np.allclose(sources[1].attention("house"), sources[0].attention("house"), atol=1e-6)


def test_forgotten_sources_can_still_be_edited(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, seed=9, steps=N)
    before = eps.edit(source, EDITS[0])
    held = eps.cache.nbytes
    eps.forget(source)
    assert eps.cache.nbytes < held and source.where == "latents only"
    assert_close(eps.edit(source, EDITS[0]).latents, before.latents)


@pytest.mark.parametrize("edit", EDITS[:5], ids=lambda e: e.to_json()[:60])
def test_an_edit_as_a_source_is_the_edit(p2p: PromptToPrompt, source: Source, edit: Edit) -> None:
    result = p2p.edit(source, edit)
    chained = result.as_source()
    same = p2p.edit(chained, Edit(edit.prompt, cross_steps=1.0, self_steps=1.0))
    if edit.blend is None:
        assert torch.equal(same.latents, result.latents) and same.steps_computed == 0
    assert same.image.size == result.image.size


@pytest.mark.parametrize("edit", [EDITS[0], EDITS[1], EDITS[2]], ids=lambda e: e.to_json()[:60])
def test_an_edit_as_a_source_holds_the_edited_maps(p2p: PromptToPrompt, source: Source, edit: Edit) -> None:
    """Injecting all its maps into its own prompt, step by step, gives the edit again."""
    from p2p_core.plan import make_plan

    result = p2p.edit(source, edit)
    chained = result.as_source()
    full = Edit(edit.prompt, cross_steps=1.0, self_steps=1.0)
    plan = make_plan(chained.prompt, chained.prompt, full, N)
    state = chained.state(0)
    for _ in range(N):
        state = p2p.edit_step(chained, [plan], [state])[0]
    assert_close(state.latents[0], result.latents)


@pytest.mark.parametrize("windows", [(0.8, 0.4), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("edit", EDITS, ids=lambda e: e.to_json()[:60])
def test_a_fader_just_above_1_jumps_nowhere(
    p2p: PromptToPrompt, source: Source, edit: Edit, windows: tuple[float, float]
) -> None:
    """An edit of an edit with equal prompts is the source where all its injection is repeated, else not."""
    chained = p2p.edit(source, edit).as_source()
    again = Edit(edit.prompt, cross_steps=windows[0], self_steps=windows[1])
    same = p2p.edit(chained, again)
    near = p2p.edit(chained, again.replace(weights={"hill": 1.000001}))
    assert near.steps_computed > 0
    assert (same.latents - near.latents).abs().max() < 1e-4
    if windows == (1.0, 1.0) and edit.blend is None:
        assert same.plan.changes_nothing
    assert torch.equal(same.latents, chained.latents[-1]) is same.plan.changes_nothing


def test_an_edit_that_changed_nothing_is_a_source_like_the_one_before(
    p2p: PromptToPrompt, source: Source
) -> None:
    chained = p2p.edit(source, Edit(HOUSE)).as_source()
    assert p2p.edit(chained, Edit(HOUSE, cross_steps=0.0, self_steps=0.0)).plan.changes_nothing


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_region_of_a_word_that_was_turned_off_is_that_of_its_own_map(
    p2p: PromptToPrompt, source: Source, weight: float
) -> None:
    off = p2p.edit(source, Edit(HOUSE, weights={"house": weight}, cross_steps=1.0))
    seen = off.attention("house")
    assert seen.min() >= 0
    assert np.allclose(seen, source.attention("house"), atol=1e-5)
    swap = Edit("a red castle on a snowy hill at night", blend=Blend(source_words=("house",), start=0.0))
    mask = p2p.edit(off.as_source(), swap).mask
    assert mask is not None and 0 < mask.mean() < 1
    assert np.array_equal(mask, p2p.edit(source, swap).mask)


def test_as_source_after_the_states_were_forgotten(p2p: PromptToPrompt, source: Source) -> None:
    for edit in (EDITS[0], EDITS[3]):
        result = p2p.edit(source, edit)
        kept = result.as_source()
        p2p.forget_edits()
        assert torch.equal(result.as_source().latents, kept.latents)


def test_chained_edits_without_a_cache_are_the_same() -> None:
    big = PromptToPrompt(tiny.pipeline())
    small = PromptToPrompt(big.pipe, cache_bytes=0)
    ends = []
    for p2p in (big, small):
        result = p2p.edit(p2p.generate(HOUSE, seed=3, steps=4, guidance_scale=5.0), EDITS[1])
        second = p2p.edit(result.as_source(), Edit("a red castle on a big hill", weights={"hill": -0.5}))
        ends.append(p2p.edit(second.as_source(), Edit("a red cat on a big hill", self_steps=1.0)))
    assert_close(ends[1].latents, ends[0].latents)
    assert np.allclose(ends[1].attention("cat"), ends[0].attention("cat"), atol=1e-5)


def test_edits_of_edits_of_edits(p2p: PromptToPrompt, source: Source) -> None:
    result = p2p.edit(source, EDITS[0])
    for target in ("a red castle on a big hill at night", "a red castle on a big hill at night with a cat"):
        result = p2p.edit(result.as_source(), Edit(target, cross_steps=0.75, self_steps=0.25))
        assert bool(result.latents.isfinite().all())
    assert result.attention("castle").shape == (16, 16)


def test_one_seed_in_two_sizes_is_two_sources(eps: PromptToPrompt) -> None:
    """Noise of 16 x 24 and of 24 x 16 is the same run of numbers: nothing kept may be mixed up."""
    wide = eps.generate(HOUSE, seed=3, steps=3, height=64, width=96)
    tall = eps.generate(HOUSE, seed=3, steps=3, height=96, width=64)
    assert wide.latents[0].flatten().equal(tall.latents[0].flatten())
    assert wide.image.size == (96, 64) and tall.image.size == (64, 96) and wide.key != tall.key
    alone = PromptToPrompt(eps.pipe).generate(HOUSE, seed=3, steps=3, height=96, width=64)
    assert torch.equal(eps.edit(tall, EDITS[0]).latents, alone.engine.edit(alone, EDITS[0]).latents)


# --- attention maps ---------------------------------------------------------------------------------


def test_attention_is_the_mean_of_explicit_maps(eps: PromptToPrompt) -> None:
    """Against maps made by hooks on to_q and to_k of the layers of the 16 x 16 grid."""
    source = eps.generate(HOUSE, seed=4, steps=3, guidance_scale=1.0)
    seen: dict[str, list[torch.Tensor]] = {}
    names = [s.name for s in eps.model.sites if s.kind == "cross" and s.grid((16, 16)) == (16, 16)]
    handles = []
    for name in names:
        attn = eps.pipe.unet.get_submodule(name)
        for part in ("to_q", "to_k"):
            key = f"{name}.{part}"
            handles.append(
                getattr(attn, part).register_forward_hook(
                    lambda _m, _i, out, key=key: seen.setdefault(key, []).append(out[0].detach())
                )
            )
    eps.generate(HOUSE, seed=4, steps=3, guidance_scale=1.0)
    for handle in handles:
        handle.remove()
    word = source.prompt.find("house")
    for step in (None, 0, 2):
        maps = []
        for name in names:
            for i in range(3) if step is None else [step]:
                q = seen[f"{name}.to_q"][i].view(256, 4, 4).transpose(0, 1)
                k = (
                    seen[f"{name}.to_k"][0].view(-1, 4, 4).transpose(0, 1)
                )  # the same in every step: made once
                maps.append(torch.softmax(q @ k.transpose(1, 2) / 2, -1).mean(0)[:, list(word)].mean(-1))
        expected = torch.stack(maps).mean(0).reshape(16, 16).numpy()
        got = source.attention("house", step=step)
        assert got.dtype == np.float32 and got.shape == (16, 16)
        assert np.allclose(got, expected, atol=1e-6)
        assert 0 <= got.min() and got.max() <= 1


def test_attention_of_other_grids_and_layers(p2p: PromptToPrompt, source: Source) -> None:
    assert source.attention("house", sites=(8, 8)).shape == (8, 8)
    name = next(s.name for s in p2p.model.sites if s.kind == "cross")
    assert source.attention(2, step=1, sites=[name]).shape == (16, 16)
    whole = sum(source.attention(n) for n in range(9))
    assert whole.max() <= 1 + 1e-5, "words share what the start mark leaves"
    for wrong in ("nowhere", (3, 3)):
        with pytest.raises(P2PError, match="sites"):
            source.attention("house", sites=[wrong] if isinstance(wrong, str) else wrong)
    with pytest.raises(P2PError, match="castle"):
        source.attention("castle")
    with pytest.raises(P2PError, match="0 to 7"):
        source.attention("house", step=8)


def test_edited_maps_of_kept_words_are_the_sources(p2p: PromptToPrompt, source: Source) -> None:
    result = p2p.edit(source, Edit(CASTLE, cross_steps=1.0, self_steps=0.0, weights={"snowy": 2.0}))
    assert np.allclose(result.attention("hill"), source.attention("hill"), atol=1e-5)
    assert np.allclose(result.attention("castle"), source.attention("house"), atol=1e-5)
    assert np.allclose(result.attention("snowy"), 2 * source.attention("snowy"), atol=1e-5)


# --- nothing is left behind -------------------------------------------------------------------------


class Stop(Exception):
    pass


def _fail(state: StepState) -> None:
    if state.index == 3:
        raise Stop


def test_processors_are_the_very_same_after_any_call(p2p: PromptToPrompt, source: Source) -> None:
    unet = p2p.pipe.unet
    before = dict(unet.attn_processors)

    def unchanged() -> bool:
        now = unet.attn_processors
        return now.keys() == before.keys() and all(now[name] is before[name] for name in before)

    p2p.forget_edits()
    p2p.edit(source, EDITS[0])
    assert unchanged()
    with pytest.raises(Stop):
        p2p.generate(HOUSE, seed=11, steps=N, on_step=_fail)
    assert unchanged()
    with pytest.raises(Stop):
        p2p.edit(source, EDITS[2], on_step=_fail)
    assert unchanged()
    p2p.forget_edits()
    states = p2p.stream(source, EDITS[0])
    next(states)
    assert unchanged(), "between two steps too"
    states.close()
    with pytest.raises(P2PError):
        p2p.edit(source, Edit(CASTLE, weights={"tower": 2.0}))
    assert unchanged()

    def explode(*_: object) -> None:
        raise Stop

    handle = unet.mid_block.register_forward_hook(explode)
    p2p.forget_edits()
    try:
        with pytest.raises(Stop):
            p2p.edit(source, EDITS[0])
        with pytest.raises(Stop):
            p2p.generate(HOUSE, seed=12, steps=N)
    finally:
        handle.remove()
    assert unchanged()
    assert_close(p2p.edit(source, EDITS[0]).latents, p2p.edit(source, EDITS[0]).latents)


def test_a_stopped_generation_leaves_no_bytes(eps: PromptToPrompt) -> None:
    held = eps.cache.nbytes
    with pytest.raises(Stop):
        eps.generate(HOUSE, seed=77, steps=N, on_step=_fail)
    states = eps.record(HOUSE, seed=78, steps=N)
    next(states)
    states.close()
    assert eps.cache.nbytes == held


def test_stopping_a_second_generation_takes_nothing_from_the_first(eps: PromptToPrompt) -> None:
    """The same settings name the same source: what it recorded must outlive a cancelled repetition."""
    source = eps.generate(HOUSE, seed=21, steps=N)
    with pytest.raises(Stop):
        eps.generate(HOUSE, seed=21, steps=N, on_step=_fail)
    assert eps.cache.steps(source.key) == N
    with counted(eps) as counter:
        eps.edit(source, EDITS[0])
    assert counter.calls == N


def test_a_dropped_generator_leaves_nothing(eps: PromptToPrompt) -> None:
    gc.collect()
    processors, held = dict(eps.pipe.unet.attn_processors), eps.cache.nbytes
    states = eps.record(HOUSE, seed=79, steps=N)
    next(states)
    del states
    gc.collect()
    assert eps.cache.nbytes == held
    assert all(eps.pipe.unet.attn_processors[name] is p for name, p in processors.items())


def test_an_interrupted_batch_is_taken_up_again(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    whole = [result.latents for result in p2p.edit_many(source, EDITS)]
    p2p.forget_edits()
    with pytest.raises(Stop):
        p2p.edit_many(source, EDITS, on_step=_fail)
    for got, expected in zip(p2p.edit_many(source, EDITS), whole, strict=True):
        assert_close(got.latents, expected)


def test_edits_from_several_threads(eps: PromptToPrompt) -> None:
    """One model, one lock a step: steps of several edits interleave and none reads another's maps."""
    source = eps.generate(HOUSE, seed=3, steps=N, guidance_scale=5.0)
    eps.forget_edits()
    alone = [eps.edit(source, edit).latents for edit in EDITS[:4]]
    eps.forget_edits()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda edit: eps.edit(source, edit).latents, EDITS[:4]))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_record_is_the_conditional_row_and_nothing_else(eps: PromptToPrompt) -> None:
    """No view may keep the unconditional half of a batch alive, and what is counted is what is held."""
    source = eps.generate(HOUSE, seed=22, steps=3)
    storages: dict[int, int] = {}
    for i in range(3):
        record = eps.cache.get(source.key, i)
        assert record is not None
        tensors = [x for terms in record.cross.values() for term in terms for x in (term.q, term.k)]
        tensors += [x for pair in record.self_.values() for x in pair]
        for x in tensors:
            storage = x.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            assert x.shape[0] == 1 and storage.nbytes() == x.nbytes
    assert sum(storages.values()) == eps.cache.size(source.key)
    assert source.nbytes == eps.cache.size(source.key) + source.latents.nbytes


def test_two_edits_in_turn_do_not_mix(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    alone = [p2p.edit(source, edit).latents for edit in EDITS[:3]]
    p2p.forget_edits()
    running = [p2p.stream(source, edit) for edit in EDITS[:3]]
    last: dict[int, StepState] = {}
    for _ in range(N):
        for r, states in enumerate(running):
            last[r] = next(states)
    for r, latents in enumerate(alone):
        assert torch.equal(last[r].latents[0], latents)


def test_stream_yields_steps_and_returns_the_result(p2p: PromptToPrompt, source: Source) -> None:
    p2p.forget_edits()
    states, seen = p2p.stream(source, EDITS[0]), []
    while True:
        try:
            seen.append(next(states))
        except StopIteration as stop:
            result = stop.value
            break
    assert [s.index for s in seen] == list(range(1, N + 1)) and not any(s.reused for s in seen)
    assert torch.equal(seen[-1].latents[0], result.latents)
    assert p2p.preview(seen[2]).size == source.image.size
    again = list(p2p.stream(source, EDITS[0]))
    assert [(s.index, s.reused) for s in again] == [(N, True)]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision(dtype: str) -> None:
    half = PromptToPrompt(tiny.pipeline(), dtype=dtype)
    source = half.generate(HOUSE, seed=3, steps=4, guidance_scale=2.0)
    result = half.edit(source, EDITS[1])
    assert source.latents.dtype == half.dtype and bool(result.latents.isfinite().all())
    full = PromptToPrompt(tiny.pipeline())
    reference = full.generate(HOUSE, seed=3, steps=4, guidance_scale=2.0)
    assert_close(source.latents[-1:], reference.latents[-1:], half.dtype)
    assert_close(result.latents, full.edit(reference, EDITS[1]).latents, half.dtype)
