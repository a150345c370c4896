"""The safety checker and the watermark of a pipeline that has them, as diffusers runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from p2p_core import Edit, PromptToPrompt

from .. import tiny

HOUSE, CASTLE = "a red house on a hill", "a red castle on a hill"


def checked(threshold: float) -> Any:
    """A pipeline with a small checker that finds its concepts above a threshold."""
    pipe = tiny.pipeline()
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8, "projection_dim": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16)).eval()
    checker.concept_embeds_weights.data.fill_(threshold)
    checker.special_care_embeds_weights.data.fill_(2.0)
    pipe.register_modules(
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )
    return pipe


@pytest.mark.parametrize(("threshold", "found"), [(-2.0, True), (2.0, False)])
def test_a_checker_sees_every_picture(threshold: float, found: bool) -> None:
    pipe = checked(threshold)
    p2p = PromptToPrompt(pipe, device="cpu")
    source = p2p.generate(HOUSE, seed=3, steps=3, guidance_scale=5)
    result = p2p.edit(source, Edit(CASTLE, cross_steps=0.0, self_steps=0.0))
    pipe.set_progress_bar_config(disable=True)
    for prompt, image in ((HOUSE, source.image), (CASTLE, result.image)):
        theirs = pipe(
            prompt, num_inference_steps=3, guidance_scale=5, generator=torch.Generator().manual_seed(3)
        )
        assert theirs.nsfw_content_detected == [found]
        assert np.array_equal(np.asarray(image), np.asarray(theirs.images[0]))
        assert bool(np.asarray(image).any()) is not found


def test_a_watermark_is_in_every_picture_but_in_no_preview() -> None:
    class Watermark:
        def apply_watermark(self, pixels: torch.Tensor) -> torch.Tensor:
            pixels = pixels.clone()
            pixels[..., :4, :4] = 1
            return pixels

    p2p = PromptToPrompt(tiny.xl_pipeline(), device="cpu")
    p2p.pipe.watermark = Watermark()
    source = p2p.generate(HOUSE, seed=3, steps=2)

    def corner(image: Image.Image) -> np.ndarray:
        return np.asarray(image)[:4, :4]

    assert (corner(source.image) == 255).all()
    assert (corner(p2p.edit(source, Edit(CASTLE)).image) == 255).all()
    assert not (corner(p2p.preview(source.state(1))) == 255).all()
