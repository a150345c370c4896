"""Every tier gives the same picture, keeps its budget, and says what it holds."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2p_core import Blend, Edit, P2PError, PromptToPrompt, Source, errors
from p2p_core.attention import AttentionRecord, Term
from p2p_core.cache.tiers import TieredCache, to_host

from .. import tiny
from ..conftest import HOUSE
from ..counting import unet_calls
from ..tolerances import RELATIVE, assert_close, relative

CASTLE = "a red castle on a snowy hill at night"
N = 6
BIG = 1 << 30
BLEND = Blend(source_words=("house",), target_words=("castle",), threshold=0.6, start=0.25)
EDITS = [
    Edit(CASTLE, cross_steps=0.7, self_steps=0.5),
    Edit(CASTLE, cross_steps=0.5, self_steps=0.5, weights={"snowy": -1.5}, blend=BLEND),
    Edit("a big red house on a snowy hill with a cat at night", cross_steps=1.0, self_steps=(0.5, 1.0)),
]
# budgets by tier; the sources here hold about a megabyte
TIERS: dict[str, Any] = {
    "host": {"device": 0, "host": BIG},
    "disk": {"device": 0, "host": 0, "disk": BIG},
    "device and host": {"device": 400_000, "host": BIG},
    "all three": {"device": 400_000, "host": 300_000, "disk": BIG},
    "all three and nothing": {"device": 300_000, "host": 200_000, "disk": 300_000},
}


def engine(tmp_path: Path, tiers: Any, **options: Any) -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline(), cache_bytes=tiers, cache_folder=tmp_path / "cache", **options)


def made(p2p: PromptToPrompt) -> Source:
    return p2p.generate(HOUSE, seed=3, steps=N, guidance_scale=5.0)


@pytest.fixture(scope="module")
def expected() -> tuple[Source, list[torch.Tensor], torch.Tensor, np.ndarray]:
    """The source, its edits, an edit of an edit, and a map, with everything on the device."""
    p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=BIG)
    source = made(p2p)
    results = [p2p.edit(source, edit) for edit in EDITS]
    chained = p2p.edit(results[0].as_source(), Edit("a red castle on a big hill", weights={"hill": -0.5}))
    return source, [r.latents for r in results], chained.latents, source.attention("house")


@pytest.mark.parametrize("name", TIERS)
def test_every_tier_gives_the_same_picture(tmp_path: Path, expected: Any, name: str) -> None:
    p2p = engine(tmp_path, TIERS[name])
    source = made(p2p)
    assert torch.equal(source.latents, expected[0].latents)
    whole = p2p.cache.steps(source.key) == N
    assert whole == ("nothing" not in name), source.where
    same = torch.equal if whole else lambda a, b: relative(a, b) < RELATIVE[torch.float32]
    for edit, latents in zip(EDITS, expected[1], strict=True):
        with unet_calls(p2p.pipe.unet) as calls:
            result = p2p.edit(source, edit)
        assert same(result.latents, latents)
        if whole:
            assert len(calls) == N, "nothing is recorded again that some tier holds"
    assert np.allclose(source.attention("house"), expected[3], atol=1e-6)
    first = p2p.edit(source, EDITS[0]).as_source()
    chained = p2p.edit(first, Edit("a red castle on a big hill", weights={"hill": -0.5}))
    assert_close(chained.latents, expected[2])
    p2p.forget_edits()
    again = p2p.edit(first, Edit("a red castle on a big hill", weights={"hill": -0.5}))
    assert same(again.latents, chained.latents)


def test_recomputing_gives_the_same_picture(expected: Any) -> None:
    p2p = PromptToPrompt(tiny.pipeline(), cache_bytes=0)
    source = made(p2p)
    assert source.where == "latents only" and source.nbytes == source.latents.nbytes
    for edit, latents in zip(EDITS, expected[1], strict=True):
        assert_close(p2p.edit(source, edit).latents, latents)


@pytest.mark.parametrize("seed", range(4))
def test_budgets_are_kept(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    budgets = {tier: int(rng.integers(0, 900_000)) for tier in ("device", "host", "disk")}
    p2p = engine(tmp_path, budgets)

    def kept() -> bool:
        files = sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*") if f.is_file())
        assert files == p2p.cache.bytes_in("disk")[0]
        held = {tier: p2p.cache.bytes_in(tier) for tier in budgets}
        return all(nbytes <= budget == budgets[tier] for tier, (nbytes, budget) in held.items())

    sources = []
    for number in range(3):
        sources.append(p2p.generate(HOUSE, seed=number, steps=4, on_step=lambda _: kept()))
        p2p.edit(sources[0], EDITS[number], on_step=lambda _: kept())
        assert kept()
    assert p2p.cache.nbytes == sum(p2p.cache.size(s.key) for s in sources)
    for source in sources:
        p2p.forget(source)
        assert p2p.cache.size(source.key) == 0 and source.where == "latents only"
    assert p2p.cache.nbytes == 0 and not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_source_says_where_it_lies(tmp_path: Path) -> None:
    assert made(PromptToPrompt(tiny.pipeline())).where == "CPU memory"
    assert made(engine(tmp_path / "a", TIERS["disk"])).where == "disk"
    assert made(engine(tmp_path / "b", TIERS["host"])).where == "host memory"
    some = made(engine(tmp_path / "c", {"device": 400_000, "host": 0, "disk": 0}))
    assert some.where.startswith("CPU memory, ") and some.where.endswith(" of 6 steps")
    three = made(engine(tmp_path / "d", TIERS["all three"]))
    words = three.where.replace(",", "").split()
    assert words[:2] == ["CPU", "memory"] and words[3:5] == ["host", "memory"] and words[6] == "disk"
    assert int(words[2]) + int(words[5]) + int(words[7]) == N and three.where.endswith(" of 6 steps")
    p2p = three.engine
    assert three.nbytes == three.latents.nbytes + p2p.cache.nbytes > p2p.cache.bytes_in("device")[0]


def test_the_automatic_choice(tmp_path: Path) -> None:
    plain = PromptToPrompt(tiny.pipeline())
    assert plain.cache.bytes_in("device")[1] > 0
    assert plain.cache.bytes_in("host")[1] == plain.cache.bytes_in("disk")[1] == 0, "no files unasked"
    assert engine(tmp_path, None).cache.bytes_in("disk")[1] > 0
    assert engine(tmp_path, 5).cache.bytes_in("device")[1] == 5
    for wrong in (-1, 1.5, {"gpu": 3}, {"device": "much"}, True):
        with pytest.raises(P2PError, match="cache_bytes is a whole number"):
            PromptToPrompt(tiny.pipeline(), cache_bytes=wrong)
    with pytest.raises(P2PError, match="dtype is one of"):
        PromptToPrompt(tiny.pipeline(), cache_dtype="int8")


def test_the_next_step_is_read_ahead_and_no_more_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p2p = engine(tmp_path, TIERS["disk"])
    source = made(p2p)
    disk, reads = p2p.cache.disk, []
    assert disk is not None
    read = disk.read

    def seen(key: str, step: int, *more: Any) -> AttentionRecord | None:
        assert key == source.key
        record = read(key, step, *more)
        assert record is not None
        reads.append((step, set(record.self_), threading.current_thread() is threading.main_thread()))
        return record

    def wait_for(n: int) -> None:
        for _ in range(1000):
            if len(reads) >= n:
                return
            time.sleep(0.01)

    monkeypatch.setattr(disk, "read", seen)
    states = p2p.stream(source, Edit(CASTLE, cross_steps=1.0, self_steps=1 / N))
    for i in range(1, N):
        next(states)
        wait_for(i + 1)
        assert len(reads) == i + 1 and reads[-1] == (i, set(), False), "without self-attention"
    states.close()
    reads.clear()
    injected = p2p.stream(source, Edit(CASTLE, cross_steps=0.0, self_steps=1.0, self_pixels=64))
    next(injected)
    wait_for(2)
    small = {s.name for s in p2p.model.sites if s.kind == "self" and s.pixels((16, 16)) <= 64}
    assert reads == [(0, small, True), (1, small, False)]
    injected.close()


@pytest.mark.parametrize("harm", ["gone", "half"])
def test_a_file_that_was_lost_is_recorded_again(tmp_path: Path, expected: Any, harm: str) -> None:
    p2p = engine(tmp_path, TIERS["disk"])
    source = made(p2p)
    assert p2p.cache.steps(source.key) == N
    for file in sorted((tmp_path / "cache").rglob(f"{source.key}*")):
        if harm == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_close(p2p.edit(source, EDITS[0]).latents, expected[1][0])
    p2p.forget_edits()
    with unet_calls(p2p.pipe.unet) as calls:
        p2p.edit(source, EDITS[0])
    assert len(calls) == N, "and kept again"


def test_a_full_disk_only_costs_time(tmp_path: Path, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2p_core.cache import disk

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "save_file", full)
    p2p = engine(tmp_path, TIERS["disk"])
    source = made(p2p)
    assert source.where == "latents only"
    assert_close(p2p.edit(source, EDITS[0]).latents, expected[1][0])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(errors.BadFolder, match="can be written to"):
        engine(tmp_path, TIERS["disk"])


def test_files_go_with_their_engine_and_those_of_dead_processes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    dead = cache / f"records-{socket.gethostname()}-{2**22 + 1}-x"  # above any process number of Linux
    alive = cache / f"records-{socket.gethostname()}-{os.getpid()}-x"
    elsewhere = cache / "records-another-1-x"
    for folder in (dead, alive, elsewhere):
        folder.mkdir(parents=True)
    p2p = engine(tmp_path, TIERS["disk"])
    source = made(p2p)  # kept, because its files go with it
    assert source.steps == N
    assert not dead.exists() and alive.exists() and elsewhere.exists()
    assert len(list(cache.rglob("*.safetensors"))) == N
    p2p.cache.disk.close()  # type: ignore[union-attr]
    gc.collect()
    assert not list(cache.rglob("*.safetensors")) and alive.exists()


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["device", *TIERS])
def test_records_in_half_precision(tmp_path: Path, expected: Any, name: str, dtype: str) -> None:
    """Half the bytes; every tier, and what is recorded again, agrees; the edit is near to float32's."""
    p2p = engine(tmp_path, TIERS.get(name, BIG), cache_dtype=dtype)
    source = made(p2p)
    assert torch.equal(source.latents, expected[0].latents), "the source itself isn't rounded"
    if name == "device":
        full = PromptToPrompt(p2p.pipe, cache_bytes=BIG)
        assert p2p.cache.nbytes * 2 == full.cache.size(made(full).key)
    for edit, latents in zip(EDITS, expected[1], strict=True):
        first = p2p.edit(source, edit).latents
        assert relative(first, latents) < RELATIVE[getattr(torch, {"fp16": "float16"}.get(dtype, "bfloat16"))]
        p2p.forget_edits()
        assert_close(p2p.edit(source, edit).latents, first)
    p2p.forget(source)
    p2p.forget_edits()
    assert relative(p2p.edit(source, EDITS[2]).latents, first) < 1e-3, "recorded again, it is rounded again"


def test_half_precision_does_not_overflow() -> None:
    cache = TieredCache(torch.device("cpu"), torch.float32, {"device": BIG}, store=torch.float16)
    large = torch.tensor([[[1e6, -1e6]]])
    term, *_ = cache.keep("a", 0, AttentionRecord(cross={"layer": (Term(large, large),)})).cross["layer"]
    assert term.q.flatten().tolist() == term.k.flatten().tolist() == [65504.0, -65504.0]


def test_a_texts_keys_are_held_once_and_go_with_their_source(tmp_path: Path) -> None:
    p2p = engine(tmp_path, TIERS["all three"])
    source, cache = made(p2p), p2p.cache
    keys = [
        {term.k.data_ptr() for terms in record.cross.values() for term in terms}
        for record in (cache.get(source.key, i) for i in range(N))
        if record is not None
    ]
    assert len(keys) == N and all(found == keys[0] for found in keys), "the same memory in every step"
    held = sum(cache.bytes_in(tier)[0] for tier in ("device", "host", "disk"))
    assert 0 < cache.size(source.key) - held < 0.1 * held
    p2p.forget(source)
    assert cache.nbytes == 0
    none = PromptToPrompt(p2p.pipe, cache_bytes=0)
    made(none)
    assert none.cache.nbytes == 0, "nor do they outlive the steps"


def test_what_an_edits_map_does_not_use_is_not_kept(eps: PromptToPrompt) -> None:
    """All columns taken from the source: the target's own queries are not part of the edited map."""
    source = eps.generate(HOUSE, seed=3, steps=3)
    chained = eps.edit(source, Edit(CASTLE, cross_steps=1.0, self_steps=0.0)).as_source()
    chained.attention("castle")
    record = eps.cache.get(chained.key, 0)
    assert record is not None and all(len(terms) == 1 for terms in record.cross.values())


@pytest.mark.gpu
@pytest.mark.parametrize("name", TIERS)
def test_every_tier_beside_a_gpu(tmp_path: Path, name: str) -> None:
    full = PromptToPrompt(tiny.pipeline(), device="cuda", dtype="fp32", cache_bytes=BIG)
    p2p = engine(tmp_path, TIERS[name], device="cuda", dtype="fp32")
    one, two = made(full), made(p2p)
    for edit in EDITS:
        assert_close(p2p.edit(two, edit).latents, full.edit(one, edit).latents)
    record = one.engine.cache.get(one.key, 0)
    assert record is not None
    assert all(x.is_pinned() for x in to_host(record, torch.device("cuda")).tensors())
