"""What is handed out is the caller's, and what overflows says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core import Edit, P2PError, PromptToPrompt, Result, Source
from tests import tiny

HOUSE, CASTLE = "a red house on a hill", "a red castle on a hill"


def same(a: Source | Result, b: Source | Result) -> bool:
    return np.array_equal(np.asarray(a.image), np.asarray(b.image))


@pytest.mark.parametrize("edit", [Edit(CASTLE), Edit(HOUSE), Edit(HOUSE, weights={"red": 0.5})])
def test_drawing_on_a_result_does_not_come_back(edit: Edit) -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cpu")
    source = p2p.generate(HOUSE, seed=3, steps=3)
    first = p2p.edit(source, edit)
    image, latents = np.asarray(first.image).copy(), first.latents.clone()
    first.image.paste((255, 0, 0), (0, 0, 64, 64))
    first.latents.zero_()
    again = p2p.edit(source, edit)
    assert np.array_equal(np.asarray(again.image), image) and torch.equal(again.latents, latents)
    assert again.steps_computed == 0


def test_drawing_on_a_source_does_not_come_back() -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cpu")
    source = p2p.generate(HOUSE, seed=3, steps=3)
    image = np.asarray(source.image).copy()
    source.image.paste((255, 0, 0), (0, 0, 64, 64))
    assert np.array_equal(np.asarray(p2p.generate(HOUSE, seed=3, steps=3).image), image)


def test_states_are_the_callers() -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cpu")
    source = p2p.generate(HOUSE, seed=3, steps=3)
    expected = p2p.edit(source, Edit(CASTLE))
    p2p.forget_edits()
    run = p2p.iter_edit(source, Edit(CASTLE))
    for state in run:
        state.latents.zero_()
    assert same(run.result, expected) and torch.equal(run.result.latents, expected.latents)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_numbers_that_overflow_are_told(dtype: str) -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu", dtype=dtype)
    source = p2p.generate(HOUSE, seed=3, steps=2)
    pipe.unet.conv_out.weight.data.fill_(torch.nan)
    hint = "bf16" if dtype == "fp16" else "broken"
    for call in (
        lambda: p2p.generate(CASTLE, seed=4, steps=2),
        lambda: p2p.edit(source, Edit(CASTLE, cross_steps=0.0)),
        lambda: p2p.invert(source.image, HOUSE, steps=2, method="ddim"),
    ):
        with pytest.raises(P2PError, match=f"NaN or infinite.*{hint}"):
            call()


def test_an_autoencoder_that_overflows_is_told() -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    pipe.vae.decoder.conv_out.weight.data.fill_(torch.inf)
    with pytest.raises(P2PError, match=r"The autoencoder gives numbers that are NaN"):
        p2p.generate(HOUSE, seed=3, steps=2)
