"""Local blend in whole edits: regions drawn by hand, soft edges, the layers that maps are read from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source

from .. import tiny

SOURCE, TARGET = "a red house on a hill", "a red castle on a hill"


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline(), device="cpu")


@pytest.fixture(scope="module")
def source(p2p: PromptToPrompt) -> Source:
    return p2p.generate(SOURCE, seed=3, steps=6, guidance_scale=4.0)


def test_a_drawn_region_keeps_the_source_outside(p2p: PromptToPrompt, source: Source) -> None:
    h, w = source.latent_size
    mask = np.zeros((8 * h, 8 * w))
    mask[: 4 * h] = 1
    result = p2p.edit(source, Edit(TARGET, cross_steps=0, self_steps=0, blend=Blend(mask=mask, start=0)))
    assert result.mask is not None and np.array_equal(
        result.mask, np.repeat([[1.0] * w, [0.0] * w], h // 2, 0)
    )
    outside = slice(h // 2, None)
    assert torch.equal(result.latents[:, outside], source.latents[-1, :, outside])
    assert not torch.allclose(result.latents[:, : h // 2], source.latents[-1, :, : h // 2])


def test_all_painted_is_the_edit_and_nothing_painted_the_source(p2p: PromptToPrompt, source: Source) -> None:
    free = Edit(TARGET, cross_steps=0.5, self_steps=0.2)
    everything = p2p.edit(source, free.replace(blend=Blend(mask=np.ones((4, 4)))))
    assert torch.equal(everything.latents, p2p.edit(source, free).latents)
    nothing = p2p.edit(source, free.replace(blend=Blend(mask=np.zeros((4, 4)), start=0)))
    assert torch.equal(nothing.latents, source.latents[-1])


def test_a_mask_starts_when_the_blend_does(p2p: PromptToPrompt, source: Source) -> None:
    """Before its start the edit is the one without a blend, so those steps are not computed again."""
    free = Edit(TARGET, cross_steps=0.5, self_steps=0.2)
    p2p.forget_edits()
    p2p.edit(source, free)
    half = Blend(mask=np.eye(16), start=0.5)
    assert p2p.plan(SOURCE, free.replace(blend=half), steps=6).steps[2].blend.mask is None
    blended = p2p.edit(source, free.replace(blend=half))
    other = p2p.edit(source, free.replace(blend=Blend(mask=1 - np.eye(16), start=0.5)))
    assert blended.steps_computed == 6 and other.steps_computed == 3
    assert not torch.equal(blended.latents, other.latents)


def test_a_soft_edge_mixes_the_latents(p2p: PromptToPrompt, source: Source) -> None:
    edit = Edit(TARGET, cross_steps=0, self_steps=0)
    half = np.full((16, 16), 1.0)
    half[:, 8:] = 0
    start = 5 / 6  # the last step only, so that the mixture can be told by hand
    result = p2p.edit(source, edit.replace(blend=Blend(mask=half, soft=0.2, start=start)))
    free = p2p.edit(source, edit)
    m = torch.tensor(result.mask)
    assert ((m > 0.01) & (m < 0.99)).any()
    by_hand = m * free.latents + (1 - m) * source.latents[-1]
    torch.testing.assert_close(result.latents, by_hand, atol=1e-5, rtol=1e-5)


def test_streaming_many_can_stop_and_go_on(p2p: PromptToPrompt, source: Source) -> None:
    edits = [Edit(TARGET, cross_steps=f, self_steps=0) for f in (0.0, 0.5, 1.0)]
    whole = p2p.edit_many(source, edits)
    p2p.forget_edits()
    run, seen = p2p.stream_many(source, edits), []
    for state in run:
        seen.append(state.index)
        if state.index == 4:  # the whole level has been computed as one batch
            break
    run.close()
    assert seen == sorted(seen)
    rest = p2p.edit_many(source, edits)
    assert [r.steps_computed for r in rest] == [2, 2, 2]
    for a, b in zip(whole, rest, strict=True):
        torch.testing.assert_close(a.latents, b.latents, atol=1e-4, rtol=1e-4)


def test_the_groups_of_layers_are_what_attention_takes(p2p: PromptToPrompt, source: Source) -> None:
    groups = p2p.map_layers(source)
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names)) == sum(site.kind == "cross" for site in p2p.model.sites)
    for title, sites in groups.items():
        found = source.attention("house", sites=sites)
        assert title.endswith("{} x {}".format(*found.shape)) and 0 < found.max() <= 1
