"""Sources in files, pickled, copied; how long their records stay; progress, logging, stopping; notebooks."""

from __future__ import annotations

import copy
import gc
import io
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import p2p_core
from p2p_core import Blend, Edit, PromptToPrompt, Source, StepState, errors

from .. import tiny
from ..conftest import HOUSE
from ..tolerances import assert_close

CASTLE = Edit(
    "a red castle on a snowy hill at night", weights={"snowy": 2}, blend=Blend(target_words="castle")
)
BIG = Edit("a red castle on a big hill at night", cross_steps=0.5)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
MAKERS: dict[str, Callable[[PromptToPrompt], Source]] = {
    "generated": lambda p2p: p2p.generate(HOUSE, seed=1, steps=4, negative_prompt="a cat", guidance_scale=4),
    "two steps back": lambda p2p: p2p.generate(HOUSE, seed=1, steps=4, sampler="dpmpp_2m"),
    "stochastic": lambda p2p: p2p.generate(HOUSE, seed=1, steps=4, sampler="euler_ancestral"),
    "inverted": lambda p2p: p2p.invert(PICTURE, HOUSE, method="null_text", steps=3),
    "an edit": lambda p2p: p2p.edit(p2p.generate(HOUSE, seed=2, steps=4), CASTLE).as_source(),
    "an edit of an edit": lambda p2p: p2p.edit(
        p2p.edit(p2p.generate(HOUSE, seed=2, steps=4), CASTLE).as_source(), BIG
    ).as_source(),
}


@pytest.fixture(scope="module")
def other() -> PromptToPrompt:
    """What another process would have: the same weights."""
    return PromptToPrompt(tiny.pipeline())


def check_the_same(source: Source, expected: Source) -> None:
    """It holds the same, and its edits, maps and recipe are the same, up to rounding where its steps are
    recorded again, one row at a time."""
    assert torch.equal(source.latents, expected.latents) and source.to_dict() == expected.to_dict()
    assert source.image.tobytes() == expected.image.tobytes() and source.sampler == expected.sampler
    assert np.allclose(source.attention("hill"), expected.attention("hill"), atol=1e-5)
    for prompt in (HOUSE, "a red castle on a big hill at night, foggy"):
        one, two = (s.engine.edit(s, Edit(prompt, weights={"hill": 1.5})) for s in (source, expected))  # type: ignore[attr-defined]
        assert_close(one.latents, two.latents)
        assert one.recipe().to_dict() == two.recipe().to_dict()


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_saved_source_is_the_same_elsewhere(
    kind: str, records: bool, eps: PromptToPrompt, other: PromptToPrompt, tmp_path: Path
) -> None:
    source = MAKERS[kind](eps)
    source.attention("hill")  # an edit's records are made when they are needed
    path = source.save(tmp_path / "source.safetensors", records=records)
    assert sorted(tmp_path.iterdir()) == [path]
    loaded = other.load_source(path)
    assert loaded.where == (source.where if records else "latents only")
    check_the_same(loaded, source)
    assert (loaded.inversion is None) == (source.inversion is None)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_pickled_source_is_the_same_elsewhere(
    kind: str, eps: PromptToPrompt, other: PromptToPrompt
) -> None:
    source = MAKERS[kind](eps)
    found = pickle.loads(pickle.dumps(source))
    assert torch.equal(found.latents, source.latents) and found.prompt == source.prompt
    for use in (lambda: found.attention("hill"), lambda: found.where, lambda: found.nbytes):
        with pytest.raises(errors.P2PError, match=r"unpickled .*load_source"):
            use()
    with pytest.raises(errors.BadInput, match="load_source"):
        other.edit(found, CASTLE)
    check_the_same(other.load_source(found), source)


def test_a_result_is_pickled_and_copied(eps: PromptToPrompt) -> None:
    result = eps.edit(eps.generate(HOUSE, seed=1, steps=3), CASTLE)
    for found in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert torch.equal(found.latents, result.latents) and np.array_equal(found.mask, result.mask)
        assert found.recipe().to_dict() == result.recipe().to_dict() and found.plan.notes == result.plan.notes


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", ["generated", "an edit"])
def test_a_copy_of_a_source_is_of_the_same_engine(
    kind: str, copied: Callable[[Source], Source], eps: PromptToPrompt
) -> None:
    source = MAKERS[kind](eps)
    found = copied(source)
    assert found.engine is eps and found.key == source.key
    check_the_same(found, source)
    if copied is copy.deepcopy:
        assert found.latents is not source.latents and found.image is not source.image


def test_sources_of_other_models_are_refused(eps: PromptToPrompt, v: PromptToPrompt, tmp_path: Path) -> None:
    source = eps.generate(HOUSE, steps=2)
    path = source.save(tmp_path / "a.safetensors")
    weights = PromptToPrompt(tiny.pipeline(seed=99))
    for taken in (path, source, pickle.loads(pickle.dumps(source))):
        with pytest.raises(errors.BadInput, match="other weights, or in another dtype"):
            weights.load_source(taken)
    half = PromptToPrompt(tiny.pipeline(), dtype="bf16")
    with pytest.raises(errors.BadInput, match=r"other weights, or in another dtype.*bfloat16"):
        half.load_source(path)


@pytest.mark.parametrize("what", ["text", "cut", "foreign", "no json", "class", "version", "missing"])
def test_files_that_hold_no_source(what: str, eps: PromptToPrompt, tmp_path: Path) -> None:
    path = eps.generate(HOUSE, steps=2).save(tmp_path / "a.safetensors")
    tensors = load_file(path)
    if what == "text":
        path.write_text("hello")
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    elif what == "missing":
        path.unlink()
    else:
        data: Any = {
            "version": 2,
            "model": {"model_name": "a", "fingerprint": eps.fingerprint},
            "records": None,
        }
        data["source"] = {"class": ["os", "system", {"command": "true"}]}
        if what == "version":
            data["version"] = 9
        text = {"foreign": {}, "no json": {"p2p_source": "{"}}.get(what, {"p2p_source": json.dumps(data)})
        save_file(tensors, path, text)
    expected = (
        "version 9" if what == "version" else "can't be read" if what == "missing" else "holds no source"
    )
    with pytest.raises(errors.BadInput, match=expected):
        eps.load_source(path)


def test_places_that_cant_be_written(eps: PromptToPrompt, tmp_path: Path) -> None:
    source = eps.generate(HOUSE, steps=2)
    with pytest.raises(errors.BadInput, match=r"kept in a \.safetensors file; got 'a\.png'"):
        source.save(tmp_path / "a.png")
    with pytest.raises(errors.BadInput, match="can't be written"):
        source.save(tmp_path / "none" / "a.safetensors")
    with pytest.raises(errors.BadInput, match="path of a saved source"):
        eps.load_source(5)  # type: ignore[arg-type]


# --- how long records stay ---------------------------------------------------------------------------------


def test_records_go_with_the_last_source_of_their_key() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    source = p2p.generate(HOUSE, steps=3)
    key, held = source.key, p2p.cache.nbytes
    result = p2p.edit(source, CASTLE)
    twin = copy.deepcopy(source)
    del source
    gc.collect()
    assert p2p.cache.size(key) and p2p.cache.nbytes == held, "the result and the copy hold it"
    del result, twin
    gc.collect()
    assert p2p.cache.nbytes == 0
    again = p2p.generate(HOUSE, steps=3)
    assert again.key == key and p2p.edit(again, CASTLE).steps_computed == 3, "its edits' states went too"


def test_an_edit_as_a_source_holds_what_it_is_an_edit_of() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    derived = p2p.edit(p2p.generate(HOUSE, steps=3), CASTLE).as_source()
    gc.collect()
    assert derived.origin and p2p.cache.size(derived.origin[0].key)
    del derived
    gc.collect()
    assert p2p.cache.nbytes == 0


def test_a_with_statement_frees_and_the_source_is_still_good() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    with p2p.generate(HOUSE, steps=3) as source:
        expected = p2p.edit(source, CASTLE)
        assert source.where != "latents only"
    assert source.where == "latents only" and p2p.cache.nbytes == 0
    again = p2p.edit(source, CASTLE)
    assert again.steps_computed == 3
    assert_close(again.latents, expected.latents)


# --- progress, logging, stopping ----------------------------------------------------------------------------


def test_a_progress_bar_as_diffusers_has_it() -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    for run in (
        lambda: p2p.generate(HOUSE, steps=3),
        lambda: p2p.edit(p2p.generate(HOUSE, steps=3), CASTLE),
        lambda: p2p.invert(PICTURE, HOUSE, steps=3),
    ):
        said = io.StringIO()
        p2p.set_progress_bar_config(file=said, mininterval=0)
        run()
        assert "100%" in said.getvalue() and ("3/3" in said.getvalue() or "6/6" in said.getvalue())
    said = io.StringIO()
    p2p.pipe.set_progress_bar_config(file=said, disable=True)
    p2p.generate(HOUSE, steps=3)
    assert said.getvalue() == ""


def test_the_logger_hears_of_runs(eps: PromptToPrompt, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="p2p_core"):
        eps.edit(eps.generate(HOUSE, steps=2), CASTLE)
    said = [record.getMessage() for record in caplog.records if record.name == "p2p_core"]
    assert "step 2 of 2" in said
    assert [line.split()[0] for line in said if not line.startswith("step")] == ["Source", "Result"]


def test_on_step_can_stop_a_run(eps: PromptToPrompt) -> None:
    seen: list[int] = []

    def stop_at(n: int) -> Callable[[StepState], bool]:
        def on_step(state: StepState) -> bool:
            seen.append(state.index)
            return state.index != n

        return on_step

    source = eps.generate(HOUSE, seed=77, steps=4, on_step=stop_at(9))
    for run in (
        lambda: eps.generate(HOUSE, seed=78, steps=4, on_step=stop_at(2)),
        lambda: eps.edit(source, CASTLE, on_step=stop_at(2)),
        lambda: eps.edit_many(source, [BIG], on_step=stop_at(2)),
        lambda: eps.invert(PICTURE, HOUSE, steps=2, on_step=stop_at(2)),
    ):
        seen.clear()
        with pytest.raises(errors.P2PError, match="on_step stopped this run after step 2 of 4"):
            run()
        assert seen == [1, 2]
    assert eps.edit(source, CASTLE).steps_computed == 2, "what was computed until then is reused"


# --- notebooks ---------------------------------------------------------------------------------------------


def test_a_notebook_shows_sources_and_results(eps: PromptToPrompt) -> None:
    source = eps.generate(HOUSE, steps=2)
    for shown in (source, eps.edit(source, CASTLE)):
        png = shown._repr_png_()
        assert png is not None
        assert Image.open(io.BytesIO(png)).tobytes() == shown.image.tobytes()


def test_figures_is_a_public_name() -> None:
    assert p2p_core.figures.__name__ == "p2p_core.figures" and "figures" in dir(p2p_core)
