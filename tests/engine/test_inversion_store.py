"""Inversions kept on disk: once for ever, bounded, and no harm from what else may lie there."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import save_file

from p2p_core import P2PError, PromptToPrompt
from p2p_core.inversion.store import InversionStore

from .. import tiny

PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")
PROMPT = "a red house on a hill"


SHAPES = {"path": (3, 4, 8, 8), "unconditional": (2, 5, 6)}


def tensors(n: int = 3) -> dict[str, torch.Tensor]:
    return {"path": torch.randn(n, 4, 8, 8), "unconditional": torch.randn(n - 1, 5, 6)}


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    shelf, mine = InversionStore(tmp_path / "new" / "folder"), tensors()
    assert shelf.get("a", SHAPES) is None
    shelf.put("a", mine)
    found = shelf.get("a", SHAPES)
    assert found and all(torch.equal(found[name], x) for name, x in mine.items())
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    one = tensors()
    shelf = InversionStore(tmp_path)
    shelf.put("size", one)
    size = shelf.nbytes
    shelf.budget = 3 * size
    (tmp_path / "size.safetensors").unlink()
    for n, name in enumerate("abc"):
        shelf.put(name, one)
        os.utime(tmp_path / f"{name}.safetensors", (n, n))
    assert shelf.get("a", SHAPES)  # used just now
    shelf.put("d", one)
    assert (
        shelf.get("b", SHAPES) is None
        and shelf.get("a", SHAPES)
        and shelf.get("c", SHAPES)
        and shelf.get("d", SHAPES)
    )
    assert shelf.nbytes <= shelf.budget
    shelf.budget = size // 2
    shelf.put("e", one)
    assert shelf.get("e", SHAPES) is None, "larger than the whole budget"


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\xff" * 64, "half", "other", "nan"])
def test_a_broken_file_counts_as_missing(tmp_path: Path, data: bytes | str) -> None:
    shelf = InversionStore(tmp_path)
    shelf.put("a", tensors())
    file = tmp_path / "a.safetensors"
    if data == "half":
        file.write_bytes(file.read_bytes()[:500])
    elif data == "other":
        shelf.put("a", {"something": torch.ones(2)})
    elif data == "nan":
        shelf.put("a", {"path": torch.full((2, 4, 8, 8), float("nan"))})
    else:
        file.write_bytes(data)
    assert shelf.get("a", SHAPES) is None and not file.exists()
    shelf.put("a", tensors())
    assert shelf.get("a", SHAPES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": torch.randn(4, 4, 8, 8)},  # another number of steps
        {"path": torch.randn(3, 4, 8, 4)},  # another size
        {"path": torch.randn(3, 4, 8, 8).to(torch.float8_e4m3fn)},
        {"path": torch.zeros(3, 4, 8, 8, dtype=torch.int32)},
        {"unconditional": torch.randn(2, 5, 7)},
        {"more": torch.randn(1)},
    ],
)
def test_other_tensors_count_as_broken(tmp_path: Path, wrong: dict[str, torch.Tensor]) -> None:
    shelf, file = InversionStore(tmp_path), tmp_path / "a.safetensors"
    save_file({**tensors(), **wrong}, file)
    assert shelf.get("a", SHAPES) is None and not file.exists()


def test_a_type_that_torch_has_none_of(tmp_path: Path) -> None:
    shelf, file = InversionStore(tmp_path), tmp_path / "a.safetensors"
    shelf.put("a", tensors())
    for name in (b"F99", b"F4 "):
        shelf.put("a", tensors())
        file.write_bytes(file.read_bytes().replace(b'"F32"', b'"' + name + b'"'))
        assert shelf.get("a", SHAPES) is None and not file.exists()


def refuses(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EPERM, "not allowed")


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = InversionStore(tmp_path / "file")
    shelf.put("a", tensors())
    assert shelf.get("a", SHAPES) is None


def test_a_folder_of_somebody_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = InversionStore(tmp_path)
    shelf.put("a", tensors())
    monkeypatch.setattr(os, "utime", refuses)
    assert shelf.get("a", SHAPES) and shelf.get("a", SHAPES)


def test_what_one_writes_others_may_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        InversionStore(tmp_path).put("a", tensors())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_full_disk_keeps_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    if fails == "replace":
        monkeypatch.setattr(Path, "replace", refuses)
    else:
        plain = Path.open

        def full(self: Path, mode: str = "r", **how: Any) -> Any:
            file = plain(self, mode, **how)
            if "x" in mode:
                file.write(b"half of it")
                file.close()
                raise OSError(errno.ENOSPC, "No space left on device")
            return file

        monkeypatch.setattr(Path, "open", full)
    shelf = InversionStore(tmp_path)
    shelf.put("a", tensors())
    assert not list(tmp_path.iterdir()) and shelf.nbytes == 0


def test_what_a_killed_process_left_is_counted_and_swept(tmp_path: Path) -> None:
    shelf, now = InversionStore(tmp_path), time.time()
    old, new = tmp_path / "x.1-a.tmp", tmp_path / "y.2-b.tmp"
    for file, when in ((old, now - 3600), (new, now)):
        file.write_bytes(bytes(1000))
        os.utime(file, (when, when))
    assert shelf.nbytes == 2000
    shelf.put("a", tensors())
    assert not old.exists() and new.exists() and shelf.get("a", SHAPES)


@pytest.mark.parametrize("method", ["direct", "aligned", "null_text", "ddim", "negative_prompt"])
def test_an_inversion_survives_a_restart(tmp_path: Path, method: str) -> None:
    """Another process with the same model: no step of the way is run again, and all is the same."""
    torch.manual_seed(4)
    pipe = tiny.pipeline()
    asked = {"method": method, "steps": 4, "guidance_scale": 3.0}
    first = PromptToPrompt(pipe, inversions=tmp_path).invert(PICTURE, PROMPT, **asked)
    again = PromptToPrompt(pipe, inversions=tmp_path)
    steps: list[int] = []
    source = again.invert(PICTURE.copy(), PROMPT, **asked, on_step=lambda s: steps.append(s.total))
    assert steps == [4] * 4, "recorded only"
    assert torch.equal(source.latents, first.latents)
    assert (source.unconditional is None) == (first.unconditional is None)
    assert source.inversion.psnr == first.inversion.psnr
    seen: list[int] = []
    again.invert(PICTURE, "a castle", **asked, on_step=lambda s: seen.append(s.index))
    done = list(dict.fromkeys(seen))
    steps_of = {"null_text": 12, "aligned": 4}.get(method, 8)
    assert done == list(range(1, steps_of + 1)), "another prompt, another way"
    assert seen == sorted(seen)


def test_the_way_to_noise_serves_every_method(tmp_path: Path) -> None:
    p2p = PromptToPrompt(tiny.pipeline(), inversions=tmp_path)
    counts = {}
    for method in ("direct", "ddim", "negative_prompt", "null_text"):
        seen: list[int] = []
        p2p.invert(PICTURE, PROMPT, method=method, steps=4, on_step=lambda s, to=seen: to.append(s.index))
        counts[method] = seen[-1]
    assert counts == {"direct": 8, "ddim": 4, "negative_prompt": 4, "null_text": 8}


def test_another_model_does_not_take_it(tmp_path: Path) -> None:
    one, other = tiny.pipeline(), tiny.pipeline()
    with torch.no_grad():
        next(iter(other.unet.parameters())).add_(1e-3)
    prints = {PromptToPrompt(pipe).model.fingerprint for pipe in (one, other)}
    assert len(prints) == 2
    assert PromptToPrompt(one).model.fingerprint in prints


def scheduled(**changes: Any) -> Callable[[Any], None]:
    def change(pipe: Any) -> None:
        config = {name: value for name, value in pipe.scheduler.config.items() if not name.startswith("_")}
        pipe.scheduler = DDIMScheduler(**config | changes)

    return change


def autoencoder(**changes: Any) -> Callable[[Any], None]:
    return lambda pipe: pipe.vae.register_to_config(**changes)


OTHER: dict[str, Callable[[Any], None]] = {
    "prediction": scheduled(prediction_type="v_prediction"),
    "betas": scheduled(beta_end=0.02),
    "schedule": scheduled(beta_schedule="linear"),
    "spacing": scheduled(timestep_spacing="trailing"),
    "offset": scheduled(steps_offset=0),
    "final alpha": scheduled(set_alpha_to_one=True),
    "clip": scheduled(clip_sample=True, clip_sample_range=0.5),
    "clip range": scheduled(clip_sample=True, clip_sample_range=5.0),
    "scaling": autoencoder(scaling_factor=0.5),
    "mean and std": autoencoder(latents_mean=[0.1] * 4, latents_std=[2.0] * 4),
    "std": autoencoder(latents_mean=[0.0] * 4, latents_std=[2.0] * 4),
}


def counted(p2p: PromptToPrompt, **asked: Any) -> int:
    """Steps of an inversion, those of the record apart."""
    seen: list[int] = []
    p2p.invert(PICTURE, PROMPT, steps=4, on_step=lambda s: seen.append(s.total), **asked)
    return seen[-1] - 4


@pytest.mark.parametrize("what", OTHER)
def test_another_schedule_or_encoding_is_another_way(tmp_path: Path, what: str) -> None:
    pipe = tiny.pipeline()
    assert counted(PromptToPrompt(pipe, inversions=tmp_path)) == 4
    assert counted(PromptToPrompt(pipe, inversions=tmp_path)) == 0
    OTHER[what](pipe)
    other = PromptToPrompt(pipe, inversions=tmp_path)
    fresh = PromptToPrompt(pipe).invert(PICTURE, PROMPT, steps=4)
    assert counted(other) == 4, "not taken from the shelf"
    assert torch.equal(other.invert(PICTURE, PROMPT, steps=4).latents, fresh.latents)


def test_another_type_is_another_way(tmp_path: Path) -> None:
    for dtype in ("fp32", "bf16"):
        assert counted(PromptToPrompt(tiny.pipeline(), dtype=dtype, inversions=tmp_path)) == 4
    assert counted(PromptToPrompt(tiny.pipeline(), dtype="fp32", inversions=tmp_path)) == 0


def test_the_budget_can_be_set(tmp_path: Path) -> None:
    small = PromptToPrompt(tiny.pipeline(), inversions=tmp_path, inversion_bytes=0)
    small.invert(PICTURE, PROMPT, steps=2)
    assert small.inversions is not None and small.inversions.nbytes == 0
    large = PromptToPrompt(tiny.pipeline(), inversions=tmp_path, inversion_bytes=np.int64(1 << 20))
    large.invert(PICTURE, PROMPT, steps=2)
    assert large.inversions is not None and 0 < large.inversions.nbytes < 1 << 20
    for wrong in (-1, 1.5, "1 GB", True):
        with pytest.raises(P2PError, match="inversion_bytes"):
            PromptToPrompt(tiny.pipeline(), inversions=tmp_path, inversion_bytes=wrong)
