"""The benchmark runs, and what it counts (not what it times) is as promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import speed


def test_the_speed_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "docs" / "speed.json"
    out.parent.mkdir()
    speed.main(["--model", "tiny", "--out", str(out)])
    table = json.loads(out.read_text())["tiny"]
    assert table["against_side_by_side"]["largest_difference_of_latents"] < 1e-4, "both make the same picture"
    assert table["against_side_by_side"]["gain"] > 0 and table["machine"]["threads"] >= 1
    counted = {row["what"]: (row["steps_computed"], row["unet_calls"]) for row in table["exact_reuse"]}
    assert list(counted.values()) == [(10, 10), (4, 4), (0, 0), (0, 0), (4, 4), (0, 0)], counted
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
