"""Every wrong call gets a sentence that says what was expected and what came, and harms nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, P2PError, PromptToPrompt, Source, errors, load_recipe

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close

CASTLE = "a red castle on a snowy hill at night"
Wrong = Callable[[PromptToPrompt, Source], Any]


def generate(**settings: Any) -> Wrong:
    return lambda p2p, _: p2p.generate(**({"prompt": HOUSE, "steps": 4} | settings))


def edit(**settings: Any) -> Wrong:
    return lambda p2p, source: p2p.edit(source, Edit(**({"prompt": CASTLE} | settings)))


WRONG: dict[str, tuple[Wrong, type[P2PError], str]] = {
    "steps 0": (generate(steps=0), errors.BadSteps, "1 to 1000; got 0"),
    "steps 2000": (generate(steps=2000), errors.BadSteps, "1 to 1000; got 2000"),
    "steps text": (generate(steps="many"), errors.BadSteps, "got 'many'"),
    "steps a list": (generate(steps=[4]), errors.BadSteps, "1 to 1000"),
    "prompt a number": (generate(prompt=5), errors.BadPrompt, "expected a str, got int"),
    "prompt None": (generate(prompt=None), errors.BadPrompt, "expected a str"),
    "negative prompt a list": (generate(negative_prompt=["a"]), errors.BadPrompt, "expected a str"),
    "seed text": (generate(seed="3"), errors.BadSeed, "whole number"),
    "seed below 0": (generate(seed=-1), errors.BadSeed, "from 0"),
    "seed a float": (generate(seed=1.5), errors.BadSeed, "1.5"),
    "guidance NaN": (generate(guidance_scale=float("nan")), errors.BadGuidance, "nan"),
    "guidance text": (generate(guidance_scale="high"), errors.BadGuidance, "'high'"),
    "guidance below 0": (generate(guidance_scale=-1), errors.BadGuidance, "0 to 100"),
    "height no multiple": (generate(height=66), errors.BadSize, "multiple of 4 pixels.*66"),
    "width 0": (generate(width=0), errors.BadSize, "width is a multiple"),
    "width huge": (generate(width=400_000), errors.BadSize, "at most 4096"),
    "height text": (generate(height="64"), errors.BadSize, "'64'"),
    "latents of another shape": (
        generate(latents=torch.zeros(1, 4, 8, 8)),
        errors.BadLatents,
        r"\(1, 4, 16, 16\); got \(1, 4, 8, 8\)",
    ),
    "latents NaN": (generate(latents=torch.full((1, 4, 16, 16), torch.nan)), errors.BadLatents, "finite"),
    "latents whole numbers": (generate(latents=torch.zeros(1, 4, 16, 16).int()), errors.BadLatents, "floats"),
    "latents a list": (generate(latents=[0.0]), errors.BadLatents, "got list"),
    "edit text": (lambda p, s: p.edit(s, CASTLE), errors.BadEdit, "Expected an Edit; got str"),
    "edit None": (lambda p, _: p.plan(HOUSE, None), errors.BadEdit, "Expected an Edit"),
    "source text": (lambda p, _: p.edit(HOUSE, Edit(CASTLE)), errors.BadSource, "Expected a Source"),
    "one edit among many": (
        lambda p, s: p.edit_many(s, [Edit(CASTLE), 5]),
        errors.BadEdit,
        "Expected an Edit",
    ),
    "one edit for a list": (lambda p, s: p.edit_many(s, Edit(CASTLE)), errors.BadEdit, "list of"),
    "None for a list of edits": (lambda p, s: p.edit_many(s, None), errors.BadEdit, "list of"),
    "weights NaN": (edit(weights={"snowy": float("nan")}), errors.BadWeight, "finite number; got nan"),
    "weights text": (edit(weights={"snowy": "much"}), errors.BadWeight, "got 'much'"),
    "weight of an unknown word": (edit(weights={"tower": 1.0}), errors.UnknownWord, "'tower'.*0 a, 1 red"),
    "weight of a removed word": (edit(weights={"house": 1.0}), errors.UnknownWord, "'house'"),
    "weight of a far number": (edit(weights={99: 1.0}), errors.UnknownWord, "expected 0 to 8"),
    "window reversed": (edit(cross_steps=(0.8, 0.2)), errors.BadWindow, r"got \(0.8, 0.2\)"),
    "window out of range": (edit(self_steps=1.2), errors.BadWindow, "got 1.2"),
    "window of an unknown word": (edit(cross_steps={"tower": 0.5}), errors.UnknownWord, "'tower'"),
    "window of a word NaN": (edit(cross_steps={"red": float("nan")}), errors.BadWindow, "cross_steps"),
    "blend of an unknown word": (
        edit(blend=Blend(source_words=("castle",))),
        errors.UnknownWord,
        "'castle' is not in the prompt 'a red house",
    ),
    "swap of unequal counts": (edit(prompt="a castle", kind="swap"), errors.BadEdit, "has 9, the target 2"),
    "kind unknown": (edit(kind="replace"), errors.BadEdit, "auto, swap, refine"),
    "self_pixels below 0": (edit(self_pixels=-5), errors.BadWindow, "self_pixels"),
    "JSON broken": (lambda p, s: p.edit(s, Edit.from_json("{")), errors.BadEdit, "not JSON"),
    "map of an unknown word": (lambda _, s: s.attention("castle"), errors.UnknownWord, "'castle'"),
    "map of a layer that is a number": (
        lambda _, s: s.attention("house", sites=5),
        errors.BadSource,
        "sites",
    ),
    "recipe None": (lambda *_: load_recipe(None), errors.BadRecipe, "None"),
    "map of a far step": (lambda _, s: s.attention("house", step=99), errors.BadSteps, "0 to 7"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_so_and_harms_nothing(eps: PromptToPrompt, name: str) -> None:
    wrong, kind, pattern = WRONG[name]
    source = eps.generate(HOUSE, seed=3, steps=8, guidance_scale=5.0)
    before = eps.edit(source, Edit(CASTLE))
    held, processors = eps.cache.nbytes, dict(eps.pipe.unet.attn_processors)
    with pytest.raises(kind, match=pattern) as error:
        wrong(eps, source)
    message = str(error.value)
    assert message.endswith(".") and len(message) < 500, "one sentence for people"
    assert eps.cache.nbytes == held
    assert all(eps.pipe.unet.attn_processors[k] is v for k, v in processors.items())
    after = eps.edit(source, Edit(CASTLE))
    assert after.steps_computed == 0 and torch.equal(after.latents, before.latents)
    eps.forget_edits()
    assert_close(eps.edit(source, Edit(CASTLE)).latents, before.latents)


def test_a_source_of_another_engine(eps: PromptToPrompt, v: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, steps=2)
    with pytest.raises(errors.BadSource, match="another PromptToPrompt"):
        v.edit(source, Edit(CASTLE))


def test_latents_may_be_given(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, seed=3, steps=3)
    for latents in (source.latents[:1], source.latents[0], source.latents[0].numpy()):
        again = eps.generate(HOUSE, latents=latents, steps=3)
        assert torch.equal(again.latents, source.latents) and again.seed is None
        assert np.array_equal(np.asarray(again.image), np.asarray(source.image))


# --- models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["no-such-model", "/no/such/folder", "", None, 5, "a/b/c", "org/model name", "../x"]
)
def test_unknown_models(name: Any) -> None:
    with pytest.raises(errors.UnknownModel):
        PromptToPrompt.from_pretrained(name)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownModel, match=r"model_index\.json"):
        PromptToPrompt.from_pretrained(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(errors.UnknownModel, match="not JSON"):
        PromptToPrompt.from_pretrained(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(errors.UnsupportedModel, match="FluxPipeline"):
        PromptToPrompt.from_pretrained(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(errors.UnknownModel, match="could not be loaded"):
        PromptToPrompt.from_pretrained(tmp_path)


def test_a_hub_model_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", offline)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(errors.UnknownModel, match="hf download some-org/some-model"):
        PromptToPrompt.from_pretrained("some-org/some-model")


@pytest.mark.parametrize(
    "asked, pattern",
    [
        ({"device": "tpu-9"}, "device"),
        ({"device": 3.5}, "device"),
        ({"dtype": "int8"}, "dtype is one of"),
        ({"dtype": torch.int64}, "dtype is one of"),
        ({"cache_bytes": -1}, "cache_bytes"),
        ({"cache_bytes": "1 GB"}, "cache_bytes"),
    ],
)
def test_options_that_are_none(eps: PromptToPrompt, asked: dict[str, Any], pattern: str) -> None:
    with pytest.raises(P2PError, match=pattern):
        PromptToPrompt(eps.pipe, **asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none(eps: PromptToPrompt) -> None:
    with pytest.raises(errors.UnsupportedModel, match="no CUDA device"):
        PromptToPrompt(eps.pipe, device="cuda")


def test_pipelines_it_cannot_drive() -> None:
    with pytest.raises(errors.UnsupportedModel, match="unet, vae"):
        PromptToPrompt(object())
    pipe = tiny.pipeline()
    pipe.text_encoder_2 = pipe.text_encoder
    with pytest.raises(errors.UnsupportedModel, match="two text encoders"):
        PromptToPrompt(pipe)


def test_an_inpainting_unet() -> None:
    """Its UNet takes nine channels, so what it would draw from noise alone is no picture."""
    with pytest.raises(errors.UnsupportedModel, match="9"):
        PromptToPrompt(tiny.pipeline(in_channels=9))


def test_faders_beyond_all_measure(eps: PromptToPrompt) -> None:
    """Numbers overflow; that may give no picture worth looking at, but an error must be a sentence."""
    source = eps.generate(HOUSE, seed=3, steps=4)
    try:
        assert eps.edit(source, Edit(HOUSE, weights={"house": 1e30})).image.size == source.image.size
    except P2PError as error:
        assert len(str(error)) < 400
    assert np.isfinite(np.asarray(eps.preview(next(eps.stream(source, Edit(CASTLE)))), np.float32)).all()


def test_what_is_shown_in_a_console_is_short(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, seed=3, steps=4)
    states = eps.stream(source, Edit(CASTLE))
    for shown in (
        source,
        eps.edit(source, Edit(CASTLE)),
        source.prompt,
        eps.plan(HOUSE, Edit(CASTLE)),
        next(states),
    ):
        assert len(repr(shown)) < 1000, type(shown).__name__
