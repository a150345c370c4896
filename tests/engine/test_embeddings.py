"""Textual inversions of several vectors: one word of a prompt that owns the tokens of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Edit, PromptToPrompt

from .. import tiny

PROMPT = "a <mycat> on hill"


def learned(pipe: Any, vectors: int) -> Any:
    torch.manual_seed(5)
    pipe.load_textual_inversion({"<mycat>": torch.randn(vectors, 32) * 5}, token="<mycat>")
    return pipe


def own(pipe: Any, prompt: str, **more: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(3)
    made = pipe(prompt, num_inference_steps=3, guidance_scale=5, generator=generator, **more)
    return np.asarray(made.images[0]).astype(int)


def ours(p2p: PromptToPrompt, prompt: str, **more: Any) -> np.ndarray:
    return np.asarray(p2p.generate(prompt, seed=3, steps=3, guidance_scale=5, **more).image).astype(int)


@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_the_word_owns_the_tokens_of_all_its_vectors(vectors: int) -> None:
    p2p = PromptToPrompt(learned(tiny.pipeline(), vectors), device="cpu")
    prompt = p2p.prompt(PROMPT)
    assert prompt.find("<mycat>") == tuple(range(2, 2 + vectors))
    assert [word.text for word in prompt.words] == ["a", "<mycat>", "on", "hill"]


@pytest.mark.parametrize("vectors", [2, 4])
def test_pictures_are_diffusers_own(vectors: int) -> None:
    pipe = learned(tiny.pipeline(), vectors)
    p2p = PromptToPrompt(pipe, device="cpu")
    assert abs(ours(p2p, PROMPT) - own(pipe, PROMPT)).max() == 0
    negative = {"negative_prompt": "<mycat> at night"}
    assert abs(ours(p2p, "a house", **negative) - own(pipe, "a house", **negative)).max() == 0


def test_the_word_is_swapped_and_turned_down_as_one() -> None:
    p2p = PromptToPrompt(learned(tiny.pipeline(), 3), device="cpu")
    source = p2p.generate("a dog on hill", seed=3, steps=3)
    plan = p2p.plan("a dog on hill", Edit(PROMPT, weights={"<mycat>": 0.5}), steps=3)
    swapped = next(span for span in plan.alignment.spans if span.kind == "swapped")
    assert (swapped.source, swapped.target) == ((1,), (1,))
    read = plan.alignment.matrix[np.ix_(source.prompt.find("dog"), plan.target.find("<mycat>"))]
    np.testing.assert_allclose(read.sum(0), [1, 1, 1], atol=1e-6)
    result = p2p.edit(source, plan.edit)
    assert result.attention("<mycat>").max() > 0 and not torch.equal(result.latents, source.latents[-1])
