"""Folders as people have them: variants alone, shards, `~`, broken and pickled files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from p2p_core import PromptToPrompt, errors
from p2p_core.model.hub import wanted

from .. import tiny
from ..conftest import HOUSE

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(path)
    return path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


def final(p2p: PromptToPrompt) -> torch.Tensor:
    return p2p.generate(HOUSE, seed=5, steps=2).latents


def diffusers_final(folder: Path, variant: str | None) -> torch.Tensor:
    pipe = StableDiffusionPipeline.from_pretrained(folder, variant=variant, safety_checker=None)
    return final(PromptToPrompt(pipe))


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema"])
def test_a_folder_of_one_variant(folder: Path, variant: str) -> None:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant, torch.float32)
    pipe = tiny.pipeline().to(dtype=dtype)
    shutil.rmtree(folder)
    pipe.save_pretrained(folder, variant=variant)
    assert (folder / f"unet/diffusion_pytorch_model.{variant}.safetensors").is_file()
    loaded = PromptToPrompt.from_pretrained(folder, dtype="fp32")
    assert torch.equal(final(loaded), diffusers_final(folder, variant))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(folder: Path, variant: str | None) -> None:
    expected = final(PromptToPrompt.from_pretrained(folder))
    shutil.rmtree(folder)
    tiny.pipeline().save_pretrained(folder, variant=variant, max_shard_size="100KB")
    shards = list(folder.glob("*/*-of-*.safetensors"))
    assert len(shards) > 3
    assert torch.equal(final(PromptToPrompt.from_pretrained(folder)), expected)
    names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    assert {str(file.relative_to(folder)) for file in shards} <= set(wanted(names))


def test_parts_of_different_variants_and_twins(folder: Path) -> None:
    """Plain weights are read where there are some; the twin beside them holds something else."""
    expected = final(PromptToPrompt.from_pretrained(folder))
    vae, unet = folder / "vae", folder / "unet"
    (vae / "diffusion_pytorch_model.safetensors").rename(vae / "diffusion_pytorch_model.fp16.safetensors")
    text = folder / "text_encoder"
    (text / "model.safetensors").rename(text / "model.bf16.safetensors")
    tiny.pipeline(seed=99).unet.save_pretrained(unet, variant="fp16")
    assert torch.equal(final(PromptToPrompt.from_pretrained(folder)), expected)


def test_a_download_takes_one_variant() -> None:
    def unet(*names: str) -> list[str]:
        return [f"unet/diffusion_pytorch_model{name}.safetensors" for name in names]

    for offered, taken in (
        (["", ".fp16", ".non_ema"], [""]),
        ([".bf16", ".fp16", ".non_ema"], [".fp16"]),
        ([".non_ema", ".bf16"], [".bf16"]),
        ([".non_ema"], [".non_ema"]),
        (
            [".fp16-00001-of-00002", ".fp16-00002-of-00002", "-00001-of-00001"],
            ["-00001-of-00001"],
        ),
        (["-00001-of-00002.fp16", "-00002-of-00002.fp16"], ["-00001-of-00002.fp16", "-00002-of-00002.fp16"]),
    ):
        assert wanted(["model_index.json", *unet(*offered)]) == ["model_index.json", *unet(*taken)]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickled_weights_are_not_read(folder: Path, part: str) -> None:
    file = folder / part / f"{WEIGHTS[part]}.safetensors"
    file.rename(file.with_name("pytorch_model.bin" if part == "text_encoder" else f"{WEIGHTS[part]}.bin"))
    with pytest.raises(
        errors.UnsupportedModel, match=rf"{part} in .* only as .*\.bin.*run code.*safetensors"
    ):
        PromptToPrompt.from_pretrained(folder)


def test_a_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    tiny_vae = AutoencoderTiny(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1))  # fmt: skip
    tiny_vae.save_pretrained(folder.parent / "taesd", variant="fp16")
    p2p = PromptToPrompt.from_pretrained("~/tiny", preview_vae="~/taesd")
    assert p2p.model_name == "~/tiny" and p2p.model.preview_vae is not None
    with pytest.raises(errors.UnsupportedModel, match=r"can't be read as a \.safetensors"):
        PromptToPrompt.from_pretrained("~/none.safetensors", config="~/tiny")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def written(text: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_text(text)

    return write


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", '"text"', "", "\x00", '{"_class_name": ["a", "b"]}', "{}", "[" * 9999]
)
def test_a_broken_index(folder: Path, text: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(errors.UnsupportedModel, match=r"model_index\.json|Expected one of"):
        PromptToPrompt.from_pretrained(folder)


@pytest.mark.parametrize(
    "name",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
    ],
)
@pytest.mark.parametrize("how", [cut, written("[]"), written("\x80\x04"), Path.unlink])
def test_a_broken_file_is_one_sentence(folder: Path, name: str, how: Callable[[Path], None]) -> None:
    how(folder / name)
    with pytest.raises(errors.UnsupportedModel, match=r"could not be loaded|holds no tokenizer") as caught:
        PromptToPrompt.from_pretrained(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("part", WEIGHTS)
def test_weights_that_are_missing(folder: Path, part: str) -> None:
    """diffusers and transformers fill them with random numbers and warn."""
    file = folder / part / f"{WEIGHTS[part]}.safetensors"
    weights = load_file(file)
    name = sorted(weights)[3]
    del weights[name]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(errors.UnsupportedModel, match=f"weights of {part} in .* lack .*{name[-20:]}"):
        PromptToPrompt.from_pretrained(folder)


def test_an_index_that_names_other_classes(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    for part in (["diffusers", "NoSuchModel"], [None, None], 5, ["os", "system"], []):
        (folder / "model_index.json").write_text(json.dumps({**index, "unet": part}))
        with pytest.raises(errors.UnsupportedModel):
            PromptToPrompt.from_pretrained(folder)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".CKPT", ".gguf"])
def test_single_files_of_other_kinds(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(errors.UnsupportedModel, match=r"is a \.safetensors"):
        PromptToPrompt.from_pretrained(file)
