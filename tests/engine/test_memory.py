"""How much is run at once, what happens when memory runs out, and parts that wait beside the GPU."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from p2p_core import Edit, PromptToPrompt, errors
from p2p_core.cache import tiers
from p2p_core.memory import MOST, decode_fits, edits_at_once
from p2p_core.model import loading
from p2p_core.pipeline import _budgets

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close

CASTLE = "a red castle on a snowy hill at night"
SETTINGS: dict[str, Any] = {"seed": 3, "steps": 4, "guidance_scale": 5.0}
WINDOWS = [Edit(CASTLE, cross_steps=f / 4, self_steps=0.0) for f in range(5)]


class Unet:
    """As much of SDXL's as an estimate reads."""

    class config:
        block_out_channels = (320, 640, 1280)


def test_batches_follow_the_free_memory() -> None:
    large = [edits_at_once(Unet, (128, 128), 2, 2, n << 30) for n in (1, 4, 12, 24, 70)]
    assert large == sorted(large) and large[0] == 1 and 2 <= large[2] <= 12 and large[-1] == MOST
    assert edits_at_once(Unet, (64, 64), 2, 2, 4 << 30) >= 4 * edits_at_once(Unet, (128, 128), 2, 2, 4 << 30)
    assert (
        edits_at_once(Unet, (64, 64), 2, 1, 4 << 30) >= 2 * edits_at_once(Unet, (64, 64), 4, 1, 4 << 30) > 2
    )
    assert (
        edits_at_once(Unet, (16, 16), 4, 2, None) == 16 and edits_at_once(Unet, (128, 128), 4, 2, None) == 1
    )


def test_a_sweep_that_runs_out_of_memory_goes_on_in_smaller_batches(
    eps: PromptToPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = eps.generate(HOUSE, **SETTINGS)
    eps.forget_edits()
    faders = [WINDOWS[2].replace(weights={"snowy": n / 4}) for n in range(6)]
    expected = [result.latents for result in eps.edit_many(source, faders)]
    eps.forget_edits()
    step, sizes = eps.edit_step, []

    def small(*args: Any, **more: Any) -> Any:
        sizes.append(len(args[2]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("a GPU of two rows")
        return step(*args, **more)

    monkeypatch.setattr(eps, "edit_step", small)
    results = eps.edit_many(source, faders)
    for result, latents in zip(results, expected, strict=True):
        assert_close(result.latents, latents)
    assert sizes == [6, 3, *[1] * 6 * 4], "what doesn't fit is known for the rest of the run"
    eps.forget_edits()


def test_a_single_edit_that_does_not_fit_says_so(
    eps: PromptToPrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = eps.generate(HOUSE, **SETTINGS)
    eps.forget_edits()

    def never(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(eps, "edit_step", never)
    for call in (lambda: eps.edit(source, WINDOWS[1]), lambda: eps.edit_many(source, WINDOWS)):
        with pytest.raises(errors.NotEnoughMemory, match="64 x 64 pixels does not fit"):
            call()


# --- a picture's decoding -----------------------------------------------------------------------------


def test_a_picture_is_decoded_in_tiles_where_memory_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    vae, source = p2p.pipe.vae, p2p.generate(HOUSE, **SETTINGS)
    whole = np.asarray(p2p.decode(source.latents[-1]), np.float32)
    assert np.array_equal(whole, np.asarray(source.image))
    assert decode_fits(vae, (64, 64), 4, None) and not decode_fits(vae, (1024, 1024), 4, 1 << 20)
    before, decode, calls = vae.use_tiling, vae.decode, []

    def out_of_memory(x: Any, **more: Any) -> Any:
        calls.append(vae.use_tiling)
        if not vae.use_tiling:
            raise torch.OutOfMemoryError
        return decode(x, **more)

    monkeypatch.setattr(vae, "decode", out_of_memory)
    tiles = np.asarray(p2p.decode(source.latents[-1]), np.float32)
    assert calls == [False, True] and vae.use_tiling == before
    assert np.abs(tiles - whole).mean() < 0.5 * np.abs(whole - whole.mean()).mean()
    monkeypatch.setattr("p2p_core.model.model.free_bytes", lambda _device: 1)
    p2p.decode(source.latents[-1])
    assert calls[2:] == [True], "not even tried"


def test_offloaded_parts_are_on_the_device_only_while_they_work(monkeypatch: pytest.MonkeyPatch) -> None:
    p2p = PromptToPrompt(tiny.xl_pipeline(), offload=True)
    assert not p2p.model.offload, "beside a CPU there is nowhere to wait"
    expected = p2p.generate(HOUSE, **SETTINGS)
    p2p.model.offload = p2p.model.texts.offload = True
    moves: list[str] = []
    for name in ("text_encoder", "text_encoder_2", "vae"):
        part = getattr(p2p.pipe, name)
        to = part.to

        def moved(where: Any, name: str = name, to: Any = to) -> Any:
            moves.append(f"{name}: {'home' if isinstance(where, str) else 'device'}")
            return to(where)

        monkeypatch.setattr(part, "to", moved)
    p2p.model.texts.forget()
    p2p.forget(expected)
    again = p2p.generate(HOUSE, **SETTINGS)
    assert torch.equal(again.latents, expected.latents)
    pairs = list(zip(moves[::2], moves[1::2], strict=True))
    assert all(there.split(":")[0] == back.split(":")[0] for there, back in pairs)
    assert all(there.endswith("device") and back.endswith("home") for there, back in pairs)
    assert [there.split(":")[0] for there, _ in pairs] == ["text_encoder", "text_encoder_2"] * 2 + ["vae"]


def test_a_pipeline_that_accelerate_moves_is_refused() -> None:
    from accelerate import cpu_offload

    pipe = tiny.pipeline()
    cpu_offload(pipe.unet, execution_device=torch.device("cpu"))
    with pytest.raises(errors.UnsupportedModel, match=r"accelerate moves unet about.*offload=True"):
        PromptToPrompt(pipe)


# --- previews -----------------------------------------------------------------------------------------


def heavy(p2p: PromptToPrompt) -> PromptToPrompt:
    """As if decoding took long."""
    p2p.model._light_vae = False
    return p2p


def test_a_heavy_decoder_is_asked_for_no_preview_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    p2p = heavy(PromptToPrompt(tiny.pipeline()))
    vae, calls = p2p.pipe.vae, []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda *a, **k: calls.append(1) or decode(*a, **k))
    state = next(p2p.record(HOUSE, **SETTINGS))
    assert p2p.preview(state).size == (64, 64) and len(calls) == 1, "nothing is known of the colours yet"
    for _ in range(3):
        assert p2p.preview(state).size == (64, 64)
    assert len(calls) == 1
    bad = torch.full_like(state.latents, torch.nan)
    p2p.decode(bad)
    again = np.asarray(p2p.preview(state), np.float32)
    assert np.ptp(again) > 0, "a broken picture teaches nothing"


def test_a_small_autoencoder_from_a_folder_and_from_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    torch.manual_seed(0)
    blocks = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    AutoencoderTiny(**blocks, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1)).save_pretrained(
        tmp_path
    )
    p2p = PromptToPrompt(tiny.pipeline(), preview_vae=tmp_path)
    state = next(p2p.record(HOUSE, **SETTINGS))
    with torch.no_grad():
        pixels = p2p.model.preview_vae.decode(state.denoised).sample
    expected = p2p.pipe.image_processor.postprocess(pixels)[0]
    assert np.array_equal(np.asarray(p2p.preview(state)), np.asarray(expected))

    asked: list[str] = []

    def cached(repo: str, **_: Any) -> str:
        asked.append(repo)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert isinstance(loading.find_preview_vae("auto", two=True), AutoencoderTiny)
    assert isinstance(loading.find_preview_vae("auto", two=False), AutoencoderTiny)
    assert asked == ["madebyollin/taesdxl", "madebyollin/taesd"]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "half"))
    assert loading.find_preview_vae("auto", two=True) is None
    with pytest.raises(errors.UnknownModel, match="holds no AutoencoderTiny"):
        PromptToPrompt(tiny.pipeline(), preview_vae=tmp_path / "none")
    assert PromptToPrompt(tiny.pipeline(), preview_vae="auto").model.preview_vae is None, "light, on a CPU"


# --- budgets, and what is stopped ---------------------------------------------------------------------


def test_one_number_is_the_devices_budget_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("p2p_core.pipeline.host_budget", lambda _device: 77)
    assert _budgets({"device": 5}, torch.device("cuda"), None) == {"host": 77, "disk": 0, "device": 5}
    given = _budgets({"device": 5, "host": 0}, torch.device("cuda"), tmp_path)
    assert given["host"] == 0 and given["disk"] > 0
    monkeypatch.setattr("p2p_core.pipeline.auto_budget", lambda _device: 99)
    assert _budgets(None, torch.device("cuda"), None)["device"] == 99
    assert _budgets({"host": 1}, torch.device("cuda"), None)["device"] == 99


def test_a_source_that_is_stopped_while_another_runs_is_dropped_later() -> None:
    """Whoever closes it, the garbage collector too, doesn't wait for the model's lock."""
    p2p = PromptToPrompt(tiny.pipeline())
    states = p2p.record(HOUSE, seed=1, steps=4)
    next(states)
    held, free = threading.Event(), threading.Event()

    def running() -> None:
        with p2p.lock:
            held.set()
            free.wait(10)

    thread = threading.Thread(target=running)
    thread.start()
    held.wait(10)
    states.close()
    assert p2p.cache.nbytes > 0
    free.set()
    thread.join()
    source = p2p.generate(HOUSE, seed=2, steps=2)
    assert p2p.cache.nbytes == p2p.cache.size(source.key)
    states = p2p.record(HOUSE, seed=1, steps=4)
    next(states)
    states.close()
    assert p2p.cache.nbytes == p2p.cache.size(source.key), "at once where nobody else is at work"


# --- other models' schedulers -------------------------------------------------------------------------


def test_a_folder_of_a_latent_consistency_model(tmp_path: Path) -> None:
    pipe = tiny.pipeline(time_cond_proj_dim=16)
    pipe.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    said = json.loads(index.read_text()) | {"_class_name": "LatentConsistencyModelPipeline"}
    index.write_text(json.dumps(said))
    loaded, own = PromptToPrompt.from_pretrained(tmp_path), PromptToPrompt(pipe)
    one, two = (p.generate(HOUSE, **SETTINGS) for p in (loaded, own))
    assert one.sampler == two.sampler and one.key != two.key
    assert_close(one.latents, two.latents)


# --- pinned memory ------------------------------------------------------------------------------------


def test_tensors_share_few_buffers_and_come_back(tmp_path: Path) -> None:
    """SDXL's step in half precision: 210 tensors in a few buffers, hardly more than their bytes."""
    sizes = [4096 * 640] * 30 + [1024 * 1280] * 180
    named = {
        f"self/{n}/q": torch.empty(size, dtype=torch.float16, device="meta") for n, size in enumerate(sizes)
    }
    groups = tiers.grouped(named)
    assert [name for names in groups for name in names] == list(named) and len(groups) < 25
    needed = sum(x.nbytes for x in named.values())
    assert needed <= tiers.pinned_bytes(named) < 1.15 * needed
    assert tiers.grouped({}) == [] and tiers.pinned_bytes({}) == 0

    small = {f"{n}": torch.randn(1, 3 + n, 8) for n in range(40)} | {"mix/0": torch.eye(3).double()}
    there: dict[str, torch.Tensor] = {}
    for names in tiers.grouped(small):
        flat = torch.cat([small[name].reshape(-1) for name in names])
        there |= tiers.divided(flat, {name: small[name] for name in names})
    assert all(torch.equal(there[name], x) and there[name].shape == x.shape for name, x in small.items())
    wanted = {name: there[name] for name in ("9", "3", "4", "5", "mix/0")}
    runs = tiers.adjoining(wanted)
    assert [list(run) for run in runs if "mix/0" not in run] == [["3", "4", "5"], ["9"]]
    for run in runs:
        back = tiers.divided(tiers.end_to_end(run).clone(), run)
        assert all(torch.equal(back[name], small[name]) for name in run)


def test_a_host_that_pins_no_more_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PromptToPrompt(tiny.pipeline())
    expected = whole.edit(whole.generate(HOUSE, **SETTINGS), WINDOWS[2])
    budgets = {"device": 0, "host": 1 << 30, "disk": 1 << 30}
    p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=budgets, cache_folder=tmp_path)
    to_host, calls = p2p.cache._mover.to_host, []

    def full(tensors: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("CUDA error: out of memory")
        return to_host(tensors)

    monkeypatch.setattr(p2p.cache._mover, "to_host", full)
    source = p2p.generate(HOUSE, **SETTINGS)
    assert len(calls) == 3, "it is asked no more"
    assert source.where == "host memory 1, disk 3 of 4 steps"
    assert torch.equal(p2p.edit(source, WINDOWS[2]).latents, expected.latents)
