"""Masks as text; the region of a local blend from masks and maps, and its soft edge."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from p2p_core import Blend, Edit, mask_text
from p2p_core.errors import BadBlend
from p2p_core.images.mask import mask_array
from p2p_core.local_blend import BlendSums, region
from p2p_core.step_plan import BlendStep

TARGET = "a red castle on a hill"
EMPTY = BlendSums(source=None, target=None, subtract=None)


def step(**changes: object) -> BlendStep:
    none: dict = {"source_tokens": (), "target_tokens": (), "subtract_tokens": ()}
    return BlendStep(**{**none, "threshold": 0.3, "subtract_threshold": None, **changes})


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(0, 1, width=32)
    )
)
def test_a_mask_survives_as_text(mask: np.ndarray) -> None:
    text = mask_text(mask)
    assert np.abs(mask_array(text) - mask).max() <= 0.5 / 255 + 1e-6
    edit = Edit(TARGET, blend=Blend(mask=text, soft=0.1))
    assert Edit.from_json(edit.to_json()) == edit
    assert Blend(mask=mask) == Blend(mask=text)


def png(size: tuple[int, int]) -> str:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "mask",
    [
        "", "no base64!", base64.b64encode(b"no picture").decode(), png((3000, 2)), png((64, 64))[:40],
        "A" * 500_000, np.zeros((2, 2, 3)), np.full((4, 4), 2.0), np.full((4, 4), np.nan),
        np.zeros((0, 4)), [["a"]], {}, 5,
    ],
    ids=lambda mask: str(mask)[:40],
)  # fmt: skip
def test_what_is_no_mask_is_told(mask: object) -> None:
    with pytest.raises(BadBlend, match=r"[Mm]ask"):
        Blend(mask=mask)


@pytest.mark.parametrize("soft", [-0.1, 1.5, "wide", None, float("nan")])
def test_softness_is_a_fraction(soft: object) -> None:
    with pytest.raises(BadBlend, match="soft"):
        Blend(source_words=("house",), soft=soft)


def test_a_blend_needs_words_or_a_mask() -> None:
    with pytest.raises(BadBlend, match="or a mask"):
        Blend(subtract_words=("hill",))


def test_painted_and_words_are_one_region_less_what_is_subtracted() -> None:
    left, top = torch.zeros(16, 16), torch.zeros(16, 16)
    left[:, :4] = 1
    top[:4] = 1
    drawn = np.zeros((16, 16))
    drawn[12:, 12:] = 1
    sums = BlendSums(source=left, target=None, subtract=top)
    found = region(
        sums,
        step(source_tokens=(1,), subtract_tokens=(2,), mask=mask_text(drawn), subtract_threshold=0.3),
        (16, 16),
    )
    expected = torch.zeros(16, 16)
    expected[4:, :5] = 1  # the 3 x 3 maximum widens by one
    expected[12:, 12:] = 1
    assert torch.equal(found, expected)


def test_a_half_painted_cell_is_half_in() -> None:
    drawn = np.zeros((32, 32))
    drawn[:, :3] = 1  # 16 x 16 latents: one cell and a half
    found = region(EMPTY, step(mask=mask_text(drawn)), (16, 16))
    assert found[:, :3].tolist() == [pytest.approx([1, 0.5, 0], abs=0.01)] * 16


@pytest.mark.parametrize("soft", [0.05, 0.2])
def test_a_soft_edge_rises_over_its_width(soft: float) -> None:
    drawn = np.zeros((64, 64))
    drawn[:, 32:] = 1
    found = region(EMPTY, step(mask=mask_text(drawn), soft=soft), (64, 64))[32]
    assert found[0] < 0.02 and found[-1] > 0.98 and (found.diff() >= -1e-6).all()
    assert float(found[31] + found[32]) == pytest.approx(1, abs=1e-4), "half way where the edge was"
    rise = int((found > 0.841).int().argmax()) - int((found > 0.159).int().argmax())
    assert rise == pytest.approx(64 * soft, abs=1.01)
