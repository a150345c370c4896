"""On a GPU: half precision against float32 on the CPU, tiers bit for bit, and no step that waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.images.mask import mask_text

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import RELATIVE, relative

pytestmark = pytest.mark.gpu
CASTLE = "a red castle on a snowy hill at night"
SETTINGS: dict[str, Any] = {"seed": 3, "steps": 6, "guidance_scale": 5.0}
DRAWN = mask_text(np.pad(np.ones((8, 8)), 4))
EDITS = {
    "swap": Edit(CASTLE, cross_steps=1.0, self_steps=0.5),
    "added": Edit("a big red house on a snowy hill at night with a cat", cross_steps=1.0, self_steps=0.5),
    "fader": Edit(CASTLE, cross_steps=0.5, self_steps=0.5, weights={"snowy": 1.5}),
    "blend": Edit(CASTLE, blend=Blend(source_words=("house",), target_words=("castle",), start=0.0)),
    "drawn": Edit(CASTLE, blend=Blend(mask=DRAWN, start=0.0, soft=0.1)),
}
HOST = {"device": 0, "host": 1 << 30}


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    """Every edit in float32 on the CPU."""
    p2p = PromptToPrompt(tiny.pipeline())
    source = p2p.generate(HOUSE, **SETTINGS)
    return {name: p2p.edit(source, edit).latents for name, edit in EDITS.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_dtype_is_near_to_the_cpus_float32(reference: dict[str, torch.Tensor], dtype: Any) -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cuda", dtype=dtype)
    source = p2p.generate(HOUSE, **SETTINGS)
    limit = max(RELATIVE[dtype], 2e-3)  # convolutions count in TF32 there
    for name in ("swap", "added", "fader"):  # a mask's edge may fall to either side
        assert relative(p2p.edit(source, EDITS[name]).latents, reference[name]) <= limit, name


@pytest.mark.parametrize("make", [tiny.pipeline, tiny.xl_pipeline])
def test_the_host_tier_is_the_device_tier(make: Any) -> None:
    pipe = make()
    one, two = (PromptToPrompt(pipe, device="cuda", cache_bytes=budget) for budget in (1 << 30, HOST))
    for edit in EDITS.values():
        sources = [p2p.generate(HOUSE, **SETTINGS) for p2p in (one, two)]
        assert sources[1].where == "CPU memory"
        results = [source.engine.edit(source, edit) for source in sources]
        assert torch.equal(results[0].latents, results[1].latents)


@pytest.mark.parametrize("tier", ["device", "host"])
@pytest.mark.parametrize("name", EDITS)
def test_no_step_waits(name: str, tier: str) -> None:
    budget: Any = HOST if tier == "host" else 1 << 30
    p2p = PromptToPrompt(tiny.pipeline(), device="cuda", cache_bytes=budget)
    source: Source = p2p.generate(HOUSE, **SETTINGS)
    plan, run, state = (
        p2p.plan(source.prompt.text, EDITS[name], steps=source.steps),
        p2p.dm(source),
        source.state(0),
    )
    for i in range(3):
        torch.cuda.set_sync_debug_mode("error" if i == 2 else "default")
        try:
            state = p2p.edit_step(source, [plan], [state], run)[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_offloading_changes_nothing(tmp_path: Path) -> None:
    pipe = tiny.xl_pipeline()
    expected = PromptToPrompt(pipe, device="cuda").generate(HOUSE, **SETTINGS)
    p2p = PromptToPrompt(pipe, device="cuda", offload=True)
    source = p2p.generate(HOUSE, **SETTINGS)
    assert torch.equal(source.latents, expected.latents)
    for part in (pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
        assert next(part.parameters()).device.type == "cpu"


@pytest.mark.parametrize("how", ["model", "sequential", "group"])
def test_pipelines_that_are_offloaded_change_nothing(how: str) -> None:
    pipe = tiny.xl_pipeline()
    plain = PromptToPrompt(pipe, device="cuda", dtype="fp32")
    expected = plain.edit(plain.generate(HOUSE, **SETTINGS), EDITS["swap"])
    if how == "model":
        pipe.enable_model_cpu_offload()
    elif how == "sequential":
        pipe.enable_sequential_cpu_offload()
    else:
        pipe.enable_group_offload(onload_device=torch.device("cuda"), offload_type="leaf_level")
    p2p = PromptToPrompt(pipe)
    assert p2p.device.type == "cuda" and p2p.dtype == torch.float32
    result = p2p.edit(p2p.generate(HOUSE, **SETTINGS), EDITS["swap"])
    assert torch.equal(result.latents, expected.latents)


def test_previews_are_linear_there() -> None:
    p2p = PromptToPrompt(tiny.pipeline(), device="cuda")
    p2p.model.previews_by_decoding = False
    source = p2p.generate(HOUSE, **SETTINGS)
    handle = p2p.pipe.vae.decoder.register_forward_hook(lambda *_: pytest.fail("decoded"))
    try:
        assert p2p.preview(next(p2p.stream(source, EDITS["swap"]))).size == (64, 64)
    finally:
        handle.remove()
