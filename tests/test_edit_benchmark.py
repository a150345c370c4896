"""The ground-truth benchmark: its list, its measures, and a short run of the whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skia", reason="drawing needs requirements-train.txt")

from benchmarks import edits, measures, tasks
from benchmarks.tasks import Setting, Task
from p2p_core import PromptToPrompt
from storybook.captions import IN_PIECES, caption
from storybook.draw import render, subject_mask
from storybook.judge import Judge
from storybook.scenes import ANIMALS, ATTRIBUTES, DEGREES, Scene

CAT = Scene(subject="cat", color="red", place="hill")


def task(kind: str, word: str, target: Scene, source: Scene = CAT) -> Task:
    return Task(number=0, kind=kind, word=word, source=source, target=target, layout=4)


# --- the list ------------------------------------------------------------------------------------------


def test_the_list_is_fixed_and_long_enough():
    todo = tasks.tasks()
    assert len(todo) >= 300 and todo == tasks.tasks()
    counts = {kind: sum(t.kind == kind for t in todo) for kind in tasks.KINDS}
    assert min(counts.values()) >= 15 and counts["subject"] >= 60
    assert sum(t.in_pieces for t in todo) >= 25
    assert {t.source.subject for t in todo} == set(ATTRIBUTES["subject"])
    assert not {(t.source, t.layout) for t in todo} & {(t.source, t.layout) for t in tasks.tasks(seed=1)}


def test_every_edit_changes_one_thing_of_a_scene_never_trained_on():
    for t in tasks.tasks():
        assert t.source.held_out
        differs = [n for n in ATTRIBUTES if getattr(t.source, n) != getattr(t.target, n)]
        differs += [n for n in DEGREES if n not in ATTRIBUTES["weather"] and getattr(t.target, n)]
        assert differs == ([t.word] if t.kind == "degree" else [t.kind])
        assert t.word in caption(t.target) and caption(t.source) != caption(t.target)


def test_methods_switch_one_thing_each():
    local = edits.methods(task("subject", "dog", CAT.but(subject="dog")))
    assert set(local) == {
        "same seed", "cross", "self", "cross + self",
        "cross + self + blend", "self + blend", "cross + blend", "blend",
    }  # fmt: skip
    for name, setting in local.items():
        assert (setting.cross > 0) == ("cross" in name) and (setting.self_ > 0) == ("self" in name)
        assert (setting.threshold is not None) == ("blend" in name)
    assert "blend" not in edits.methods(task("time", "night", CAT.but(time="night")))
    assert "blend" in edits.methods(task("degree", "fluffy", CAT.but(fluffy=0.8)))
    edit = task("subject", "dog", CAT.but(subject="dog")).edit(Setting(cross=0.5, threshold=0.4, start=0.1))
    assert edit.blend.source_words == ("cat",) and edit.blend.target_words == ("dog",)
    assert edit.prompt == "a red dog on a hill" and edit.cross_steps.end == 0.5


@pytest.mark.parametrize("word", DEGREES)
def test_fader_prompts_have_their_word(word):
    scenes = tasks.fader_scenes(word, 4)
    assert len(scenes) == 4
    assert all(word in caption(s) and s.held_out for s in scenes)
    assert word != "fluffy" or all(s.subject in ANIMALS for s in scenes)


# --- measures ------------------------------------------------------------------------------------------


def test_the_psnr_counts_only_what_it_is_told():
    a = np.full((32, 32, 3), 100, np.uint8)
    b = a.copy()
    b[:8, :8] = 0
    inside = np.zeros((32, 32), bool)
    inside[:8, :8] = True
    assert measures.psnr(a, b, ~inside) == pytest.approx(60, abs=0.1)
    assert measures.psnr(a, b, inside) == pytest.approx(20 * np.log10(2.55), abs=1e-6)
    assert np.isnan(measures.psnr(a, b, np.zeros((32, 32), bool)))


def test_likeness_falls_with_distance():
    judge = Judge.load()
    house = render(Scene(subject="house", color="red", place="hill"), 4)
    castle = render(Scene(subject="castle", color="red", place="hill"), 4)
    elsewhere = render(Scene(subject="castle", color="blue", place="street", time="night"), 9)
    for alike in (measures.psnr, measures.ssim, lambda a, b: -measures.structure(judge, a, b)):
        assert alike(house, house) > alike(house, castle) > alike(house, elsewhere)
    assert measures.ssim(house, house) == pytest.approx(1)
    assert measures.structure(judge, house, house) == pytest.approx(0, abs=1e-5)
    mask = measures.widened(
        (subject_mask(Scene(subject="house", color="red", place="hill"), 4) > 0)
        | (subject_mask(Scene(subject="castle", color="red", place="hill"), 4) > 0),
        12,
    )
    assert measures.ssim(house, castle, ~mask) > 0.99 > measures.ssim(house, castle)
    assert measures.structure(judge, house, castle, ~mask) < 0.1 * measures.structure(judge, house, castle)


def test_a_map_finds_its_region():
    region = np.zeros((128, 128), bool)
    region[32:96, 32:96] = True
    attention = np.zeros((16, 16), np.float32)
    attention[4:12, 4:12] = 0.2
    assert measures.map_iou(attention, region, 0.4) > 0.85
    assert measures.map_iou(attention[::-1] + 1, region, 0.4) > 0.85, "only where it is high counts"
    assert measures.map_iou(0.2 - attention, region, 0.4) < 0.15


def test_the_correlation_is_of_ranks():
    c = [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert measures.correlation(c, [0.0, 0.01, 0.02, 0.5, 0.9]) == pytest.approx(1)
    assert measures.correlation(c, [0.9, 0.5, 0.02, 0.01, 0.0]) == pytest.approx(-1)
    assert measures.correlation(c, [0.5] * 5) == 0


def test_widening_is_by_so_many_pixels():
    one = np.zeros((33, 33), bool)
    one[16, 16] = True
    wide = measures.widened(one, 4)
    assert wide[16, 12:21].all() and wide[12:21, 16].all() and not wide[16, 11] and not wide[12, 12]


# --- what counts as shown and kept ---------------------------------------------------------------------


def reading(scene: Scene, **changes: object) -> dict[str, object]:
    return {**{n: getattr(scene, n) for n in (*ATTRIBUTES, *DEGREES)}, **changes}


def test_shown_and_kept():
    blue = task("color", "blue", CAT.but(color="blue"))
    assert edits.shown(blue, reading(blue.target), reading(CAT))
    assert edits.kept(blue, reading(blue.target), reading(CAT))
    assert not edits.shown(blue, reading(CAT), reading(CAT))
    assert not edits.kept(blue, reading(blue.target, place="beach"), reading(CAT))
    crowd = task("degree", "crowded", CAT.but(crowded=0.8))
    assert edits.shown(crowd, reading(CAT, crowded=0.6), reading(CAT))
    assert not edits.shown(crowd, reading(CAT, crowded=0.6), reading(CAT, crowded=0.55))


def test_only_what_the_edit_may_change_is_left_out():
    """The ideal edit differs from the drawing nowhere else, and the drawing's own measure says so."""
    for t in (
        task("subject", "castle", CAT.but(subject="castle")),
        task("season", "winter", CAT.but(season="winter")),
        task("degree", "crowded", CAT.but(crowded=0.8)),
    ):
        outside = ~edits.may_change(t)
        before, ideal = render(t.source, t.layout), render(t.target, t.layout)
        assert measures.psnr(before, ideal, outside) > 38
    row, perfect = edits.measured(
        Judge.load(),
        task("subject", "castle", CAT.but(subject="castle")),
        render(CAT, 4),
        {"nothing": render(CAT, 4), "perfect": render(CAT.but(subject="castle"), 4)},
        drawn=True,
    )
    assert (row["shown"], perfect["shown"]) == (0, 1) and perfect["both"] == 1
    assert perfect["psnr to ideal"] == pytest.approx(60, abs=0.2) and row["psnr to ideal"] < 40
    assert row["psnr outside"] == perfect["psnr outside"] == pytest.approx(60, abs=0.2)


def test_a_fader_that_moves_its_word_alone():
    degrees = [max(0.0, c / 2) for c in edits.FADERS]
    pictures = [np.full((8, 8, 3), 100, np.uint8)] * len(degrees)
    calm = edits.fader_row("snowy", degrees, [reading(CAT, snowy=d) for d in degrees], pictures)
    assert calm["spearman"] > 0.9 and calm["calm"] == 1 and calm["psnr to c = 1"] > 59
    assert calm["2"] == 1.0 and calm["-2"] == 0.0
    colors = ["blue" if c > 1.4 else "red" for c in edits.FADERS]
    flips = [reading(CAT, snowy=d, color=k) for k, d in zip(colors, degrees, strict=True)]
    assert edits.fader_row("snowy", degrees, flips, pictures)["calm"] == 0.5
    fog = [reading(CAT, foggy=0.5 if c == 2 else 0.0) for c in edits.FADERS]
    assert edits.fader_row("snowy", degrees, fog, pictures)["calm"] == 0.75


# --- the whole -----------------------------------------------------------------------------------------


def test_a_drawing_comes_back_as_a_source():
    studio = edits.Studio(PromptToPrompt.from_pretrained("storybook"), Judge.load(), steps=5, guidance=4.0)
    source = studio.drawn(CAT, 4)
    assert source.steps == 5 and source.prompt.text == "a red cat on a hill"
    assert measures.psnr(np.asarray(source.image), render(CAT, 4)) > 22, "the autoencoder's round trip"
    (same,) = studio.edited(source, [task("color", "red", CAT).edit(Setting())])
    assert np.array_equal(same, np.asarray(source.image))


def test_a_short_run_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    edits.main(["--sources", "1", "--faders", "1", "--steps", "2", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "edits.json").read_text())
    assert result["settings"]["edits"] == len(tasks.tasks(1))
    index = {(r["kind"], r["method"]): r for r in result["drawings"]}
    perfect, nothing = index["subject", "(the ideal, through the VAE)"], index["subject", "(no edit)"]
    assert perfect["psnr to ideal"] > nothing["psnr to ideal"] and nothing["shown"] == 0
    assert nothing["psnr outside"] == pytest.approx(60, abs=0.2)
    assert {r["word"] for r in result["faders"]} == set(DEGREES)
    assert all(-1 <= r["spearman"] <= 1 and 0 <= r["calm"] <= 1 for r in result["faders"])
    assert {r["words of"] for r in result["maps"]} == {"subject", "color", "place"}
    page = (tmp_path / "edits.md").read_text()
    assert page.strip() in capsys.readouterr().out
    for title in ("Generated pictures", "Drawings", "worth", "several tokens", "Faders", "Attention maps"):
        assert title in page
    assert (tmp_path / "edits.png").stat().st_size > 10_000
    assert (tmp_path / "faders.png").stat().st_size > 10_000
    assert set(IN_PIECES) & {t.word for t in tasks.tasks(1)}


def test_settings_can_be_tried(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edits, "TRIED", edits.TRIED[:2])
    edits.main(["--tune", "time", "--sources", "3", "--steps", "2"])
    printed = capsys.readouterr().out
    assert printed.startswith("time") and printed.count("score") == 2
