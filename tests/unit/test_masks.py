"""Regions drawn by hand, and soft edges."""

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

from p2p_core import Blend, Edit, PromptToPrompt, Source, mask_text
from p2p_core.errors import BadBlend
from p2p_core.images.mask import mask_array
from p2p_core.local_blend import region
from p2p_core.plan import BlendStep
from p2p_core.source import BlendSums

from .. import tiny

SOURCE, TARGET = "a red house on a hill", "a red castle on a hill"
EMPTY = BlendSums(source=None, target=None, subtract=None)


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline(), device="cpu")


@pytest.fixture(scope="module")
def source(p2p: PromptToPrompt) -> Source:
    return p2p.generate(SOURCE, seed=3, steps=6, guidance_scale=4.0)


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


def test_a_drawn_region_keeps_the_source_outside(p2p: PromptToPrompt, source: Source) -> None:
    h, w = source.latent_size
    mask = np.zeros((8 * h, 8 * w))
    mask[: 4 * h] = 1
    result = p2p.edit(source, Edit(TARGET, cross_steps=0, self_steps=0, blend=Blend(mask=mask, start=0)))
    assert result.mask is not None and np.array_equal(
        result.mask, np.repeat([[1.0] * w, [0.0] * w], h // 2, 0)
    )
    outside = slice(h // 2, None)
    assert torch.equal(result.latents[:, outside], source.latents[-1, :, outside])
    assert not torch.allclose(result.latents[:, : h // 2], source.latents[-1, :, : h // 2])


def test_all_painted_is_the_edit_and_nothing_painted_the_source(p2p: PromptToPrompt, source: Source) -> None:
    free = Edit(TARGET, cross_steps=0.5, self_steps=0.2)
    everything = p2p.edit(source, free.replace(blend=Blend(mask=np.ones((4, 4)))))
    assert torch.equal(everything.latents, p2p.edit(source, free).latents)
    nothing = p2p.edit(source, free.replace(blend=Blend(mask=np.zeros((4, 4)), start=0)))
    assert torch.equal(nothing.latents, source.latents[-1])


def test_a_mask_starts_when_the_blend_does(p2p: PromptToPrompt, source: Source) -> None:
    """Before its start the edit is the one without a blend, so those steps are not computed again."""
    free = Edit(TARGET, cross_steps=0.5, self_steps=0.2)
    p2p.forget_edits()
    p2p.edit(source, free)
    half = Blend(mask=np.eye(16), start=0.5)
    assert p2p.plan(SOURCE, free.replace(blend=half), steps=6).steps[2].blend.mask is None
    blended = p2p.edit(source, free.replace(blend=half))
    other = p2p.edit(source, free.replace(blend=Blend(mask=1 - np.eye(16), start=0.5)))
    assert blended.steps_computed == 6 and other.steps_computed == 3
    assert not torch.equal(blended.latents, other.latents)


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


def test_a_soft_edge_mixes_the_latents(p2p: PromptToPrompt, source: Source) -> None:
    edit = Edit(TARGET, cross_steps=0, self_steps=0)
    half = np.full((16, 16), 1.0)
    half[:, 8:] = 0
    start = 5 / 6  # the last step only, so that the mixture can be told by hand
    result = p2p.edit(source, edit.replace(blend=Blend(mask=half, soft=0.2, start=start)))
    free = p2p.edit(source, edit)
    m = torch.tensor(result.mask)
    assert ((m > 0.01) & (m < 0.99)).any()
    by_hand = m * free.latents + (1 - m) * source.latents[-1]
    torch.testing.assert_close(result.latents, by_hand, atol=1e-5, rtol=1e-5)


def test_streaming_many_can_stop_and_go_on(p2p: PromptToPrompt, source: Source) -> None:
    edits = [Edit(TARGET, cross_steps=f, self_steps=0) for f in (0.0, 0.5, 1.0)]
    whole = p2p.edit_many(source, edits)
    p2p.forget_edits()
    run, seen = p2p.stream_many(source, edits), []
    for state in run:
        seen.append(state.index)
        if state.index == 4:  # the whole level has been computed as one batch
            break
    run.close()
    assert seen == sorted(seen)
    rest = p2p.edit_many(source, edits)
    assert [r.steps_computed for r in rest] == [2, 2, 2]
    for a, b in zip(whole, rest, strict=True):
        torch.testing.assert_close(a.latents, b.latents, atol=1e-4, rtol=1e-4)


def test_the_groups_of_layers_are_what_attention_takes(p2p: PromptToPrompt, source: Source) -> None:
    groups = p2p.map_layers(source)
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names)) == sum(site.kind == "cross" for site in p2p.model.sites)
    for title, sites in groups.items():
        found = source.attention("house", sites=sites)
        assert title.endswith("{} x {}".format(*found.shape)) and 0 < found.max() <= 1
