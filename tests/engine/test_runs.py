"""Inside the loop: the text is projected once a run, and nothing makes the host wait for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.model.conditioning import MAX_BATCHES, StepInputs

from .. import tiny
from ..conftest import HOUSE

CASTLE = "a red castle on a snowy hill at night"
# what makes the host wait for a GPU: reading a number, comparing tensors, sizes that depend on values, and
# indices that are lists of numbers and must be copied over first
WAITING = ("_local_scalar_dense", "equal.", "is_nonzero", "nonzero", "unique", "masked_select")
WAITING += ("index.Tensor", "index_put")


class NoWaiting(TorchDispatchMode):
    """Raises where an operation would make the host wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        assert not name.startswith(WAITING), f"{name} in the loop"
        return func(*args, **(kwargs or {}))


@contextmanager
def projections(p2p: PromptToPrompt) -> Iterator[Counter[str]]:
    """How often each cross-attention layer projected keys."""
    counts: Counter[str] = Counter()
    handles = []
    for site in p2p.model.sites:
        if site.kind == "cross":
            layer = p2p.pipe.unet.get_submodule(site.name).to_k
            handles.append(layer.register_forward_hook(lambda *_, name=site.name: counts.update([name])))
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def test_text_is_projected_once_a_run(eps: PromptToPrompt) -> None:
    cross = [site.name for site in eps.model.sites if site.kind == "cross"]
    with projections(eps) as counts:
        source = eps.generate(HOUSE, seed=31, steps=6)
    assert counts == dict.fromkeys(cross, 1)
    with projections(eps) as counts:
        eps.edit(source, Edit(CASTLE, cross_steps=0.5, self_steps=0.5, weights={"snowy": 1.5}))
    assert counts == dict.fromkeys(cross, 1)
    eps.forget(source)
    with projections(eps) as counts:  # recorded again step by step: once for the source, once for the edit
        eps.edit(source, Edit(CASTLE))
    assert counts == dict.fromkeys(cross, 2)
    with projections(eps) as counts:
        eps.edit_many(source, [Edit(CASTLE, cross_steps=f / 6) for f in range(6)])
    assert max(counts.values()) <= 6, "no more often than the number of edits under way changes"


def test_a_changed_weight_is_seen_by_the_next_run() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    source = p2p.generate(HOUSE, steps=2, seed=1)
    layer = p2p.pipe.unet.get_submodule(next(s.name for s in p2p.model.sites if s.kind == "cross")).to_v
    layer.weight.data.mul_(-1)
    assert not torch.equal(p2p.generate(HOUSE, steps=2, seed=1).latents, source.latents)


BLEND = Blend(source_words=("house", "night"), target_words=("castle",), threshold=0.5, start=0.0)
EDITS = {
    "swap": [Edit(CASTLE, cross_steps=1.0, self_steps=1.0)],
    "faders": [Edit(CASTLE, cross_steps=0.0, self_steps=1.0, weights={"snowy": -1.0, "red": 1.5})],
    "blend": [Edit(CASTLE, cross_steps=1.0, self_steps=0.0, blend=BLEND)],
    "subtract": [
        Edit(
            CASTLE,
            cross_steps=1.0,
            self_steps=0.0,
            blend=Blend(target_words=("castle",), subtract_words=("hill",), start=0.0),
        )
    ],
    "many": [
        Edit(CASTLE, cross_steps=1.0, self_steps=1.0),
        Edit("a red car on a hill", cross_steps=0.0, self_steps=0.0),
        Edit("a cat on a hill", cross_steps=1.0, self_steps=0.0, blend=Blend(target_words=("cat",))),
        Edit(HOUSE, cross_steps=1.0, self_steps=1.0, weights={"night": 0.5}),
    ],
}


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "euler_ancestral", "lcm"])
@pytest.mark.parametrize("name", EDITS)
def test_no_step_waits_for_the_device(eps: PromptToPrompt, name: str, sampler: str) -> None:
    """Every step but a plan's first: what it needs of the plan lies on the device by then."""
    source = eps.generate(HOUSE, seed=3, steps=6, sampler=sampler)
    plans = [eps.plan(source.prompt.text, edit, steps=source.steps) for edit in EDITS[name]]
    states, run = [source.state(0) for _ in plans], eps.dm(source)
    for i in range(3):
        if i == 2:
            with NoWaiting():
                states = eps.edit_step(source, plans, states, run)
        else:
            states = eps.edit_step(source, plans, states, run)
    assert all(state.index == 3 for state in states)


def test_no_recorded_step_waits_for_the_device(eps: PromptToPrompt) -> None:
    states = eps.record(HOUSE, seed=41, steps=4)
    next(states)
    with NoWaiting():
        next(states)
    states.close()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        torch.ones(1).item()


@pytest.mark.gpu
def test_no_step_waits_for_a_gpu() -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cuda")
    source = p2p.generate(HOUSE, seed=3, steps=6)
    plan, run = p2p.plan(source.prompt.text, EDITS["blend"][0], steps=source.steps), p2p.dm(source)
    state = source.state(0)
    for i in range(4):
        torch.cuda.set_sync_debug_mode("error" if i == 2 else "default")
        try:
            state = p2p.edit_step(source, [plan], [state], run)[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_run_remembers_few_batches(eps: PromptToPrompt, source: Source) -> None:
    run = StepInputs(eps.model, (16, 16), 5.0)
    prompts = [eps.prompt(text) for text in (HOUSE, CASTLE, "a cat", "a bear")]
    first = run.text(prompts[:1])
    assert run.text(prompts[:1]) is first
    later = [run.text([prompt]) for prompt in prompts[1:]]
    for prompt, text in list(zip(prompts[1:], later, strict=True))[-MAX_BATCHES:]:
        assert run.text([prompt]) is text
    assert run.text(prompts[:1]) is not first


# --- what is made once in a run ---------------------------------------------------------------------


class Count(TorchDispatchMode):
    """Counts operations that a GPU would be given: no views."""

    VIEWS = (
        "view",
        "slice",
        "select",
        "expand",
        "transpose",
        "permute",
        "t.",
        "detach",
        "unsqueeze",
        "_unsafe",
    )
    VIEWS += (
        "chunk",
        "split",
        "alias",
        "as_strided",
        "squeeze",
        "_reshape_alias",
        "unbind",
        "empty",
        "new_zeros",
    )

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not str(func).removeprefix("aten.").startswith(self.VIEWS)
        return func(*args, **(kwargs or {}))


LONGER = "a big red house on a snowy hill at night with a cat"


@pytest.mark.parametrize(
    "edit",
    [
        Edit(CASTLE, cross_steps=1.0, self_steps=1.0),
        Edit(LONGER, cross_steps=1.0, self_steps=1.0),
        Edit(LONGER, cross_steps=1.0, self_steps=0.0, weights={"snowy": 1.5}),
        Edit(CASTLE, cross_steps=0.0, self_steps=0.0, weights={"snowy": 1.5}),
    ],
    ids=["swap", "added words", "added words and a fader", "fader"],
)
def test_a_step_asks_for_hardly_more_than_the_plain_unet(eps: PromptToPrompt, edit: Edit) -> None:
    """Within 10 % of diffusers' own two rows, by the number of operations. The values are mixed in a run's
    first step only, so that added words cost a second attend per layer and little else."""
    source = eps.generate(HOUSE, seed=3, steps=4)
    plan, run, state = eps.plan(source.prompt.text, edit, steps=source.steps), eps.dm(source), source.state(0)
    state = eps.edit_step(source, [plan], [state], run)[0]
    with Count() as ours:
        eps.edit_step(source, [plan], [state], run)
    text = eps.model.text([eps.prompt(""), eps.prompt(HOUSE)], (16, 16), 7.5, 1)
    x = torch.cat([source.latents[:1]] * 2)
    with torch.no_grad(), Count() as theirs:
        eps.pipe.unet(x, torch.tensor(901), encoder_hidden_states=text.rows, return_dict=False)
    assert ours.count <= 1.10 * theirs.count, (ours.count, theirs.count)


def test_edits_of_edits_share_their_mixes(eps: PromptToPrompt) -> None:
    """One mix for all layers and steps that have it alike, so its product with the values is made once."""
    source = eps.generate(HOUSE, seed=3, steps=4)
    chained = eps.edit(source, Edit(LONGER, cross_steps=1.0, self_steps=0.0)).as_source()
    run, second = eps.dm(chained), Edit("a red cat on a big hill", cross_steps=1.0, self_steps=0.0)
    eps.forget_edits()
    plan, state = eps.plan(chained.prompt.text, second, steps=chained.steps), chained.state(0)
    for _ in range(2):
        state = eps.edit_step(chained, [plan], [state], run)[0]
    records = [eps.cache.get(chained.key, i) for i in range(2)]
    mixes = {t.mix for r in records if r for terms in r.cross.values() for t in terms}
    assert len(mixes) == 2, "take, and diag(keep)"
    with Count() as later:
        state = eps.edit_step(chained, [plan], [state], run)[0]
    with Count() as again:
        eps.edit_step(chained, [plan], [state], run)
    assert again.count <= later.count


def test_a_level_of_many_edits_brings_a_step_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p2p = PromptToPrompt(tiny.pipeline(), cache_bytes={"device": 0, "host": 1 << 30})
    source = p2p.generate(HOUSE, seed=3, steps=3)
    monkeypatch.setattr(p2p, "_edits_at_once", lambda _size, rows: 2)
    read, get = [], p2p.cache.get
    monkeypatch.setattr(p2p.cache, "get", lambda *asked: read.append(asked[1]) or get(*asked))
    p2p.edit_many(source, [Edit(CASTLE, cross_steps=1.0, weights={"snowy": n / 4}) for n in range(6)])
    assert read == list(range(source.steps))


def test_maps_are_read_back_once(eps: PromptToPrompt) -> None:
    source, copies = eps.generate(HOUSE, seed=3, steps=4), []
    cpu = torch.Tensor.cpu
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "cpu", lambda x: copies.append(1) or cpu(x))
        source.attention("house")
    assert len(copies) == 1
