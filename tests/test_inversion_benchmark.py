"""The inversion benchmark end to end, on two pictures with few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.inversion import GUIDANCES, METHODS, main, picked, variants


def test_one_edit_of_each_scene_and_every_kind() -> None:
    found = picked(40)
    assert [task.number for task in found] == list(range(40)) and all(t.source.held_out for t in found)
    assert {task.kind for task in found} >= {"subject", "color", "place", "weather", "style"}
    for task in found:
        assert set(variants(task)) == (
            {"no blend", "blend", "blend, own pixels"} if task.local else {"no blend"}
        )


@pytest.mark.timeout(300)
def test_the_table(tmp_path: Path) -> None:
    main(
        ["--pictures", "2", "--null-text", "1", "--steps", "4", "--timed-steps", "2", "--out", str(tmp_path)]
    )
    result = json.loads((tmp_path / "inversion.json").read_text())
    back = {(row["method"], row["guidance"]): row for row in result["back"]}
    assert set(back) == {(method, guidance) for method in METHODS for guidance in GUIDANCES}
    assert all(abs(back["direct", guidance]["short of it"]) < 1e-6 for guidance in GUIDANCES)
    assert back["direct", 7.5]["psnr"] > back["ddim", 7.5]["psnr"] + 1, "DDIM drifts away under guidance"
    assert back["null_text", 7.5]["edits"] == 1 and back["ddim", 7.5]["edits"] == 2
    assert {row["of"] for row in result["beside generated"]} == {"real", "generated"}
    assert [row["method"] for row in result["seconds"]] == list(METHODS)
    own = [row for row in result["local edits"] if row["blend"] == "blend, own pixels"]
    assert all(row["psnr outside, picture"] > 35 for row in own)
    text = (tmp_path / "inversion.md").read_text()
    assert "How well the picture comes back" in text and "| null-text | 7.5 | 1 |" in text
    with Image.open(tmp_path / "inversion.png") as picture:
        assert min(picture.size) > 300
