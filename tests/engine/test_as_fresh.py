"""Whatever changes in the pipeline between two calls, all is as a fresh engine gives it.

P2P_WALK=300 makes the seeded walk three hundred steps long.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from p2p_core import Blend, Edit, PromptToPrompt, errors

from .. import tiny

STEPS = int(os.environ.get("P2P_WALK", "24"))
PROMPT, EDIT = "a red <cat> on a hill", Edit("a red dog on a hill", weights={"hill": 1.5}, cross_steps=0.5)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


def own(pipe: Any, prompt: str = PROMPT) -> np.ndarray:
    """The picture of diffusers' own pipeline."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    made = pipe(prompt, num_inference_steps=3, guidance_scale=5, generator=generator)
    return np.asarray(made.images[0]).astype(int)


def ours(p2p: PromptToPrompt, prompt: str = PROMPT) -> np.ndarray:
    source = p2p.generate(prompt, seed=3, steps=3, guidance_scale=5)
    return np.asarray(source.image).astype(int)


def embedding(pipe: Any, seed: int) -> None:
    """An embedding loaded, or loaded again under the same name."""
    if known := [name for name in pipe.tokenizer.get_added_vocab() if name.startswith("<cat>")]:
        pipe.unload_textual_inversion(known)
    torch.manual_seed(seed)
    pipe.load_textual_inversion({"<cat>": torch.randn(1 + seed % 2, 32)}, token="<cat>")


def embedding_in_place(pipe: Any, seed: int) -> None:
    torch.manual_seed(seed)
    weight = pipe.text_encoder.get_input_embeddings().weight
    weight.data[pipe.tokenizer("red").input_ids[1]] = torch.randn(weight.shape[1])


def scaled(name: str, factor: float) -> Callable[[Any], None]:
    """A weight written through `.data`, which torch counts as no change."""

    def change(pipe: Any) -> None:
        part, _, weight = name.partition(".")
        getattr(pipe, part).get_parameter(weight).data.mul_(factor)

    return change


def hooked(pipe: Any) -> None:
    pipe.unet.mid_block.register_forward_hook(lambda _module, _args, out: out * 0.5)


def replaced(part: str, seed: int = 99) -> Callable[[Any], None]:
    return lambda pipe: setattr(pipe, part, getattr(tiny.pipeline(seed=seed), part))


def one_number(pipe: Any) -> None:
    with torch.no_grad():
        pipe.unet.conv_in.weight[1, 1, 1, 1] += 2


CHANGES: dict[str, Callable[[Any], Any]] = {
    "FreeU": lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6),
    "another autoencoder": replaced("vae"),
    "another UNet": replaced("unet"),
    "another text encoder": replaced("text_encoder"),
    "a convolution's weight": scaled("unet.conv_in.weight", 1.5),
    "an attention weight": scaled("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", 2),
    "an autoencoder's weight": scaled("vae.decoder.conv_in.weight", 1.5),
    "a text encoder's weight": lambda pipe: next(pipe.text_encoder.parameters()).data.mul_(3),
    "one number of a weight": one_number,
    "a parameter in another's place": lambda pipe: setattr(
        pipe.unet.conv_out, "bias", torch.nn.Parameter(torch.ones_like(pipe.unet.conv_out.bias))
    ),
    "a hook": hooked,
    "training": lambda pipe: (pipe.unet.train(), pipe.text_encoder.train()),
    "an embedding": lambda pipe: embedding(pipe, 5),
    "an embedding in place": lambda pipe: embedding_in_place(pipe, 5),
    "a token": lambda pipe: (
        pipe.tokenizer.add_tokens(["on a"]),
        pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False),
    ),
    "the autoencoder's scale": lambda pipe: pipe.vae.register_to_config(scaling_factor=0.5),
    "slices": lambda pipe: pipe.vae.enable_slicing(),
    "another scheduler": lambda pipe: setattr(
        pipe, "scheduler", diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_next_picture_is_diffusers_own(name: str) -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    before = ours(p2p)
    assert abs(before - own(pipe)).max() == 0
    CHANGES[name](pipe)
    after = ours(p2p)
    assert abs(after - own(pipe)).max() <= (name == "another scheduler")  # whose sums are in another order
    if name not in ("training", "slices"):
        assert abs(after - before).max() > 0, "this change shows"


@pytest.mark.parametrize("name", CHANGES)
def test_edits_maps_and_inversions_are_a_fresh_engines(name: str, tmp_path: Path) -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu", inversions=tmp_path)
    everything(p2p)
    CHANGES[name](pipe)
    for found, fresh in zip(everything(p2p), everything(PromptToPrompt(pipe, device="cpu")), strict=True):
        assert torch.equal(found, fresh)


def everything(p2p: PromptToPrompt) -> list[torch.Tensor]:
    source = p2p.generate(PROMPT, seed=1, steps=2)
    result = p2p.edit(source, EDIT.replace(blend=Blend(target_words=["dog"])))
    inverted = p2p.invert(PICTURE, PROMPT, steps=2)
    pictures = [source.image, result.image, inverted.image, p2p.edit(inverted, EDIT).image]
    found = [source.latents, result.latents, torch.from_numpy(source.attention("<cat>")), inverted.latents]
    return found + [torch.from_numpy(np.array(picture)) for picture in pictures]


def test_what_an_unet_in_anothers_place_cannot_be_is_a_sentence() -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    before, unet = ours(p2p), pipe.unet
    pipe.unet = tiny.pipeline(in_channels=9).unet
    with pytest.raises(errors.UnsupportedModel, match="inpainting"):
        ours(p2p)
    pipe.unet = unet
    assert abs(ours(p2p) - before).max() == 0


# --- the walk: one engine, many changes -------------------------------------------------------------------


def lora(pipe: Any, seed: int) -> None:
    from peft import LoraConfig

    name = f"lora{seed}"
    if name in getattr(pipe.unet, "peft_config", {}):
        pipe.delete_adapters(name)
    targets = ["to_q", "to_v", "conv1"] if seed % 2 else ["to_k", "to_out.0"]
    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights="gaussian")
    pipe.unet.add_adapter(config, adapter_name=name)
    for key, weight in pipe.unet.named_parameters():
        if f"lora_B.{name}" in key:
            weight.data.normal_(0, 0.3)


def with_adapters(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda pipe: change(pipe) if getattr(pipe.unet, "peft_config", None) else None


MOVES: list[Callable[[Any], Any]] = [
    lambda pipe: lora(pipe, 1),
    lambda pipe: lora(pipe, 2),
    with_adapters(lambda pipe: pipe.unet.set_adapter([*pipe.unet.peft_config][-1])),
    with_adapters(lambda pipe: pipe.unet.disable_adapters()),
    with_adapters(lambda pipe: pipe.unet.enable_adapters()),
    with_adapters(lambda pipe: pipe.unet.fuse_lora(lora_scale=0.5)),
    with_adapters(lambda pipe: pipe.unet.unfuse_lora()),
    with_adapters(lambda pipe: pipe.unet.unload_lora()),
    CHANGES["FreeU"],
    lambda pipe: pipe.disable_freeu() if hasattr(pipe.unet.up_blocks[0], "s1") else None,
    replaced("vae", 5),
    replaced("vae", 6),
    scaled("unet.conv_out.weight", 1.25),
    scaled("unet.conv_out.weight", 0.8),
    one_number,
    lambda pipe: embedding(pipe, 1),
    lambda pipe: embedding(pipe, 2),
    lambda pipe: embedding_in_place(pipe, 3),
    lambda pipe: pipe.tokenizer.add_tokens([f"word{len(pipe.tokenizer)}"]),
    CHANGES["another scheduler"],
    lambda pipe: setattr(pipe, "scheduler", diffusers.DDIMScheduler.from_config(pipe.scheduler.config)),
    lambda pipe: pipe.unet.train(),
    lambda pipe: None,
]


def test_a_token_in_anothers_place() -> None:
    """As many tokens as before, but this word has others."""
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    for order in (("<cat>", "<dog>"), ("<dog>", "<cat>")):
        torch.manual_seed(1)
        for name in order:
            pipe.load_textual_inversion({name: torch.randn(1, 32)}, token=name)
        assert p2p.prompt(PROMPT).ids == PromptToPrompt(pipe, device="cpu").prompt(PROMPT).ids
        assert abs(ours(p2p) - own(pipe)).max() == 0
        pipe.unload_textual_inversion([*order])


def walk(moves: list[int]) -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    prompt, edit = "a <cat> in word1000 red", Edit("a <cat> in word1000 blue", cross_steps=0.5)
    for move in moves:
        MOVES[move](pipe)
        found, fresh = (
            (source.latents, engine.edit(source, edit).latents, source.image)
            for engine in (p2p, PromptToPrompt(pipe, device="cpu"))
            for source in (engine.generate(prompt, seed=2, steps=2),)
        )
        assert torch.equal(found[0], fresh[0]) and torch.equal(found[1], fresh[1])
        assert np.array_equal(np.asarray(found[2]), np.asarray(fresh[2]))


@pytest.mark.timeout(60 + 3 * STEPS)
def test_a_long_walk_of_changes() -> None:
    """Seeded: after every step pictures and edits are a fresh engine's."""
    walk(np.random.default_rng(7).integers(len(MOVES), size=STEPS).tolist())


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, len(MOVES) - 1), min_size=1, max_size=5))
def test_any_walk_of_changes(moves: list[int]) -> None:
    walk(moves)


def test_a_pipeline_that_stays_as_it_is_is_taken_for_the_same() -> None:
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe, device="cpu")
    source = p2p.generate(PROMPT, seed=1, steps=3)
    p2p.edit(source, EDIT)
    own(pipe)
    copy.deepcopy(pipe.unet)
    p2p.invert(Image.fromarray(PICTURE), PROMPT, method="null_text", steps=2)
    assert p2p.edit(source, EDIT).steps_computed == 0
    assert p2p.generate(PROMPT, seed=1, steps=3).key == source.key
