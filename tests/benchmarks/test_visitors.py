"""Drawings by another hand, and the benchmark that inverts and edits them."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import visitor_drawings, visitors
from storybook.scenes import ATTRIBUTES

DRAWINGS = list(visitor_drawings.visitor_drawings())


def test_forty_drawings_of_things_the_model_has_words_for():
    assert len(DRAWINGS) == 40 and {d.hand for d in DRAWINGS} == set(visitor_drawings.HANDS)
    assert all(d.image.size == (256, 256) for d in DRAWINGS)
    for drawing in DRAWINGS:
        for name in ("subject", "color", "place"):
            assert getattr(drawing, name) in ATTRIBUTES[name]
    pictures = [np.asarray(d.image, float) for d in DRAWINGS]
    apart = [np.abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(apart) > 0.5, "no two alike"
    again = next(visitor_drawings.visitor_drawings())
    assert np.array_equal(again.image, DRAWINGS[0].image)


def test_they_share_no_code_with_the_worlds_own_drawing():
    tree = ast.parse(Path(visitor_drawings.__file__).read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [m for m in modules if m and m.startswith("storybook")]


@pytest.mark.parametrize("number", range(0, 40, 7))
def test_each_has_an_edit_of_its_color_its_time_and_its_weather(number):
    drawing = DRAWINGS[number]
    edits = list(visitors.edits_of(drawing, number))
    assert [kind for kind, _, _ in edits] == ["color", "time", "weather"]
    (_, color, recolor), (_, time, later), (_, weather, wetter) = edits
    assert color != drawing.color and color in recolor.prompt and drawing.color not in recolor.prompt
    assert time in later.prompt and weather in wetter.prompt and recolor.blend is not None
    assert all(drawing.subject in edit.prompt for _, _, edit in edits)


def test_the_page_counts_by_edit_and_by_hand():
    row = {"subject": "car", "hand": "flat", "word": "blue", "shown": True, "kept": True, "lost": []}
    rows = [row | {"edit": "color"}, row | {"edit": "time", "kept": False}, row | {"edit": "weather"}]
    settings = {"drawings": 1, "steps": 4, "guidance": 5.0}
    text = visitors.page({"rows": rows, "psnr": 27.34, "settings": settings})
    assert "| time | 1 | 100 % | 0 % | 0 % |" in text and "| all | 3 | 100 % | 67 % | 67 % |" in text
    assert "| flat | 3 |" in text and "27.3 dB" in text and "--steps 4 --guidance 5" in text
    same = Image.new("RGB", (8, 8), (10, 10, 10))
    assert visitors.psnr(same, Image.new("RGB", (8, 8), (20, 10, 10))) == pytest.approx(32.9, abs=0.1)
