"""SDXL, Stable Diffusion 2.x, LoRA and previews: tiny random models against diffusers' own pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from p2p_core import Blend, Edit, PromptToPrompt, errors
from p2p_core.plan import make_plan
from reference import side_by_side
from reference.by_hand import controls, embed_two
from reference.original import save_original

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close, relative

CASTLE = "a red castle on a snowy hill at night"
N, SCALE = 6, 5.0
EDIT = Edit(
    CASTLE,
    cross_steps=0.5,
    self_steps=0.5,
    weights={"snowy": 1.5},
    blend=Blend(source_words=("house",), target_words=("castle",), threshold=0.9, start=0.5),
)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def xl(request: Any) -> PromptToPrompt:
    return PromptToPrompt(tiny.xl_pipeline(request.param))


def theirs_of(p2p: PromptToPrompt, prompt: str, x_T: Tensor, size: tuple[int, int], **more: Any) -> Tensor:
    """The final latents of diffusers' own SDXL pipeline."""
    height, width = size
    return p2p.pipe(
        prompt,
        latents=x_T.clone(),
        num_inference_steps=N,
        height=height,
        width=width,
        output_type="latent",
        **({"guidance_scale": SCALE} | more),
    ).images


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (104, 72)])
def test_sdxl_is_diffusers_pipeline(xl: PromptToPrompt, size: tuple[int, int]) -> None:
    height, width = size
    source = xl.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE, height=height, width=width)
    assert_close(source.latents[-1:], theirs_of(xl, HOUSE, source.latents[:1], size))
    plain = xl.edit(source, Edit("a cat in the hat", cross_steps=0.0, self_steps=0.0))
    assert_close(plain.latents[None], theirs_of(xl, "a cat in the hat", source.latents[:1], size))
    image = xl.pipe(
        HOUSE,
        latents=source.latents[:1].clone(),
        num_inference_steps=N,
        guidance_scale=SCALE,
        height=height,
        width=width,
    ).images[0]
    assert np.abs(np.asarray(image, int) - np.asarray(source.image, int)).max() <= 1


@pytest.mark.parametrize("zeros", [True, False])
def test_sdxls_negative_prompts(zeros: bool) -> None:
    """None given: zeros where the model's pipeline says so. One that is given is read by both encoders."""
    xl = PromptToPrompt(tiny.xl_pipeline(zeros=zeros))
    settings = {"seed": 3, "steps": N, "guidance_scale": SCALE}
    source = xl.generate(HOUSE, **settings)
    assert_close(source.latents[-1:], theirs_of(xl, HOUSE, source.latents[:1], (64, 64)))
    given = xl.generate(HOUSE, negative_prompt="a big hat", **settings)
    theirs = theirs_of(xl, HOUSE, given.latents[:1], (64, 64), negative_prompt="a big hat")
    assert_close(given.latents[-1:], theirs)
    empty = xl.edit(source, Edit("", cross_steps=0.0, self_steps=0.0))
    assert_close(empty.latents[None], theirs_of(xl, "", source.latents[:1], (64, 64)))
    few = xl.generate(HOUSE, seed=3, steps=N, guidance_scale=0.0, sampler="euler_ancestral")
    assert few.latents.isfinite().all()


def literal(p2p: PromptToPrompt, source: Any, size: tuple[int, int], **asked: Any) -> Any:
    """Side by side with explicit maps, SDXL's conditions taken from diffusers' own pipeline."""
    groups = [([i], [i]) for i in range(9)]
    c = controls(p2p.pipe.tokenizer, HOUSE, CASTLE, groups, N, **asked)
    texts, added = embed_two(p2p.pipe, HOUSE, CASTLE, size)
    return side_by_side.sample(
        p2p.pipe, texts, source.latents[:1], c, steps=N, guidance_scale=SCALE, added=added
    )


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_sdxls_edits_are_what_the_paper_computes(xl: PromptToPrompt, size: tuple[int, int]) -> None:
    height, width = size
    source = xl.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE, height=height, width=width)
    theirs_source, theirs, mask = literal(
        xl, source, size, cross=(0, 3), self_steps=(0, 3), weights={5: 1.5},
        blend=([2], [2], 0.9, 3, [], 0.3),
    )  # fmt: skip
    result = xl.edit(source, EDIT)
    assert_close(source.latents[-1:], theirs_source)
    assert_close(result.latents[None], theirs)
    assert result.mask is not None and 0 < result.mask.mean() < 1
    assert np.array_equal(result.mask.astype(bool), mask.numpy())
    assert source.attention("house").shape == result.attention("castle").shape


def test_sdxl_through_the_machinery_is_the_source_bit_for_bit(xl: PromptToPrompt) -> None:
    source = xl.generate(HOUSE, seed=3, steps=N, guidance_scale=SCALE)
    plan = make_plan(source.prompt, source.prompt, Edit(HOUSE, cross_steps=1.0, self_steps=1.0), N)
    state = source.state(0)
    for i in range(N):
        state = xl.edit_step(source, [plan], [state])[0]
        assert torch.equal(state.latents, source.latents[i + 1, None])


def test_sdxl_from_a_folder_and_of_real_pictures(xl: PromptToPrompt, tmp_path: Path) -> None:
    xl.pipe.save_pretrained(tmp_path / "xl")
    loaded = PromptToPrompt.from_pretrained(tmp_path / "xl")
    one, two = (p.generate(HOUSE, seed=3, steps=2) for p in (loaded, xl))
    assert torch.equal(one.latents, two.latents) and loaded.default_size == (64, 64)
    source = xl.invert(two.image, HOUSE, steps=4, guidance_scale=3.0)
    assert source.inversion is not None and source.inversion.psnr_vae > 60
    assert xl.edit(source, Edit(CASTLE)).image.size == source.image.size
    with pytest.raises(errors.BadMethod, match="direct or ddim"):
        xl.invert(two.image, HOUSE, steps=2, method="null_text")


def test_two_tokenizers_that_disagree() -> None:
    """One knows `castle` as a word, the other as letters: a word would have two places."""
    pipe = tiny.xl_pipeline()
    xl = PromptToPrompt(pipe)
    assert xl.prompt("a red house").text == "a red house"
    before, tiny.WORDS = tiny.WORDS, "a red house"
    try:
        pipe.tokenizer_2 = tiny.tokenizer()
    finally:
        tiny.WORDS = before
    with pytest.raises(errors.UnsupportedModel, match="cut 'a red castle' differently"):
        xl.generate("a red castle", steps=2)
    pipe.tokenizer_2 = None
    with pytest.raises(errors.UnsupportedModel, match="two text encoders"):
        PromptToPrompt(pipe)


# --- LoRA -------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """A linear layer with a low-rank update beside it, as PEFT puts in its place (Hu et al. 2022)."""

    def __init__(self, base: nn.Linear, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.base_layer, self.scaling, self.disable_adapters = base, {"default": 1.0}, False
        self.lora_A = nn.Parameter(torch.randn(2, base.in_features, generator=g) * 0.2)
        self.lora_B = nn.Parameter(torch.randn(base.out_features, 2, generator=g) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        if self.disable_adapters:  # what the pipeline's disable_lora() sets
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling["default"] * (x @ self.lora_A.T @ self.lora_B.T)


@contextmanager
def low_rank(module: nn.Module, seed: int = 0) -> Iterator[list[LowRank]]:
    """Every projection of the attention layers with a low-rank update."""
    places = [
        (parent, name, layer)
        for parent in module.modules()
        for name, layer in list(parent.named_children())
        if isinstance(layer, nn.Linear) and (name.startswith(("to_", "q_proj", "v_proj")) or name == "0")
    ]
    loaded = [LowRank(layer, seed + n) for n, (_, _, layer) in enumerate(places)]
    for (parent, name, _), lora in zip(places, loaded, strict=True):
        setattr(parent, name, lora)
    try:
        yield loaded
    finally:
        for parent, name, layer in places:
            setattr(parent, name, layer)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_lora_is_not_passed_by(part: str) -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    settings = {"seed": 3, "steps": N, "guidance_scale": SCALE}
    before = p2p.generate(HOUSE, **settings)
    first = p2p.edit(before, EDIT)
    with low_rank(getattr(p2p.pipe, part)) as loaded:
        source = p2p.generate(HOUSE, **settings)
        assert_close(source.latents[-1:], theirs_of(p2p, HOUSE, source.latents[:1], (64, 64)))
        assert relative(source.latents[-1:], before.latents[-1:]) > 0.01
        assert (
            not np.array_equal(np.asarray(source.image), np.asarray(before.image))
            and source.key != before.key
        )
        plain = p2p.edit(source, Edit(CASTLE, cross_steps=0.0, self_steps=0.0))
        assert_close(plain.latents[None], theirs_of(p2p, CASTLE, source.latents[:1], (64, 64)))
        again = p2p.edit(before, EDIT)
        assert again.steps_computed == N, "what edits had computed without it is not taken for new"
        for lora in loaded:
            lora.scaling["default"] = 0.5
        half = p2p.generate(HOUSE, **settings)
        assert_close(half.latents[-1:], theirs_of(p2p, HOUSE, half.latents[:1], (64, 64)))
        assert half.key not in (source.key, before.key)
        for lora in loaded:
            lora.disable_adapters = True
        off = p2p.generate(HOUSE, **settings)
        assert_close(off.latents[-1:], before.latents[-1:])
        assert off.key not in (half.key, source.key), "switched off isn't the same as on"
    after = p2p.generate(HOUSE, **settings)
    assert after.key == before.key and torch.equal(after.latents, before.latents)
    assert torch.equal(p2p.edit(after, EDIT).latents, first.latents)


def test_a_real_lora_switched_off_and_on() -> None:
    peft = pytest.importorskip("peft")
    pipe = tiny.pipeline()
    p2p = PromptToPrompt(pipe)
    settings = {"seed": 3, "steps": N, "guidance_scale": SCALE}
    before = p2p.generate(HOUSE, **settings)
    torch.manual_seed(1)
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    lora = peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=layers)
    pipe.unet.add_adapter(lora, "style")
    on = p2p.generate(HOUSE, **settings)
    pipe.disable_lora()
    off = p2p.generate(HOUSE, **settings)
    pipe.enable_lora()
    again = p2p.generate(HOUSE, **settings)
    assert_close(off.latents, before.latents)
    assert torch.equal(again.latents, on.latents) and again.key == on.key
    assert relative(on.latents, off.latents) > 0.01 and off.key != on.key


# --- previews ---------------------------------------------------------------------------------------


def test_previews_by_a_tiny_autoencoder() -> None:
    torch.manual_seed(0)
    small = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )
    p2p = PromptToPrompt(tiny.pipeline(), preview_vae=small)
    source = p2p.generate(HOUSE, seed=3, steps=3)
    state = next(p2p.stream(source, Edit(CASTLE)))
    with torch.no_grad():
        pixels = small.decode(state.denoised).sample
    expected = p2p.pipe.image_processor.postprocess(pixels)[0]
    assert np.array_equal(np.asarray(p2p.preview(state)), np.asarray(expected))
    with pytest.raises(errors.UnsupportedModel, match="preview_vae"):
        PromptToPrompt(tiny.pipeline(), preview_vae=small.decoder)


# --- a single file ----------------------------------------------------------------------------------


def test_a_single_file_gives_the_same_pictures(tmp_path: Path) -> None:
    """All weights under their original names in one file, the configurations from a folder; no network."""
    pipe = tiny.pipeline()
    pipe.save_pretrained(tmp_path / "family")
    save_original(pipe, tmp_path / "model.safetensors")
    heard: list[str] = []
    loaded = PromptToPrompt.from_pretrained(
        tmp_path / "model.safetensors",
        config=tmp_path / "family",
        on_progress=lambda text, _: heard.append(text),
    )
    assert heard == ["Loading model.safetensors"]
    ours, theirs = (p.generate(HOUSE, seed=5, steps=3) for p in (loaded, PromptToPrompt(pipe)))
    assert torch.equal(ours.latents, theirs.latents)
    assert np.array_equal(np.asarray(ours.image), np.asarray(theirs.image))


def test_a_single_file_of_sdxl_is_known_by_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("model.diffusion_model.out.2.bias", "conditioner.embedders.1.model.ln_final.bias")
    save_file({name: torch.zeros(4) for name in names}, tmp_path / "model.safetensors")
    pipe, asked = tiny.xl_pipeline(), {}

    def from_single_file(path: str, **options: Any) -> Any:
        asked.update(options, path=path)
        return pipe

    monkeypatch.setattr(StableDiffusionXLPipeline, "from_single_file", from_single_file)
    p2p = PromptToPrompt.from_pretrained(tmp_path / "model.safetensors")
    assert p2p.pipe is pipe and "config" not in asked and asked["torch_dtype"] is torch.float32


def test_single_files_it_cannot_load(tmp_path: Path) -> None:
    whole, lora = tmp_path / "whole.safetensors", tmp_path / "lora.safetensors"
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(4)}, whole)
    save_file({"lora_unet_up.weight": torch.zeros(4)}, lora)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name, kind, pattern in (
        (whole, errors.UnknownModel, "give a diffusers folder of its family as config"),  # offline here
        (lora, errors.UnsupportedModel, "no whole Stable Diffusion checkpoint"),
        (tmp_path / "broken.safetensors", errors.UnknownModel, "can't be read"),
        (tmp_path / "none.safetensors", errors.UnknownModel, "can't be read"),
        (tmp_path / "old.ckpt", errors.UnsupportedModel, "may run code"),
    ):
        with pytest.raises(kind, match=pattern):
            PromptToPrompt.from_pretrained(name)
    with pytest.raises(errors.UnknownModel, match="not a diffusers folder"):
        PromptToPrompt.from_pretrained(whole, config=tmp_path)
    with pytest.raises(errors.UnknownModel, match="config belongs to"):
        PromptToPrompt.from_pretrained("storybook", config=tmp_path)
