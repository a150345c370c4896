"""The benchmark runs, and what it counts (not what it times) is as promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks import equality, gpu, memory, models, speed


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
    printed = capsys.readouterr().out
    assert "| side by side / edit |" in printed and table["machine"]["torch"] in printed
    assert printed.strip() in out.with_suffix(".md").read_text()


def test_other_models_figures_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "speed.json"
    figures = speed.measure("tiny", 2, 1)
    monkeypatch.setattr(speed, "measure", lambda name, *_: figures | {"name": name})
    speed.main(["--model", "sd15", "--out", str(out)])
    speed.main(["--model", "tiny", "--out", str(out)])
    assert list(json.loads(out.read_text())) == ["sd15", "tiny"]


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


def test_the_memory_benchmark(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    memory.main(["--model", "tiny", "--steps", "2", "--out", str(out)])
    table = json.loads(out.read_text())["tiny"]
    parts = table["shares"]
    steps = sum(nbytes for what, nbytes in parts.items() if what.endswith("a step"))
    assert table["source"] == 2 * steps + parts["text keys, once"] + parts["latents, a step"]
    assert set(table["peaks"]) == set(memory.TASKS) and all(n > 0 for n in table["peaks"].values())
    assert "| peak: side by side |" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize(("name", "millions"), [("sd15", 860), ("sd21", 866), ("sdxl", 2567)])
def test_the_random_unets_have_the_published_sizes(name: str, millions: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(layers_per_block=2, **models.RANDOM[name][0])
    assert round(sum(p.numel() for p in unet.parameters()) / 1e6) == millions


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_script_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.main([])
    parts = gpu.commands(tmp_path, models.NAMES)
    assert len(parts) == 1 + 3 * len(models.NAMES)
    for command in parts[1:]:
        assert command[2].removeprefix("benchmarks.") in ("speed", "memory", "equality")
