"""What people take away: strips, sheets, loops and cards."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from p2p_app import sheets
from p2p_core import Edit, PromptToPrompt

GREY = Image.new("RGB", (64, 48), (128, 128, 128))
BLUE = Image.new("RGB", (64, 48), (20, 40, 200))


def test_a_strip_of_pictures() -> None:
    assert sheets.strip([GREY, GREY], ["one", "a caption that is far too long for it"]).size == (134, 72)
    with pytest.raises(ValueError, match="at least one"):
        sheets.strip([])


def test_a_sheet_has_rows_and_a_title() -> None:
    plain = sheets.sheet([GREY] * 3, ["a", "b", "c"], columns=2)
    assert plain.size == (134, 2 * 72 + 6)
    assert sheets.sheet([GREY] * 3, ["a", "b", "c"], columns=2, title="snowy").height == plain.height + 30
    with pytest.raises(ValueError, match="got 1 and 0"):
        sheets.sheet([GREY], ["a"], columns=0)


def test_a_loop_goes_there_and_back_under_a_moving_knob() -> None:
    frames, times = sheets.loop([GREY, BLUE], ["0", "2"], between=3)
    assert len(frames) == len(times) == 8 and frames[0].size == (64, 48 + 58)
    shown = [np.asarray(frame)[:48].mean((0, 1)) for frame in frames]
    assert np.allclose(shown[0], 128) and np.allclose(shown[4], (20, 40, 200))
    blue = [color[2] for color in shown]
    assert blue[:5] == sorted(blue[:5]) and blue[4:] == sorted(blue[4:], reverse=True)
    bands = [frame.crop((0, 48, *frame.size)) for frame in (frames[0], frames[2], frames[4])]
    assert all(ImageChops.difference(one, two).getbbox() for one, two in pairwise(bands))


def test_a_loop_of_one_picture_stands_still() -> None:
    frames, times = sheets.loop([GREY], ["1"])
    assert len(frames) == 1 and times[0] > 0
    with pytest.raises(ValueError, match="at least one"):
        sheets.loop([], [])


def test_a_card_marks_the_words_that_changed(eps: PromptToPrompt, tmp_path: Path) -> None:
    source = eps.generate("a red house on a hill", steps=2)
    path = sheets.write_card(eps.edit(source, Edit("a red castle on a hill")), tmp_path / "card.jpg")
    with Image.open(path) as card:
        assert card.format == "JPEG" and card.width > 2 * card.height * 0.6
        same = sheets.write_card(eps.edit(source, Edit("a red house on a hill")), tmp_path / "same.jpg")
        accent = np.array([226, 82, 41])
        marked = [
            (np.abs(np.asarray(Image.open(file), int)[540:] - accent).max(-1) < 40).sum()
            for file in (path, same)
        ]
    assert marked[0] > 100 and marked[1] == 0


def test_long_prompts_have_several_lines() -> None:
    words = [(word, False) for word in "a house on a hill in a field".split()]
    short, long = (sheets.card(GREY, BLUE, some, words[:1]) for some in (words[:1], words))
    assert long.height > short.height and long.width == short.width
