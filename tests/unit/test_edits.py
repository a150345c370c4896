"""`Edit`, `Blend`, `Window`: validation where they are made, JSON both ways; files without a recipe."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2p_core import Blend, Edit, P2PError, Window, load_recipe
from p2p_core.errors import BadBlend, BadEdit, BadPrompt, BadRecipe, BadWeight, BadWindow

fractions = st.floats(0, 1, allow_nan=False)
pairs = st.tuples(fractions, fractions).map(sorted).map(tuple)
window = st.one_of(fractions, pairs)
names = st.one_of(st.text(min_size=1, max_size=8), st.integers(0, 9))
blends = st.builds(
    Blend,
    source_words=st.lists(names, min_size=1, max_size=2).map(tuple),
    target_words=st.lists(names, max_size=2).map(tuple),
    threshold=fractions,
    start=fractions,
)
edits = st.builds(
    Edit,
    st.text(max_size=30),
    cross_steps=st.one_of(window, st.dictionaries(st.text(min_size=1, max_size=6), window, max_size=3)),
    self_steps=window,
    self_pixels=st.sampled_from([None, 0, 256, math.inf]),
    kind=st.sampled_from(["auto", "swap", "refine"]),
    weight_steps=window,
    weights=st.dictionaries(names, st.floats(-10, 10), max_size=3),
    blend=st.one_of(st.none(), blends),
)


@settings(deadline=None, max_examples=150)
@given(edits)
def test_json_both_ways(edit: Edit) -> None:
    text = edit.to_json()
    json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    again = Edit.from_json(text)
    assert again.to_json() == text and Edit.from_json(json.loads(text)).to_json() == text
    assert pickle.loads(pickle.dumps(edit)).to_json() == text
    assert hash(again) == hash(edit)


def test_the_callers_dicts_are_copied_and_closed() -> None:
    weights, windows = {"snowy": 1.5}, {"default_": 0.5}
    edit = Edit("a snowy hill", weights=weights, cross_steps=windows)
    weights["snowy"] = 9.0
    windows["snowy"] = 0.1
    assert edit.weights == {"snowy": 1.5} and list(edit.cross_steps) == ["default_"]
    with pytest.raises(TypeError):
        edit.weights["snowy"] = 2.0  # type: ignore[index]
    assert edit.replace(kind="refine").weights == edit.weights


@pytest.mark.parametrize(
    "bad",
    [1.5, -0.1, (0.8, 0.2), (0, 1, 2), (0.5,), "0.8", None, float("nan"), (0, float("inf")), [None, 1], True],
)
@pytest.mark.parametrize("which", ["cross_steps", "self_steps", "weight_steps"])
def test_windows_that_are_none(which: str, bad: Any) -> None:
    with pytest.raises(BadWindow) as error:
        Edit("a", **{which: bad})
    assert "0 <= start <= end <= 1" in str(error.value)


def test_windows_take_whole_numbers_and_lists() -> None:
    edit = Edit("a", cross_steps=1, self_steps=0, weight_steps=[0, 1])
    assert edit.cross_steps == Window(0, 1) and edit.self_steps == Window(0, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "2", None, True, [1]])
def test_weights_that_are_none(bad: Any) -> None:
    with pytest.raises(BadWeight, match=r"snowy.*finite number"):
        Edit("a snowy hill", weights={"snowy": bad})
    with pytest.raises(BadWeight):
        Edit("a snowy hill", weights=[("snowy", 1.0)])  # type: ignore[arg-type]
    with pytest.raises(BadWeight):
        Edit("a snowy hill", weights={None: 1.0})  # type: ignore[dict-item]


@pytest.mark.parametrize("bad", [None, 5, b"a", ["a"]])
def test_prompts_that_are_not_text(bad: Any) -> None:
    with pytest.raises(BadPrompt, match="expected a str"):
        Edit(bad)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"source_words": ()},
        {"source_words": ("a",), "threshold": 1.5},
        {"source_words": ("a",), "threshold": float("nan")},
        {"source_words": ("a",), "start": -0.1},
        {"source_words": ("a",), "subtract_threshold": "x"},
        {"source_words": (None,)},
        {"target_words": 5.5},
    ],
)
def test_blends_that_are_none(asked: dict[str, Any]) -> None:
    with pytest.raises(BadBlend):
        Blend(**asked)


def test_a_blend_takes_one_word_for_a_list() -> None:
    assert Blend(source_words="house").source_words == ("house",)  # type: ignore[arg-type]
    assert Edit("a", blend={"source_words": ["a"]}).blend == Blend(source_words=("a",))  # type: ignore[arg-type]
    with pytest.raises(BadBlend):
        Edit("a", blend="house")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "5",
        "null",
        "{}",
        '{"prompt": "a", "cross_replace_steps": 0.8}',
        '{"prompt": "a", "kind": "replace"}',
        '{"prompt": 5}',
        '{"prompt": "a", "weights": {"a": "x"}}',
        '{"prompt": "a", "weights": {"a": NaN}}',
        '{"prompt": "a", "blend": {"words": ["a"]}}',
        '{"prompt": "a", "blend": []}',
        '{"prompt": "a", "self_pixels": -1}',
        "[" * 100_000,
    ],
)
def test_json_that_is_no_edit(text: str) -> None:
    with pytest.raises(P2PError) as error:
        Edit.from_json(text)
    assert len(str(error.value)) < 400, "a sentence, not a dump"


def test_unknown_fields_are_named() -> None:
    with pytest.raises(BadEdit, match=r"cross_replace_steps.*expected prompt, cross_steps"):
        Edit.from_json('{"prompt": "a", "cross_replace_steps": 0.8}')
    with pytest.raises(BadEdit, match="no 'tau'"):
        Edit("a").replace(tau=1)


# --- recipes ------------------------------------------------------------------------------------------


def test_files_without_a_recipe(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (4, 4)).save(plain)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    text = tmp_path / "text.json"
    text.write_text('{"edits": []}')
    for path in (plain, broken, text, tmp_path / "missing.png", tmp_path):
        with pytest.raises(BadRecipe):
            load_recipe(path)
    with pytest.raises(BadRecipe, match="source has"):
        load_recipe({"source": {"prompt": "a", "rm": 1}, "edits": [{"prompt": "a"}]})


def test_numpys_numbers_are_numbers() -> None:
    edit = Edit("a cat", weights={np.int64(1): np.float32(1.5)}, cross_steps=np.float64(0.5))
    assert edit.to_json() == Edit("a cat", weights={1: 1.5}, cross_steps=0.5).to_json()
