"""What a GPU would do, without one: the engine on torch's `meta` device, which holds no numbers.

Every copy from the host, every number that is read back, and every mixture of devices shows there. On a GPU
each of them inside a step makes the host wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.cache import keys
from p2p_core.images.mask import mask_text
from p2p_core.model import model as models_module

from .. import tiny
from ..conftest import HOUSE

CASTLE = "a red castle on a snowy hill at night"
DRAWN = mask_text(np.pad(np.ones((8, 8)), 4))
EDITS = {
    "added": [Edit("a red house on a snowy hill at night with a cat", cross_steps=1.0, self_steps=0.5)],
    "blend": [
        Edit(
            CASTLE,
            cross_steps=1.0,
            self_steps=0.5,
            blend=Blend(
                source_words=("house",),
                target_words=("castle",),
                subtract_words=("hill",),
                start=0.0,
                soft=0.1,
            ),
        )
    ],
    "drawn": [Edit(CASTLE, cross_steps=1.0, self_steps=0.5, blend=Blend(mask=DRAWN, start=0.0))],
    "many": [Edit(CASTLE), Edit("a cat on a hill", cross_steps=0.5), Edit(HOUSE, weights={"night": 0.5})],
}


class Crossings(TorchDispatchMode):
    """Lists what crosses between the host and the device, or mixes tensors of both."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        name, devices = str(func), {x.device.type for x in tensors}
        if "_to_copy" in name or "copy_" in name:
            source = tensors[0] if "_to_copy" in name else tensors[1]
            to = torch.device(kwargs.get("device") or (tensors[0] if "copy_" in name else source).device)
            if (source.device.type, to.type) == ("meta", "cpu"):
                self.found.append(f"{name} of {tuple(source.shape)} to the host")
            elif source.device.type == "cpu" and to.type == "meta" and not kwargs.get("non_blocking"):
                self.found.append(f"{name} of {tuple(source.shape)} to the device, waited for")
        elif devices == {"cpu", "meta"} and any(x.device.type == "cpu" and x.dim() for x in tensors):
            self.found.append(f"{name} of tensors on both")
        return func(*args, **kwargs)


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What reads numbers outside of the loop has none to read here."""
    monkeypatch.setattr(keys, "bytes_of", lambda _x: b"x")
    monkeypatch.setattr(models_module.Model, "decode", lambda *_: Image.new("RGB", (64, 64)))
    yield


def steps(p2p: PromptToPrompt, source: Source, edits: list[Edit]) -> list[str]:
    """What crosses in the steps after an edit's first."""
    plans, run = [p2p.plan(source.prompt.text, edit, steps=source.steps) for edit in edits], p2p.dm(source)
    states = [source.state(0) for _ in plans]
    found = []
    for i in range(source.steps):
        with Crossings() as crossings:
            states = p2p.edit_step(source, plans, states, run)
        found += crossings.found if i else []
    return found


@pytest.mark.parametrize(
    ("make", "dtype", "sampler", "scale"),
    [
        (tiny.pipeline, "fp16", "ddim", 7.5),
        (tiny.pipeline, "fp16", "dpmpp_2m", 7.5),
        (tiny.pipeline, "bf16", "lcm", 0.0),
        (tiny.xl_pipeline, "fp16", "euler_ancestral", 7.5),
    ],
)
def test_nothing_crosses_in_a_step(on_meta: None, make: Any, dtype: str, sampler: str, scale: float) -> None:
    p2p = PromptToPrompt(make(), device="meta", dtype=dtype, cache_bytes=1 << 30)
    states = p2p.record(HOUSE, seed=3, steps=3, guidance_scale=scale, sampler=sampler)
    with Crossings() as crossings:
        source = states.result
    recording = [what for what in crossings.found if "to the host" in what or "()" in what or "both" in what]
    assert not recording, "timesteps lie on the device, and no number is read back"
    for name, edits in EDITS.items():
        assert not steps(p2p, source, edits), name


def test_an_edit_of_an_edit_crosses_nothing(on_meta: None) -> None:
    p2p = PromptToPrompt(tiny.xl_pipeline(), device="meta", dtype="fp16", cache_bytes=1 << 30)
    source = p2p.generate(HOUSE, seed=3, steps=3, sampler="ddim")
    chained = p2p.edit(source, EDITS["added"][0]).as_source()
    second = Edit("a red cat on a big hill", cross_steps=1.0, self_steps=0.5)
    assert not steps(p2p, chained, [second])


def test_none_is_the_cpu_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a GPU too, where half precision would be compared with float32's tolerances."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    p2p = PromptToPrompt(tiny.pipeline())
    assert p2p.device.type == "cpu" and p2p.dtype is torch.float32
