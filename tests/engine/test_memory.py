"""How much is run at once, what happens when memory runs out, and pipelines that are offloaded."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import AutoencoderTiny

from p2p_core import Edit, PromptToPrompt, errors
from p2p_core.attention import AttentionRecord, Term
from p2p_core.cache import tiers
from p2p_core.cache.tiers import host_bytes, tier_budgets
from p2p_core.memory import MAX_EDITS, decode_fits, edits_at_once
from p2p_core.model import loading

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


def test_batches_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    half, full, cpu = torch.float16, torch.float32, torch.device("cpu")

    def at_once(size: tuple[int, int], dtype: torch.dtype, rows: int, free: int) -> int:
        monkeypatch.setattr("p2p_core.memory.free_bytes", lambda _device: free)
        return edits_at_once(Unet, size, dtype, rows, torch.device("cuda"))

    large = [at_once((128, 128), half, 2, n << 30) for n in (1, 4, 12, 24, 70)]
    assert large == sorted(large) and large[0] == 1 and 2 <= large[2] <= 12 and large[-1] == MAX_EDITS
    assert at_once((64, 64), half, 2, 4 << 30) >= 4 * at_once((128, 128), half, 2, 4 << 30)
    assert at_once((64, 64), half, 1, 4 << 30) >= 2 * at_once((64, 64), full, 1, 4 << 30) > 2
    assert edits_at_once(Unet, (16, 16), full, 2, cpu) == 16
    assert edits_at_once(Unet, (128, 128), full, 2, cpu) == 1


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
    assert decode_fits(vae, (64, 64), torch.float32, torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("p2p_core.memory.free_bytes", lambda _device: 1 << 20)
        assert not decode_fits(vae, (1024, 1024), torch.float32, torch.device("cuda"))
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
    monkeypatch.setattr("p2p_core.model.vae.decode_fits", lambda *_: False)
    p2p.decode(source.latents[-1])
    assert calls[2:] == [True], "not even tried"


# --- pipelines whose parts are moved --------------------------------------------------------------------

CPU = torch.device("cpu")


def offload_models(pipe: Any) -> None:
    pipe.enable_model_cpu_offload(device="cpu")


def offload_sequentially(pipe: Any) -> None:
    """As `enable_sequential_cpu_offload`, but for encoders: accelerate fails for tied weights on a CPU."""
    for part in (pipe.unet, pipe.vae):
        cpu_offload(part, CPU)


def offload_leaves(pipe: Any) -> None:
    pipe.enable_group_offload(onload_device=CPU, offload_device=CPU, offload_type="leaf_level")


def offload_blocks(pipe: Any) -> None:
    pipe.enable_group_offload(
        onload_device=CPU, offload_device=CPU, offload_type="block_level", num_blocks_per_group=1
    )


@pytest.mark.parametrize("offloaded", [offload_models, offload_sequentially, offload_leaves, offload_blocks])
@pytest.mark.parametrize("make", [tiny.pipeline, tiny.xl_pipeline])
def test_a_pipeline_that_is_offloaded_gives_the_same_pictures(make: Any, offloaded: Any) -> None:
    pipe = make()
    plain = PromptToPrompt(pipe)
    source = plain.generate(HOUSE, **SETTINGS)
    result, version = plain.edit(source, WINDOWS[2]), plain.model.version()
    fingerprint = plain.model.fingerprint
    offloaded(pipe)
    p2p = PromptToPrompt(pipe)
    assert p2p.device.type == "cpu" and p2p.dtype == torch.float32
    assert p2p.model.version() == version and p2p.model.fingerprint == fingerprint
    again = p2p.generate(HOUSE, **SETTINGS)
    assert torch.equal(again.latents, source.latents)
    assert np.array_equal(np.asarray(again.image), np.asarray(source.image))
    assert torch.equal(p2p.edit(again, WINDOWS[2]).latents, result.latents)
    real = [p.invert(source.image, HOUSE, steps=2) for p in (plain, p2p)]
    assert torch.equal(real[0].latents, real[1].latents)
    assert p2p.preview(next(p2p.stream(again, WINDOWS[3]))).size == (64, 64)
    theirs = pipe(HOUSE, num_inference_steps=2, output_type="latent", generator=torch.Generator()).images
    assert theirs.isfinite().all(), "and it still works by itself"


def test_every_part_runs_by_its_hook_and_is_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny.pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    p2p = PromptToPrompt(pipe)
    ran: list[str] = []
    for name in ("text_encoder", "unet", "vae"):
        part = getattr(pipe, name)
        before = part._hf_hook.pre_forward
        seen = lambda *a, name=name, before=before, **k: ran.append(name) or before(*a, **k)  # noqa: E731
        monkeypatch.setattr(part._hf_hook, "pre_forward", seen)
    monkeypatch.setattr(pipe, "maybe_free_model_hooks", lambda: ran.append("free"))
    p2p.generate(HOUSE, **SETTINGS)
    assert ran == ["text_encoder"] * 2 + ["unet"] * SETTINGS["steps"] + ["vae", "free"]
    assert not p2p.model.previews_by_decoding, "or the UNet would be moved out for each"


def test_offload_has_the_pipeline_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    pipe = tiny.pipeline()
    monkeypatch.setattr(pipe, "enable_model_cpu_offload", lambda **options: asked.append(options))
    PromptToPrompt(pipe, offload=True)
    assert not asked, "beside a CPU there is nowhere to wait"
    PromptToPrompt(pipe, device="meta", offload=True)
    assert asked == [{"device": torch.device("meta")}]
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert next(part.parameters()).device.type == "cpu", "and nothing is moved there before"


def test_what_cannot_be_done_beside_hooks_is_told(tmp_path: Path) -> None:
    pipe = tiny.pipeline()
    cpu_offload(pipe.unet, CPU)
    cpu_offload(pipe.vae, torch.device("meta"))
    with pytest.raises(
        errors.UnsupportedModel, match=r"runs parts of this pipeline on cpu and meta.*expected one device"
    ):
        PromptToPrompt(pipe)
    pipe, options = tiny.pipeline(), {"onload_device": CPU, "offload_device": CPU}
    pipe.unet.enable_group_offload(
        **options, offload_type="leaf_level", offload_to_disk_path=str(tmp_path / "weights")
    )
    with pytest.raises(errors.UnsupportedModel, match="keeps weights of this pipeline on disk"):
        PromptToPrompt(pipe)
    pipe = tiny.xl_pipeline().to(torch.float16)
    pipe.enable_group_offload(**options, offload_type="leaf_level")
    with pytest.raises(errors.UnsupportedModel, match=r'overflows in float16.*exclude_modules="vae"'):
        PromptToPrompt(pipe)
    pipe = tiny.xl_pipeline().to(torch.float16)
    pipe.enable_group_offload(**options, offload_type="leaf_level", exclude_modules="vae")
    p2p = PromptToPrompt(pipe)
    assert p2p.dtype == torch.float16 and p2p.model.vae.dtype == pipe.vae.dtype == torch.float32


# --- previews -----------------------------------------------------------------------------------------


def heavy(p2p: PromptToPrompt) -> PromptToPrompt:
    """As if decoding took long."""
    p2p.model.previews_by_decoding = False
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
    cuda = torch.device("cuda")
    monkeypatch.setattr("p2p_core.cache.tiers.host_budget", lambda _device: 77)
    for five in (5, {"device": 5}):
        assert tier_budgets(five, cuda, None) == {"host": 77, "disk": 0, "device": 5}
    given = tier_budgets({"device": 5, "host": 0}, cuda, tmp_path)
    assert given["host"] == 0 and given["disk"] > 0
    monkeypatch.setattr("p2p_core.cache.tiers.device_budget", lambda _device: 99)
    assert tier_budgets(None, cuda, None)["device"] == 99
    assert tier_budgets({"host": 1}, cuda, None)["device"] == 99


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


def test_pinned_memory_is_counted_as_torch_rounds_it() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    q, k = torch.empty(1, 4096, 320, dtype=torch.float16), torch.empty(1, 64, 64, dtype=torch.float16)
    record = AttentionRecord(cross={"a": (Term(q, k),)}, self_={"b": (q, k)})
    assert host_bytes(record, cpu) == record.nbytes == 2 * q.nbytes + k.nbytes
    assert host_bytes(record, cuda) == 2 * (4 << 20) + 8192


def test_a_host_that_pins_no_more_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PromptToPrompt(tiny.pipeline())
    expected = whole.edit(whole.generate(HOUSE, **SETTINGS), WINDOWS[2])
    budgets = {"device": 0, "host": 1 << 30, "disk": 1 << 30}
    p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=budgets, cache_folder=tmp_path)
    to_host, calls = tiers.to_host, []

    def full(*asked: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("CUDA error: out of memory")
        return to_host(*asked)

    monkeypatch.setattr(tiers, "to_host", full)
    source = p2p.generate(HOUSE, **SETTINGS)
    assert len(calls) == 2, "it is asked no more"
    assert source.where == "host memory 1, disk 3 of 4 steps"
    assert torch.equal(p2p.edit(source, WINDOWS[2]).latents, expected.latents)
