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

from p2p_core import PromptToPrompt
from p2p_core.shelf import Shelf

from . import tiny

PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")
PROMPT = "a red house on a hill"


SHAPES = {"path": (3, 4, 8, 8), "unconditional": (2, 5, 6)}


def tensors(n: int = 3) -> dict[str, torch.Tensor]:
    return {"path": torch.randn(n, 4, 8, 8), "unconditional": torch.randn(n - 1, 5, 6)}


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    shelf, mine = Shelf(tmp_path / "new" / "folder"), tensors()
    assert shelf.get("a", SHAPES) is None
    shelf.put("a", mine)
    found = shelf.get("a", SHAPES)
    assert found and all(torch.equal(found[name], x) for name, x in mine.items())
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    one = tensors()
    shelf = Shelf(tmp_path)
    shelf.put("size", one)
    size = shelf.nbytes
    shelf.budget = 3 * size
    (tmp_path / "size.safetensors").unlink()
    for n, name in enumerate("abc"):
        shelf.put(name, one)
        os.utime(tmp_path / f"{name}.safetensors", (n, n))
    assert shelf.get("a", SHAPES)  # used just now
    shelf.put("d", one)
    assert shelf.get("b") is None and shelf.get("a", SHAPES) and shelf.get("c") and shelf.get("d")
    assert shelf.nbytes <= shelf.budget
    shelf.budget = size // 2
    shelf.put("e", one)
    assert shelf.get("e") is None, "larger than the whole budget"


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\xff" * 64, "half", "other", "nan"])
def test_a_broken_file_counts_as_missing(tmp_path: Path, data: bytes | str) -> None:
    shelf = Shelf(tmp_path)
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


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = Shelf(tmp_path / "file")
    shelf.put("a", tensors())
    assert shelf.get("a", SHAPES) is None


@pytest.mark.parametrize("method", ["direct", "null_text", "ddim", "negative_prompt"])
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
    assert done == list(range(1, 13 if method == "null_text" else 9)), "another prompt, another way"
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
