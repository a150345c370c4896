"""What a caller has set in torch, other threads, forked processes and other engines change no picture."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source, errors

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import relative

CASTLE = Edit(
    "a red castle on a snowy hill at night", weights={"snowy": 2}, blend=Blend(target_words="castle")
)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "meta device": lambda: torch.device("meta"),
}


def runs(p2p: PromptToPrompt) -> list[torch.Tensor]:
    """Latents of everything that a model does."""
    source = p2p.generate(HOUSE, seed=1, steps=3)
    result = p2p.edit(source, CASTLE)
    again = p2p.edit(result.as_source(), Edit("a red castle on a big hill at night"))
    assert source.attention("house").max() > 0
    found = [source.latents, result.latents, again.latents]
    for method in ("direct", "aligned", "null_text", "negative_prompt", "ddim"):
        inverted = p2p.invert(PICTURE, HOUSE, method=method, steps=2)
        found += [inverted.latents, p2p.edit(inverted, CASTLE).latents]
    return found


@pytest.fixture(scope="module")
def expected() -> list[torch.Tensor]:
    return runs(PromptToPrompt(tiny.pipeline()))


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_of_the_caller_changes_nothing(name: str, expected: list[torch.Tensor]) -> None:
    pipe = tiny.pipeline()
    with CONTEXTS[name]():
        for one, other in zip(runs(PromptToPrompt(pipe)), expected, strict=True):
            assert not one.is_inference() and not one.requires_grad
            assert one.dtype == other.dtype and bool((one == other).all())


def test_a_default_dtype_of_the_caller_changes_nothing(expected: list[torch.Tensor]) -> None:
    pipe = tiny.pipeline()
    torch.set_default_dtype(torch.float64)
    try:
        found = runs(PromptToPrompt(pipe))
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_weights_that_were_loaded_in_inference_mode(expected: list[torch.Tensor]) -> None:
    """As hosts do that run all in it: null-text learns through them."""
    with torch.inference_mode():
        pipe = tiny.pipeline()
    found = runs(PromptToPrompt(pipe))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("inside", ["source", "edit"])
@pytest.mark.parametrize("name", ["autocast", "inference mode"])
def test_a_source_goes_from_context_to_context(name: str, inside: str, eps: PromptToPrompt) -> None:
    expected = eps.edit(eps.generate(HOUSE, seed=4, steps=3), CASTLE).latents
    fresh = PromptToPrompt(tiny.pipeline())
    if inside == "source":
        with CONTEXTS[name]():
            source = fresh.generate(HOUSE, seed=4, steps=3)
        found = fresh.edit(source, CASTLE).latents
    else:
        source = fresh.generate(HOUSE, seed=4, steps=3)
        with CONTEXTS[name]():
            found = fresh.edit(source, CASTLE).latents
    assert torch.equal(found, expected)


# --- processes --------------------------------------------------------------------------------------------


def in_child(work: Callable[[], bool], leave: Callable[[int], Any]) -> int:
    """The exit status of a forked child: 0 if `work` gives True in it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            leave(status)
    done: list[int] = []
    waiting = threading.Thread(target=lambda: done.append(os.waitpid(pid, 0)[1]))
    waiting.start()
    waiting.join(timeout=60)
    if not done:
        os.kill(pid, 9)
        waiting.join()
        pytest.fail("the child hung")
    return os.waitstatus_to_exitcode(done[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_with_a_tier_on_disk(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's threads don't live in a child, whoever forks
    try:
        budgets = {"device": 0, "host": 0, "disk": 1 << 30}
        p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=budgets, cache_folder=tmp_path)
        source = p2p.generate(HOUSE, seed=2, steps=4)
        result = p2p.edit(source, CASTLE)
        next(
            p2p.iter_edit(source, Edit("a red car on a snowy hill at night"))
        )  # leaves a step being read ahead
        files = sorted(tmp_path.rglob("*.safetensors"))
        assert len(files) == 4

        def work() -> bool:
            p2p.forget_edits()
            again = p2p.edit(source, CASTLE)
            other = p2p.generate("a cat in a hat", seed=2, steps=2)
            p2p.forget(source)
            same = relative(again.latents, result.latents) < 1e-4
            return same and other.where == "latents only"

        def leave(status: int) -> None:
            assert p2p.cache.disk is None
            os._exit(status)

        assert in_child(work, leave) == 0
        assert sorted(tmp_path.rglob("*.safetensors")) == files
        p2p.forget_edits()
        assert torch.equal(p2p.edit(source, CASTLE).latents, result.latents) and source.tiers == {"disk": 4}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_ends_leaves_its_parents_folder(tmp_path: Path) -> None:
    """A script whose child ends as programs do, with all that is to be done at an exit."""
    import subprocess
    import sys

    script = f"""
import os, sys, torch
torch.set_num_threads(1)
from tests import tiny
from p2p_core import PromptToPrompt
budgets = {{"device": 0, "disk": 1 << 30}}
p2p = PromptToPrompt(tiny.pipeline(), device="cpu", cache_bytes=budgets, cache_folder={str(tmp_path)!r})
source = p2p.generate("a cat", steps=2)
if (pid := os.fork()) == 0:
    del p2p, source
    sys.exit(0)
os.waitpid(pid, 0)
print(len(list(p2p.cache.disk.folder.glob("*.safetensors"))), source.tiers)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "2 {'disk': 2}"
    assert not list(tmp_path.iterdir()), "the parent cleared up when it ended"


# --- several engines on one pipeline ----------------------------------------------------------------------


def test_two_engines_on_one_pipeline_from_two_threads() -> None:
    pipe = tiny.pipeline()
    before = dict(pipe.unet.attn_processors)
    engines = [PromptToPrompt(pipe), PromptToPrompt(pipe)]
    alone = PromptToPrompt(tiny.pipeline())
    expected = [alone.generate(HOUSE, seed=seed, steps=6).latents for seed in range(2)]
    found: dict[int, list[Source]] = {0: [], 1: []}

    def work(n: int) -> None:
        for _ in range(4):
            found[n].append(engines[n].generate(HOUSE, seed=n, steps=6))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(s.latents, expected[n]) for n in range(2) for s in found[n]) and len(found[1]) == 4
    assert dict(pipe.unet.attn_processors) == before
    assert engines[0].lock is engines[1].lock is not alone.lock


def test_an_engine_whose_pipeline_another_has_cast_says_so() -> None:
    pipe = tiny.pipeline()
    first = PromptToPrompt(pipe)
    source = first.generate(HOUSE, steps=2)
    run = first.iter_generate(HOUSE, seed=8, steps=3)
    next(run)
    PromptToPrompt(pipe, dtype="bf16")
    for call in (
        lambda: first.generate(HOUSE, steps=2),
        lambda: first.edit(source, CASTLE),
        lambda: first.invert(PICTURE, HOUSE, steps=2),
        lambda: first.edit_many(source, [CASTLE]),
        lambda: next(run),
    ):
        with pytest.raises(
            errors.UnsupportedModel, match=r"cast to torch\.bfloat16 .* expected torch\.float32"
        ):
            call()
    pipe.to(torch.float32)  # by whoever did it
    assert first.generate(HOUSE, steps=2).image.size == (64, 64)


# --- the pipeline's own dtype ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_pipeline_keeps_its_dtype(dtype: torch.dtype) -> None:
    pipe = tiny.pipeline().to(dtype=dtype)
    pipe.vae.to(torch.float32)
    p2p = PromptToPrompt(pipe)
    assert (
        p2p.dtype == pipe.unet.dtype == pipe.text_encoder.dtype == dtype and pipe.vae.dtype == torch.float32
    )
    assert p2p.generate(HOUSE, steps=2).latents.dtype == dtype
    asked = PromptToPrompt(pipe, dtype="auto")
    assert asked.dtype == pipe.unet.dtype == pipe.vae.dtype == torch.float32


def test_an_engine_is_made_without_warnings(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    pipes = [tiny.pipeline(), tiny.xl_pipeline()]
    capfd.readouterr()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    try:
        for pipe in pipes:
            PromptToPrompt(pipe)
            PromptToPrompt(pipe, dtype="bf16")
    finally:
        for logger in loggers:
            logger.removeHandler(caplog.handler)
    assert not caplog.records and capfd.readouterr() == ("", "")
