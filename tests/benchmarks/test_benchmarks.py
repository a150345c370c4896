"""The benchmark runs, and what it counts (not what it times) is as promised."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from matplotlib.figure import Figure

from benchmarks import equality, gpu, memory, models, speed, speed_report
from p2p_core.cache.tiers import TieredCache


def test_the_speed_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "docs" / "speed.json"
    out.parent.mkdir()
    speed.main(["--model", "tiny", "--out", str(out)])
    table = json.loads(out.read_text())["tiny"]
    assert table["against_side_by_side"]["largest_difference_of_latents"] < 1e-4, "both make the same picture"
    assert table["against_side_by_side"]["gain"] > 0 and table["machine"]["threads"] >= 1
    counted = {row["what"]: (row["steps_computed"], row["unet_calls"]) for row in table["exact_reuse"]}
    assert list(counted.values()) == [
        (10, 10), (4, 4), (0, 0), (0, 0), (10, 10), (4, 4), (0, 0)
    ], counted  # fmt: skip
    assert [row["tier"] for row in table["tiers"]] == ["device", "host", "disk", "nothing"]
    assert all(row["megabytes"] > table["tiers"][3]["megabytes"] for row in table["tiers"][:3])
    assert table["sweep"]["steps_percent"] <= 62 and table["sweep"]["steps_alone"] == 110
    assert table["first_preview"]["seconds_fader"] > 0 and table["against_side_by_side"]["over_plain"] > 0
    assert [row["targets"] for row in table["costs"]["targets"]] == [1, 2, 4, 8]
    assert len({row["pixels"] for row in table["costs"]["sizes"]}) >= 2
    assert (tmp_path / "docs" / "speed-tiny.png").stat().st_size > 5000
    printed = capsys.readouterr().out
    assert "| side by side / edit |" in printed and table["machine"]["torch"] in printed
    page = out.with_suffix(".md").read_text()
    assert printed.strip() in page and "](speed-tiny.png)" in page and "at most 1.10" in page


def test_other_models_figures_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "speed.json"
    figures = speed.measure("tiny", 2, 1)
    monkeypatch.setattr(speed, "measure", lambda name, *_: figures | {"name": name})
    monkeypatch.setattr(speed_report, "figure", lambda *_: Figure())
    speed.main(["--model", "sd15", "--out", str(out)])
    speed.main(["--model", "tiny", "--out", str(out)])
    assert list(json.loads(out.read_text())) == ["sd15", "tiny"]


def test_a_section_by_itself_joins_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    asked = ["--model", "tiny", "--steps", "3", "--rounds", "1", "--out", str(out), "--sections"]
    speed.main([*asked, "exact_reuse"])
    alone = json.loads(out.read_text())["tiny"]
    assert "exact_reuse" in alone and "sweep" not in alone and "against_side_by_side" not in alone
    speed.main([*asked, "sweep", "first_preview", "--rounds", "2"])
    both = json.loads(out.read_text())["tiny"]
    assert both["exact_reuse"] == alone["exact_reuse"] and {"sweep", "first_preview"} <= both.keys()
    assert both["rounds"] == 1 and both["rounds_of"] == {"sweep": 2, "first_preview": 2}
    assert "1 interleaved rounds; first preview: 2; sweep: 2." in out.with_suffix(".md").read_text()
    before = out.read_text()
    with pytest.raises(SystemExit):
        speed.main([*asked, "sweep", "--steps", "2"])
    assert "has steps 3 of tiny; got 2" in capsys.readouterr().err and out.read_text() == before


def test_the_equality_table(tmp_path: Path) -> None:
    out = tmp_path / "equality.json"
    equality.main(["--model", "tiny", "--steps", "4", "--out", str(out)])
    rows = json.loads(out.read_text())["tiny"]["rows"]
    found = {(row["what"], row["sampler"]): row["latents"] for row in rows}
    assert len(found) == len(rows) == 11 * 5
    for (what, sampler), latents in found.items():
        if what in ("resumed half way", "source in tier: host", "source in tier: disk"):
            assert latents == 0, (what, sampler)
        elif what.startswith(("in a batch", "source in tier")):
            assert latents < 1e-4, (what, sampler)
    page = out.with_suffix(".md").read_text()
    assert "| resumed half way | 0 | 0 | 0 | 0 | 0 |" in page and "| model in fp16 |" in page


def test_the_memory_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "memory.json"
    every = dict(memory.TASKS)
    monkeypatch.setattr(memory, "TASKS", {task: every[task] for task in (memory.ALONE, memory.DEVICE)})
    memory.main(["--model", "tiny", "--steps", "2", "--out", str(out)])
    table = json.loads(out.read_text())["tiny"]
    parts = table["shares"]
    steps = sum(nbytes for what, nbytes in parts.items() if what.endswith("a step"))
    assert table["source"] == 2 * steps + parts["text keys, once"] + parts["latents, a step"]
    assert set(table["peaks"]) == {memory.ALONE, memory.DEVICE} and not table["failed"]
    assert "| peak: edit, source on the device |" in out.with_suffix(".md").read_text()
    monkeypatch.setattr(memory, "TASKS", every)
    for task in every.keys() - {memory.ALONE, memory.DEVICE}:  # in this process, which is quicker
        assert memory.run("tiny", task, 2)["peak"] > 0


@pytest.mark.parametrize(("name", "millions"), [("sd15", 860), ("sd21", 866), ("sdxl", 2567)])
def test_the_random_unets_have_the_published_sizes(name: str, millions: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(layers_per_block=2, **models.RANDOM[name][0])
    assert round(sum(p.numel() for p in unet.parameters()) / 1e6) == millions


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_script_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.main([])
    parts = gpu.parts(tmp_path, models.NAMES)
    lines = [part.line.split(" ", 2)[2] for part in parts]
    assert len(parts) == 1 + 3 * len(models.NAMES)
    assert [line.split(" --out")[0] for line in lines[:5]] == [
        "benchmarks.speed --model sd15",
        "benchmarks.memory --model sd15 --steps 50",
        "benchmarks.speed --model sdxl",
        "benchmarks.memory --model sdxl --steps 30",
        "pytest -m gpu",
    ]


def test_the_gpu_script_keeps_its_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def part(code: str, seconds: int) -> gpu.Part:
        return gpu.Part((sys.executable, "-c", code), seconds)

    ran = tmp_path / "ran"
    todo = [
        part("raise SystemExit('no memory')", 1),
        part("", 10_000),
        part(f"open({str(ran)!r}, 'w').close()", 1),
    ]
    failed, skipped = gpu.run(todo, 100)
    assert failed == [todo[0].line] and skipped == [todo[1].line] and ran.exists()
    assert "no memory" in capfd.readouterr().err
    failed, skipped = gpu.run([part("import time; time.sleep(60)", 0)], 0.5)
    assert len(failed) == 1 and not skipped
    assert gpu.run([part("", 10_000)], None) == ([], [])


def test_every_dtype_has_the_same_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"block_out_channels": (32, 32), "norm_num_groups": 8, "attention_head_dim": 4}
    small |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "sample_size": 16}
    small |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": 64}
    monkeypatch.setitem(models.RANDOM, "small", (small, (64,), "a small model"))
    full = models.random_pipeline("small", "fp32", "cpu").unet.state_dict()
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        half = models.random_pipeline("small", name, "cpu").unet.state_dict()
        assert all(torch.equal(half[key], weight.to(dtype)) for key, weight in full.items())


def test_equality_keeps_no_source_for_later() -> None:
    """At SDXL's size in float32 one of them has gigabytes."""
    before = {id(x) for x in gc.get_objects() if isinstance(x, TieredCache)}
    for n, _ in zip(range(6), equality.rows("tiny", 2), strict=False):
        gc.collect()
        held = [x.nbytes for x in gc.get_objects() if isinstance(x, TieredCache) and id(x) not in before]
        assert sum(held) == 0, n


def test_a_part_that_fails_says_why_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = {memory.ALONE: {}, memory.GENERATE: {}}
    monkeypatch.setattr(memory, "TASKS", tasks)

    def child(command: list[str], **_: Any) -> Any:
        if command[-1] == memory.ALONE:
            return subprocess.CompletedProcess(command, 1, "", "Traceback\nOutOfMemoryError: 3 GB more")
        return subprocess.CompletedProcess(command, 0, json.dumps({"peak": 5}) + "\n", "")

    monkeypatch.setattr(subprocess, "run", child)
    saved: list[int] = []
    table = memory.measure("tiny", 2, lambda table: saved.append(len(table["peaks"]) + len(table["failed"])))
    assert table["failed"] == {memory.ALONE: "OutOfMemoryError: 3 GB more"} and saved == [1, 2]
    assert table["peaks"] == {memory.GENERATE: 5} and "OutOfMemoryError" in capsys.readouterr().err
    assert "failed: model alone" in memory.markdown("tiny", table)
