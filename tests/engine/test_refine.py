"""Sharper regions: a word's map times the source's self-attention, and regions of any words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.attention import map_sites
from p2p_core.errors import BadInput
from p2p_core.model.conditioning import self_limit
from p2p_core.refine import refined, refining_layers
from reference.regions import self_attention_map, word_map

from .. import tiny

HOUSE, CASTLE = "a red house on a snowy hill at night", "a red castle on a snowy hill at night"
SWAP = Blend(source_words=("house",), target_words=("castle",), start=0.0, threshold=0.5)


def literal(p2p: PromptToPrompt, source: Source, prompt: str, tokens: tuple[int, ...], refine: bool) -> Any:
    """The region by maps that are made whole, from the queries and keys of hooks on the layers."""
    size = source.latent_size
    layers = map_sites(p2p.model.sites, size)
    finest = refining_layers(p2p.model.sites, size, self_limit(None, size))
    assert finest and all(layer.kind == "self" for layer in finest)
    maps, affinities = [], []
    for i in range(source.steps):
        record = p2p.store.of(source, i, self_limit(None, size))
        rows = p2p.model.embed(p2p.prompt(prompt))
        for layer in layers:
            keys = p2p.model.layers()[layer].to_k(rows)
            maps.append(word_map(record.cross[layer.name][-1].q, keys, layer.heads, layer.scale, tokens))
        for layer in finest:
            affinities.append(self_attention_map(*record.self_[layer.name], layer.heads, layer.scale))
    M = torch.stack(maps).mean(0)
    grid = layers[0].grid(size)
    assert finest[0].grid(size) == grid, "of these models"
    return ((torch.stack(affinities).mean(0) @ M) if refine else M).reshape(grid)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("words", ["house", "snowy hill", "cat"])
def test_a_region_is_its_literal_formula(
    p2p: PromptToPrompt, source: Source, words: str, refine: bool
) -> None:
    prompt = f"a {words}"
    tokens = tuple(t for word in words.split() for t in p2p.prompt(prompt).find(word))
    with torch.no_grad():
        expected = literal(p2p, source, prompt, tokens, refine)
    found = source.region(words, refine=refine)
    assert found.dtype == np.float32 and found.max() == 1 and found.min() >= 0
    expected -= expected.min()
    assert np.abs(found - (expected / expected.max()).numpy()).max() <= 1e-4


def test_a_map_is_sharpened_by_the_literal_formula(p2p: PromptToPrompt, source: Source) -> None:
    found = source.sharpen(source.attention("house"))
    tokens = source.prompt.find("house")
    with torch.no_grad():
        expected = literal(p2p, source, HOUSE, tokens, True)
    assert np.abs(found - expected.numpy()).max() <= 1e-4 * float(expected.max())
    for wrong in (None, np.ones(4), np.full((4, 4), np.nan)):
        with pytest.raises(BadInput, match="A map is an array"):
            source.sharpen(wrong)  # type: ignore[arg-type]


def test_a_region_calls_no_unet(p2p: PromptToPrompt, source: Source) -> None:
    calls: list[int] = []
    handle = p2p.pipe.unet.conv_in.register_forward_hook(lambda *_: calls.append(1))
    try:
        again = p2p.generate(HOUSE, seed=5, steps=2)
        calls.clear()
        again.region("roof")
    finally:
        handle.remove()
    assert not calls


@pytest.mark.parametrize("words", ["", "  ", 3, None])
def test_a_region_of_no_words(source: Source, words: Any) -> None:
    with pytest.raises(BadInput, match=r"A region is that of some words|A prompt is text"):
        source.region(words)


def test_a_blend_with_refined_maps(p2p: PromptToPrompt, source: Source) -> None:
    """Another mask, and the rest is local blend as ever."""
    plain, sharp = (
        p2p.edit(source, Edit(CASTLE, blend=Blend(**{**SWAP.to_dict(), "refine": refine})))
        for refine in (False, True)
    )
    assert plain.mask is not None and sharp.mask is not None
    assert not np.array_equal(plain.mask, sharp.mask)
    outside = torch.from_numpy(sharp.mask) == 0
    assert torch.equal(sharp.latents[:, outside], source.latents[-1][:, outside])
    p2p.forget_edits()
    assert torch.equal(p2p.edit(source, sharp.edit).latents, sharp.latents)
    only = Edit(CASTLE, blend=Blend(target_words=("castle",), refine=True, start=0.0), cross_steps=0.0)
    assert p2p.edit(source, only.replace(self_steps=0.0)).mask is not None, "without any injection"
    assert sharp.edit == Edit.from_json(sharp.edit.to_json())


@pytest.mark.parametrize("refine", [False, True])
def test_a_quantile_is_a_share_of_the_picture(p2p: PromptToPrompt, source: Source, refine: bool) -> None:
    shares = []
    for threshold in (0.0, 0.5, 0.8, 1.0):
        blend = Blend(target_words=("castle",), threshold=threshold, quantile=True, refine=refine, start=0.0)
        mask = p2p.edit(source, Edit(CASTLE, blend=blend)).mask
        assert mask is not None
        shares.append(float(mask.mean()))
    assert shares == sorted(shares, reverse=True) and shares[-1] == 0
    assert shares[1] <= 0.5 and 0.02 < shares[2] <= 0.2 + 1 / source.latents[0, 0].numel()


def test_refined_blends_of_many_edits_and_of_sources_that_are_gone() -> None:
    big = PromptToPrompt(tiny.pipeline())
    small = PromptToPrompt(big.pipe, cache_bytes=0)
    edits = [Edit(CASTLE, blend=Blend(**{**SWAP.to_dict(), "refine": True}), self_steps=s) for s in (0, 1)]
    ends = [
        [r.latents for r in p2p.edit_many(p2p.generate(HOUSE, seed=2, steps=4), edits)]
        for p2p in (big, small)
    ]
    for one, other in zip(*ends, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_equal_prompts_with_a_refined_blend_are_the_source(p2p: PromptToPrompt, source: Source) -> None:
    blend = Blend(source_words=("house",), refine=True)
    assert p2p.edit(source, Edit(HOUSE, blend=blend)).plan.changes_nothing


def test_a_map_without_layers_to_refine_it_stays() -> None:
    M = torch.rand(4, 4)
    assert refined(M, None, (), (8, 8)) is M  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["refine", "quantile"])
def test_options_are_true_or_false(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is true or false; got 1"):
        Blend(source_words=("a",), **{name: 1})  # type: ignore[arg-type]
