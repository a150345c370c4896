"""Compiled regions: the same numbers, for every kind of run.

Torch's compiler traces the regions as it does for a GPU; its "eager" backend then runs what it traced without
generating code, so that a computer without a C++ compiler can check it, and bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Edit, PromptToPrompt
from p2p_core.model.compiling import COMPILED_REGIONS, MAX_SHAPES, compile_regions

from .. import tiny

SOURCE, TARGET = "a red house on a hill", "a big red castle on a hill"


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The graphs that the compiler was given."""
    graphs: list[Any] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    whole = torch.nn.Module.compile

    def compile_(module: Any, **options: Any) -> None:
        whole(module, backend=backend, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    # pytest hears of every step of the tracing, which takes half of the time
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    torch._dynamo.reset()
    yield graphs
    torch._dynamo.reset()


def test_the_same_numbers_by_regions_that_are_compiled_once(traced: list[Any]) -> None:
    plain = PromptToPrompt(tiny.pipeline("v_prediction"))
    pipe = tiny.pipeline("v_prediction")
    unet = pipe.unet
    unet.load_state_dict(plain.pipe.unet.state_dict())
    compiled = PromptToPrompt(pipe, compiled=True)
    regions = [m for m in unet.modules() if type(m).__name__ in COMPILED_REGIONS]
    names, processors = list(unet.state_dict()), dict(unet.attn_processors)
    assert len(regions) > 8

    def same(mine: Any, want: Any) -> None:
        assert np.array_equal(np.asarray(mine), np.asarray(want))

    def both(run: Any) -> tuple[Any, Any]:
        return run(compiled), run(plain)

    source, other = both(lambda p2p: p2p.generate(SOURCE, steps=3, seed=3))
    same(source.latents, other.latents)
    sources = {compiled: source, plain: other}
    first = Edit(TARGET, cross_steps=(0, 0.6), weights={"red": 1.5})
    same(*(result.image for result in both(lambda p2p: p2p.edit(sources[p2p], first))))
    assert len(traced) == len(regions)  # for two rows

    sweep = [Edit(TARGET, cross_steps=(0, n / 10)) for n in range(4)]
    for mine, want in zip(*both(lambda p2p: p2p.edit_many(sources[p2p], sweep)), strict=True):
        same(mine.latents, want.latents)
    assert len(traced) == 2 * len(regions)  # for any number of them

    later = Edit(TARGET, weights={"red": -1.0}, cross_steps=(0, 0.3), self_steps=(0.2, 0.9))
    same(*(result.latents for result in both(lambda p2p: p2p.edit(sources[p2p], later))))
    longer = [Edit(f"{TARGET} {'big ' * n}") for n in range(3)]
    for mine, want in zip(*both(lambda p2p: p2p.edit_many(sources[p2p], longer)), strict=True):
        same(mine.latents, want.latents)
    same(*(s.latents for s in both(lambda p2p: p2p.generate(TARGET, steps=2, seed=2))))
    assert len(traced) == 2 * len(regions), "nothing is compiled for an edit"

    assert list(unet.state_dict()) == names and dict(unet.attn_processors) == processors
    assert compiled.model.version() == plain.model.version()
    pictures = [p2p.pipe(SOURCE, num_inference_steps=1, output_type="np", generator=seeded()).images
                for p2p in (compiled, plain)]  # fmt: skip
    same(*pictures)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def test_what_is_compiled_is_what_no_edit_reaches_into() -> None:
    unet = tiny.pipeline("v_prediction").unet
    reached = [name for name, _ in unet.named_modules() if name.endswith((".attn1", ".attn2"))]
    regions = [n for n, m in unet.named_modules() if type(m).__name__ in COMPILED_REGIONS]
    assert regions and not any(a.startswith(f"{r}.") for a in reached for r in regions)
    assert MAX_SHAPES > 1 and callable(compile_regions)
