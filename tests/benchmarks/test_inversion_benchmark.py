"""The inversion benchmark end to end, on two pictures with few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import inversion
from benchmarks.inversion import GENERATED, METHODS, UNGUIDED, asked, main, picked, read_rows, variants


def test_a_swap_of_each_scene_and_every_kind() -> None:
    found = picked(40)
    assert [edits[0].number for edits in found] == list(range(40))
    assert all(task.source.held_out for edits in found for task in edits)
    assert all(edits[0].kind in ("subject", "color") for edits in found)
    assert {task.kind for edits in found for task in edits} >= {
        "subject",
        "color",
        "place",
        "weather",
        "style",
    }
    assert sum(edits[0].in_pieces for edits in found) > 4
    for edits in found:
        for task in edits:
            assert set(variants(task)) == (
                {"no blend", "blend", "blend, own pixels"} if task.local else {"no blend"}
            )


GUIDANCES = (1.0, 7.5)
MEASURED = {(method, 7.5) for method in METHODS} | {(method, 1.0) for method in UNGUIDED}


@pytest.mark.timeout(600)
def test_the_table_from_two_parts_and_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "GUIDANCES", GUIDANCES)
    rows, out = tmp_path / "rows", tmp_path / "docs"
    given = ["--pictures", "2", "--null-text", "1", "--steps", "4", "--timed-steps", "2", "--closer", "1"]
    given += ["--rows", str(rows), "--out", str(out)]
    main([*given, "--part", "1/2"])
    assert not out.exists()
    file = rows / "1-2.jsonl"
    first, names = read_rows(rows)
    assert names == {f"0 {method} {guidance:g}" for method, guidance in MEASURED} | {f"0 {GENERATED} 7.5"}
    file.write_text(file.read_text()[:-60])  # stopped in the middle of its last line
    assert read_rows(rows)[1] == names - {f"0 {UNGUIDED[-1]} 1"}
    main([*given, "--part", "1/2"])
    rerun, found = read_rows(rows)
    assert found == names and json.dumps([r for r in rerun if r["of"] == "back"]) == json.dumps(
        [r for r in first if r["of"] == "back"]
    )

    main(given)
    result = json.loads((out / "inversion.json").read_text())
    back = {(row["method"], row["guidance"]): row for row in result["back"]}
    assert set(back) == MEASURED
    assert all(abs(back["direct", guidance]["short of it"]) < 1e-6 for guidance in GUIDANCES)
    assert back["direct", 7.5]["psnr"] > back["ddim", 7.5]["psnr"] + 1, "DDIM drifts away under guidance"
    assert back["null_text", 7.5]["edits"] == 1 and back["ddim", 7.5]["edits"] == 2
    assert {row["picture"] for row in result["beside generated"]} == {"real", "generated"}
    assert [row["method"] for row in result["seconds"]] == list(METHODS)
    local = {(row["method"], row["guidance"], row["blend"]): row for row in result["local edits"]}
    gained = []
    for method, guidance in MEASURED:
        own, same = (local[method, guidance, f"blend{tail}"] for tail in (", own pixels", ""))
        gained.append(own["psnr outside, picture"] - same["psnr outside, picture"])
    assert min(gained) > -1e-6 and sum(gained) > 1, "outside the region the picture's own pixels"
    assert len(result["asked"]) == 10 and all(isinstance(row["holds"], bool) for row in result["asked"])
    text = (out / "inversion.md").read_text()
    assert "How well the picture comes back" in text and "| null-text | 7.5 | 1 |" in text
    with Image.open(out / "inversion.png") as picture:
        assert min(picture.size) > 200

    (out / "inversion.json").write_text(json.dumps({**result, "seconds": []}))
    main([*given, "--seconds"])  # the times again, and nothing else
    again = json.loads((out / "inversion.json").read_text())
    assert [row["method"] for row in again["seconds"]] == list(METHODS)
    assert {**again, "seconds": None, "asked": None} == {**result, "seconds": None, "asked": None}


def test_what_is_asked_can_fail() -> None:
    closer = [{"method": method, "steps": "50", "short of it": 2.0} for method in METHODS]
    beside = [
        {"picture": of, "guidance": 7.5, "blend": blend, "shown": shown, "psnr outside": db}
        for of, blend, shown, db in (("real", "blend", 0.8, 20.0), ("generated", "blend", 0.9, 21.0))
    ]
    beside.append({"picture": "real", "guidance": 7.5, "blend": "blend, own pixels"})
    beside[-1]["psnr outside, picture"] = 20.5
    seconds = [{"method": method, "steps": 50, "invert": 61.0} for method in METHODS]
    found = asked({"closer": closer, "beside generated, swaps": beside, "seconds": seconds})
    assert len(found) == 8 and not any(row["holds"] for row in found)


def test_thresholds_are_tried_on_other_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "TRIED", (0.4, 0.6))
    main(["--tune", "1", "--steps", "2", "--rows", str(tmp_path / "rows"), "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "inversion-tuning.json").read_text())
    tried = {(row["picture"], row["blend"]) for row in rows}
    blends = [f"{threshold}{own}" for threshold in (0.4, 0.6) for own in ("", ", own pixels")]
    assert tried == {(picture, blend) for picture in ("real", GENERATED) for blend in blends}
    assert not (tmp_path / "inversion.md").exists()
    of = {(row["picture"], row["blend"]): row for row in rows}
    assert of["real", "0.6, own pixels"]["psnr outside, picture"] > of["real", "0.6"]["psnr outside, picture"]
    assert "psnr outside, picture" not in of[GENERATED, "0.6"]
