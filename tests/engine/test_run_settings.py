"""clip_skip, prompt_embeds, LoRA scale, a target's own negative prompt and guidance, as diffusers has."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from peft import LoraConfig

from p2p_core import Edit, PromptToPrompt, Source, load_recipe
from p2p_core.errors import BadInput

from .. import tiny
from ..tolerances import assert_close
from .test_as_fresh import lora

SOURCE, TARGET = "a red house on a hill", "a blue house on a hill"
PLAIN: dict[str, Any] = {"cross_steps": 0.0, "self_steps": 0.0}
RUN: dict[str, Any] = {"steps": 3, "guidance_scale": 5.0}
OWN = {
    "negative prompt": {"negative_prompt": "night"},
    "guidance": {"guidance_scale": 9.0},
    "no guidance": {"guidance_scale": 1.0},
    "LoRA scale": {"lora_scale": 0.5},
    "no LoRA": {"lora_scale": 0.0},
    "clip_skip": {"clip_skip": 1},
    "all": {"negative_prompt": "a cat", "guidance_scale": 3.0, "lora_scale": -0.5, "clip_skip": 1},
}


@pytest.fixture(scope="module", params=["eps", "sdxl"])
def with_lora(request: pytest.FixtureRequest) -> PromptToPrompt:
    pipe = made(request.param)
    lora(pipe, 1)
    with_text = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False)
    torch.manual_seed(5)
    pipe.text_encoder.add_adapter(with_text, adapter_name="lora1")
    return PromptToPrompt(pipe, device="cpu")


def made(family: str) -> Any:
    return tiny.xl_pipeline() if family == "sdxl" else tiny.pipeline()


def theirs(p2p: PromptToPrompt, prompt: str, z_T: torch.Tensor, **settings: Any) -> torch.Tensor:
    """The final latents of diffusers' own pipeline."""
    size = dict(zip(("height", "width"), p2p.default_size, strict=True))
    scale = settings.pop("lora_scale", 1.0)
    asked: dict[str, Any] = {"prompt": prompt, "guidance_scale": 5.0, **size, **settings}
    if "clip_skip" in asked and not p2p.model.texts.two:  # diffusers' own way needs an older transformers
        asked |= {"prompt": None, "prompt_embeds": skipping(p2p.pipe, prompt, asked.pop("clip_skip"), scale)}
    p2p.pipe.set_progress_bar_config(disable=True)
    latents: torch.Tensor = p2p.pipe(
        latents=z_T.clone(),
        num_inference_steps=3,
        output_type="latent",
        cross_attention_kwargs=None if scale == 1 else {"scale": scale},
        **asked,
    ).images
    return latents


def skipping(pipe: Any, prompt: str, clip_skip: int, lora_scale: float) -> torch.Tensor:
    """As the Stable Diffusion pipeline encodes a prompt whose last layers are skipped."""
    encoder, ids = pipe.text_encoder, pipe.tokenizer(prompt, padding="max_length", return_tensors="pt")
    scale_lora_layers(encoder, lora_scale)
    with torch.no_grad():
        layers = encoder(ids.input_ids, output_hidden_states=True).hidden_states
        embeds: torch.Tensor = encoder.final_layer_norm(layers[-(clip_skip + 1)])
    unscale_lora_layers(encoder, lora_scale)
    return embeds


def test_what_is_its_own_is_diffusers_own(with_lora: PromptToPrompt) -> None:
    p2p, ends = with_lora, []
    plain = p2p.generate(SOURCE, **RUN)
    for name, settings in OWN.items():
        if settings.get("lora_scale") == 0:
            continue  # diffusers leaves its adapters at 1 afterwards, whatever they were at
        source = p2p.generate(SOURCE, **{**RUN, **settings})
        expected = theirs(p2p, SOURCE, source.latents[:1], **settings)
        assert_close(source.latents[-1:], expected)
        assert not torch.allclose(source.latents[-1], plain.latents[-1], atol=1e-3), name
        # and of a target alone, of a source without them
        result = p2p.edit(plain, Edit(TARGET, **PLAIN, **settings))
        assert_close(result.latents[None], theirs(p2p, TARGET, plain.latents[:1], **settings))
        ends.append(result.latents)
    assert len({end.numpy().tobytes() for end in ends}) == len(ends)


def test_no_lora_is_the_model_without_it(with_lora: PromptToPrompt) -> None:
    p2p = with_lora
    bare = PromptToPrompt(made("sdxl" if p2p.model.texts.two else ""), device="cpu").generate(SOURCE, **RUN)
    assert_close(p2p.generate(SOURCE, **RUN, lora_scale=0.0).latents, bare.latents)
    p2p.pipe.set_adapters(["lora1"], [0.5])
    half = p2p.generate(SOURCE, **RUN)
    p2p.generate(SOURCE, **RUN, lora_scale=0.0)
    again = PromptToPrompt(p2p.pipe, device="cpu").generate(SOURCE, **RUN)
    p2p.pipe.set_adapters(["lora1"], [1.0])
    assert torch.equal(again.latents, half.latents), "the owner's strength is put back"


@pytest.mark.parametrize("name", OWN)
def test_an_edit_takes_what_is_its_sources(with_lora: PromptToPrompt, name: str) -> None:
    p2p = with_lora
    source = p2p.generate(SOURCE, **{**RUN, **OWN[name]})
    same = p2p.edit(source, Edit(SOURCE))
    assert same.plan.changes_nothing
    near = p2p.edit(source, Edit(SOURCE, cross_steps=1.0, self_steps=1.0, weights={"hill": 1.000001}))
    assert_close(near.latents, source.latents[-1])
    explicit = p2p.edit(source, Edit(TARGET, **OWN[name]))
    assert_close(explicit.latents, p2p.edit(source, Edit(TARGET)).latents)


def test_many_edits_with_settings_of_their_own(with_lora: PromptToPrompt) -> None:
    source = with_lora.generate(SOURCE, **RUN)
    edits = [Edit(TARGET, **settings) for settings in [{}, *OWN.values(), {}]]
    edits += [edit.replace(weights={"hill": -1.0}) for edit in edits]
    together = with_lora.edit_many(source, edits)
    with_lora.forget_edits()
    for edit, one in zip(edits, together, strict=True):
        assert one.edit == edit
        assert_close(with_lora.edit(source, edit).latents, one.latents)


@pytest.mark.parametrize("name", OWN)
def test_an_edit_with_its_own_is_a_source(with_lora: PromptToPrompt, name: str, tmp_path: Path) -> None:
    """Its maps are recorded as it was made, it is replayed from its recipe, and kept in a file."""
    p2p = with_lora
    result = p2p.edit(p2p.generate(SOURCE, **RUN), Edit(TARGET, **OWN[name]))
    chained = result.as_source()
    whole = p2p.edit(chained, Edit(TARGET, cross_steps=1.0, self_steps=1.0, weights={"hill": 1.000001}))
    assert_close(whole.latents, result.latents)
    second = p2p.edit(chained, Edit("a blue cat on a hill"))
    recipe = load_recipe(second.save(tmp_path / "edit.png"))
    again: Source = p2p.source_of(recipe)
    first = p2p.edit(again, recipe.edits[0])
    assert_close(p2p.edit(first.as_source(), recipe.edits[1]).latents, second.latents)
    kept = p2p.load_source(chained.save(tmp_path / "a.safetensors", records=True))
    assert_close(p2p.edit(kept, Edit("a blue cat on a hill")).latents, second.latents)


@pytest.mark.parametrize("method", ["direct", "ddim", "aligned"])
def test_a_real_picture_is_inverted_with_them(with_lora: PromptToPrompt, method: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    p2p, most = with_lora, {"clip_skip": 1, "lora_scale": 0.5}
    source = p2p.invert(picture, SOURCE, method=method, **{**RUN, **most})
    p2p.pipe.set_adapters(["lora1"], [0.5])
    plain = p2p.invert(picture, SOURCE, method=method, **{**RUN, "clip_skip": 1})
    edited = p2p.edit(plain, Edit(TARGET)).latents
    p2p.pipe.set_adapters(["lora1"], [1.0])
    assert_close(source.latents, plain.latents)
    assert_close(p2p.edit(source, Edit(TARGET)).latents, edited)
    without = p2p.invert(picture, SOURCE, method=method, **RUN)
    assert not torch.allclose(without.latents[0], source.latents[0], atol=1e-3)
    recipe = p2p.edit(source, Edit(TARGET)).recipe()
    assert {name: recipe.source[name] for name in most} == most
    assert_close(p2p.source_of(recipe).latents, source.latents)


def test_embeddings_instead_of_the_encoders(eps: PromptToPrompt, tmp_path: Path) -> None:
    """A prompt may be read as anything: as a compel-weighted one, say. Its words are still its own."""
    heavy = 1.5 * eps.model.embed(eps.prompt(SOURCE))
    source = eps.generate(SOURCE, **RUN, prompt_embeds=heavy)
    size = dict(zip(("height", "width"), eps.default_size, strict=True))
    expected = eps.pipe(
        prompt_embeds=heavy, latents=source.latents[:1].clone(), num_inference_steps=3, guidance_scale=5.0,
        negative_prompt_embeds=eps.model.embed(eps.prompt("")), output_type="latent", **size,
    ).images  # fmt: skip
    assert_close(source.latents[-1:], expected)
    assert source.attention("house").shape == eps.generate(SOURCE, **RUN).attention("house").shape
    assert eps.edit(source, Edit(SOURCE)).plan.changes_nothing, "a fader moves the same embedding"
    other = (0.5 * eps.model.embed(eps.prompt(TARGET))).numpy()
    edit = Edit(TARGET, prompt_embeds=other, **PLAIN)
    assert edit == Edit.from_json(edit.to_json()) == pickle.loads(pickle.dumps(edit))
    result = eps.edit(source, edit)
    alone = eps.generate(TARGET, **RUN, prompt_embeds=other)
    assert_close(result.latents, alone.latents[-1])
    recipe = load_recipe(result.save(tmp_path / "edit.png"))
    assert_close(eps.source_of(recipe).latents, source.latents)
    kept = eps.load_source(result.as_source().save(tmp_path / "a.safetensors"))
    assert kept.prompt == result.plan.target


def test_settings_that_are_none(eps: PromptToPrompt) -> None:
    source = eps.generate(SOURCE, **RUN)
    for name, value, message in (
        ("clip_skip", 5, "expected at most 1, got 5"),
        ("clip_skip", True, "a number of layers from 0 to 99, or None; got True"),
        ("lora_scale", float("nan"), "a number from -10 to 10; got nan"),
        ("prompt_embeds", torch.zeros(3), r"of the shape \(1, 24, 32\); got 3 numbers"),
        ("prompt_embeds", object(), "a tensor or an array of floats; got object"),
        ("guidance_scale", -1, "a number from 0 to 100; got -1"),
    ):
        with pytest.raises(BadInput, match=message):
            eps.generate(SOURCE, **{**RUN, name: value})
        with pytest.raises(BadInput, match=message):
            eps.edit(source, Edit(TARGET, **{name: value}))
    with pytest.raises(BadInput, match="negative_prompt is text, or None; got 3"):
        Edit(TARGET, negative_prompt=3)  # type: ignore[arg-type]
    two = PromptToPrompt(tiny.xl_pipeline(), device="cpu")
    with pytest.raises(BadInput, match="models with one text encoder"):
        two.generate(SOURCE, **RUN, prompt_embeds=torch.zeros(1, 77, 32))


def test_an_edit_of_before_is_an_edit(eps: PromptToPrompt) -> None:
    """What an older recipe doesn't name is the source's."""
    data = json.loads(Edit(TARGET).to_json())
    for name in ("negative_prompt", "guidance_scale", "lora_scale", "clip_skip", "prompt_embeds"):
        assert data.pop(name) is None
    assert Edit.from_json(data) == Edit(TARGET)
