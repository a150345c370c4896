"""Figures: sizes, that they show what they are given, and that no global state is touched."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from p2p_core import Edit, PromptToPrompt, Source, figures

GREY = Image.new("RGB", (64, 48), (128, 128, 128))


def test_an_overlay_is_bright_where_the_map_is_high() -> None:
    heat = np.zeros((6, 8), np.float32)
    heat[:, 4:] = 0.01  # scaled by its maximum
    shown = np.asarray(figures.overlay(GREY, heat), np.float32)
    assert shown.shape == (48, 64, 3)
    assert shown[:, 48:].mean() > shown[:, :16].mean() + 40
    assert np.isfinite(np.asarray(figures.overlay(GREY, np.zeros((4, 4))), np.float32)).all()


def test_a_mask_leaves_its_inside_alone() -> None:
    mask = np.zeros((4, 4), np.float32)
    mask[1:3, 1:3] = 1
    shown = np.asarray(figures.mask_overlay(GREY, mask))
    assert (shown[20:30, 24:40] == 128).all() and (shown[:8] != 128).any()


def test_word_maps_and_maps_over_steps(p2p: PromptToPrompt, source: Source) -> None:
    result = p2p.edit(source, Edit("a red castle on a snowy hill at night"))
    titles = [axis.get_title() for axis in figures.word_maps(result).axes if axis.get_title()]
    assert " ".join(titles) == "a red castle on a snowy hill at night"
    one = figures.word_maps(source, ["house"])
    assert isinstance(one, Figure) and [a.get_title() for a in one.axes] == ["house"]
    steps = figures.maps_over_steps(source, "house", columns=4)
    assert [a.get_title() for a in steps.axes] == ["step 1", "step 3", "step 6", "step 8"]


def test_prompts_are_no_tex(eps: PromptToPrompt) -> None:
    from io import BytesIO

    source = eps.generate(r"a $\frac{1}$ ${x} house", steps=2)
    figures.word_maps(source).savefig(BytesIO(), format="png")


def test_no_pyplot() -> None:
    assert "matplotlib.pyplot" not in sys.modules or "gradio" in sys.modules
