"""Loading: a local folder, a Hub repository (served from a folder), progress, previews."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Edit, PromptToPrompt, errors
from p2p_core.model.hub import wanted

from .. import tiny
from ..conftest import HOUSE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline("v_prediction").save_pretrained(path)
    return path


def test_a_local_folder_gives_the_same_pictures(folder: Path, v: PromptToPrompt) -> None:
    loaded = PromptToPrompt.from_pretrained(folder)
    assert loaded.model_name == str(folder) and loaded.default_size == v.default_size == (64, 64)
    ours, theirs = (p.generate(HOUSE, seed=5, steps=3) for p in (loaded, v))
    assert torch.equal(ours.latents, theirs.latents)


def test_a_hub_model_with_progress(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Hub's two calls, served from a local folder."""
    import huggingface_hub

    files = [str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()]
    asked: dict[str, Any] = {}

    def download(repo: str, *, allow_patterns: list[str], tqdm_class: Any) -> str:
        asked["patterns"] = allow_patterns
        bar = tqdm_class(total=len(allow_patterns), disable=False)
        for name in allow_patterns:
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, target)
            bar.update(1)
        bar.close()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda repo: [*files, "v1-5-pruned.ckpt"])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    heard: list[tuple[str, float]] = []
    p2p = PromptToPrompt.from_pretrained(
        "org/tiny", on_progress=lambda text, done: heard.append((text, done))
    )
    assert p2p.generate(HOUSE, steps=2).image.size == (64, 64)
    assert heard[0][0] == "Downloading org/tiny" and 0 < heard[0][1] < 1
    assert heard[-1][0].startswith("Loading") and "v1-5-pruned.ckpt" not in asked["patterns"]


def test_only_what_a_pipeline_needs_is_downloaded() -> None:
    parts = ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    twins = [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
    ]
    other = [
        "safety_checker/model.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "model.ckpt",
        "README.md",
    ]
    assert wanted(["model_index.json", *parts, *twins, *other]) == ["model_index.json", *parts]
    assert twins[0] in wanted(["model_index.json", parts[0], twins[0]])
    assert wanted(["model.ckpt"]) == []


@pytest.mark.parametrize(
    "part", ["spatial_norm", "group_norm", "norm_cross", "norm_q", "rescale_output_factor"]
)
def test_attention_layers_of_other_builds_are_refused(part: str) -> None:
    pipe = tiny.pipeline()
    name = next(iter(pipe.unet.attn_processors)).removesuffix(".processor")
    setattr(
        pipe.unet.get_submodule(name), part, 2.0 if part == "rescale_output_factor" else torch.nn.Identity()
    )
    with pytest.raises(errors.UnsupportedModel, match=f"Stable Diffusion UNet; got {name} with {part}"):
        PromptToPrompt(pipe)


def test_a_seed_is_one_picture_and_never_the_global_generator(eps: PromptToPrompt) -> None:
    before = torch.random.get_rng_state()
    one, two = (eps.generate(HOUSE, seed=0, steps=2) for _ in range(2))
    assert torch.equal(one.latents, two.latents) and one.key == two.key
    assert not torch.equal(eps.generate(HOUSE, seed=1, steps=2).latents, one.latents)
    assert torch.equal(torch.random.get_rng_state(), before)
    expected = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one.latents[:1], expected)


def test_the_linear_preview_is_learned_from_pictures() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    p2p.model.previews_by_decoding = False
    source = p2p.generate(HOUSE, seed=2, steps=3)
    state = next(p2p.stream(source, Edit("a red castle on a snowy hill at night")))
    preview = p2p.preview(state)
    assert preview.size == source.image.size
    close = np.asarray(p2p.model.preview(source.latents[-1]), np.float32)
    small = np.asarray(source.image.resize((16, 16), 4).resize((64, 64), 2), np.float32)
    flat = np.abs(small - small.mean((0, 1))).mean()
    assert np.abs(close - small).mean() < flat, "nearer to the picture than its mean colour"
