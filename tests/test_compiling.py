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

from p2p_core import Edit, PromptToPrompt, compiling
from p2p_core.compiling import REGIONS, compile_regions

from . import tiny

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


def test_every_run_has_the_same_numbers(traced: list[Any]) -> None:
    plain = PromptToPrompt(tiny.pipeline("v_prediction"))
    compiled = PromptToPrompt(tiny.pipeline("v_prediction"), compiled=True)
    compiled.pipe.unet.load_state_dict(plain.pipe.unet.state_dict())
    edits = [Edit(TARGET, cross_steps=(0, end), weights={"red": 1.5}) for end in (0.2, 0.6, 1.0)]
    found = []
    for p2p in (plain, compiled):
        source = p2p.generate(SOURCE, steps=4, seed=3)
        alone = p2p.edit(source, edits[0])
        many = p2p.edit_many(source, edits)
        unguided = p2p.generate(SOURCE, steps=2, seed=3, guidance_scale=1)
        found.append([source.latents, unguided.latents, np.asarray(alone.image), *(r.latents for r in many)])
    assert traced, "nothing was compiled"
    for mine, want in zip(found[1], found[0], strict=True):
        assert np.array_equal(np.asarray(mine), np.asarray(want))


def test_each_region_is_compiled_once_for_all_edits(traced: list[Any]) -> None:
    p2p = PromptToPrompt(tiny.pipeline("v_prediction"), compiled=True)
    regions = [m for m in p2p.pipe.unet.modules() if type(m).__name__ in REGIONS]
    assert len(regions) > 8
    source = p2p.generate(SOURCE, steps=2)
    p2p.edit(source, Edit(TARGET))
    assert len(traced) == len(regions)  # for two rows
    p2p.edit_many(source, [Edit(TARGET, cross_steps=(0, n / 10)) for n in range(4)])
    assert len(traced) == 2 * len(regions)  # for any number of them
    p2p.edit(source, Edit(TARGET, weights={"red": -1.0}, cross_steps=(0, 0.3), self_steps=(0.2, 0.9)))
    p2p.edit_many(source, [Edit(f"{TARGET} {'big ' * n}") for n in range(3)])
    p2p.generate(TARGET, steps=3, seed=2)
    assert len(traced) == 2 * len(regions)


def test_the_pipeline_stays_as_it_was_but_for_its_speed(traced: list[Any]) -> None:
    pipe = tiny.pipeline("v_prediction")
    names = list(pipe.unet.state_dict())
    processors = dict(pipe.unet.attn_processors)
    version = PromptToPrompt(tiny.pipeline("v_prediction")).model.version()
    p2p = PromptToPrompt(pipe, compiled=True)
    p2p.generate(SOURCE, steps=2)
    assert list(pipe.unet.state_dict()) == names and dict(pipe.unet.attn_processors) == processors
    assert p2p.model.version() == p2p.model.version() != "" and isinstance(version, str)
    assert pipe(SOURCE, num_inference_steps=2, output_type="np").images.shape[0] == 1


def test_what_is_compiled_is_what_no_edit_reaches_into() -> None:
    unet = tiny.pipeline("v_prediction").unet
    reached = [name for name, _ in unet.named_modules() if name.endswith((".attn1", ".attn2"))]
    regions = [n for n, m in unet.named_modules() if type(m).__name__ in REGIONS]
    assert regions and not any(a.startswith(f"{r}.") for a in reached for r in regions)
    assert compiling.SHAPES > 1 and callable(compile_regions)
