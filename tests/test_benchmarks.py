"""The benchmark runs, and what it counts (not what it times) is as promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import speed


def test_the_speed_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "docs" / "speed.json"
    out.parent.mkdir()
    out.write_text('{"sd15": {"kept": true}}')
    speed.main(["--model", "tiny", "--steps", "10", "--rounds", "1", "--out", str(out)])
    tables = json.loads(out.read_text())
    assert tables["sd15"] == {"kept": True}, "other models' figures stay"
    table = tables["tiny"]
    assert table["against_side_by_side"]["largest_difference_of_latents"] < 1e-4, "both make the same picture"
    assert table["against_side_by_side"]["gain"] > 0 and table["machine"]["threads"] >= 1
    counted = {row["what"]: (row["steps_computed"], row["unet_calls"]) for row in table["exact_reuse"]}
    assert list(counted.values()) == [(10, 10), (4, 4), (0, 0), (0, 0), (4, 4), (0, 0)], counted
    assert table["sweep"]["steps_percent"] <= 62 and table["sweep"]["steps_alone"] == 110
    printed = capsys.readouterr().out
    assert "| gain |" in printed and "random weights" in printed and table["machine"]["torch"] in printed
