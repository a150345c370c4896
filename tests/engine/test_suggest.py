"""Settings that find themselves: by the kind of change, which nobody tells."""

from __future__ import annotations

import numpy as np
import pytest

from p2p_core import PromptToPrompt, Source
from p2p_core.errors import BadInput

CAR = "a red car on a street"


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt.from_pretrained("storybook")


@pytest.fixture(scope="module")
def car(p2p: PromptToPrompt) -> Source:
    return p2p.generate(CAR, seed=1, steps=8, guidance_scale=5)


def test_a_thing_is_swapped_where_it_stands(p2p: PromptToPrompt, car: Source) -> None:
    edit = p2p.suggest(car, "a red boat on a street")
    assert edit.blend is not None
    assert edit.blend.source_words == (2,) and edit.blend.target_words == (2,)
    assert edit.cross_steps.end < 0.5, "its shape may change"
    assert any('"car" is a thing' in note for note in edit.notes)


def test_a_colour_changes_the_thing_that_it_is_said_of(p2p: PromptToPrompt, car: Source) -> None:
    edit = p2p.suggest(car, "a blue car on a street")
    assert edit.blend is not None and edit.blend.source_words == (2,) and edit.blend.target_words == (2,)
    assert edit.cross_steps.end >= 0.5, "the shape stays"
    assert any('"blue" is said of "car"' in note for note in edit.notes)


@pytest.mark.parametrize("prompt", ["a red car on a beach", "a red car in a desert"])
def test_a_place_is_the_whole_picture(p2p: PromptToPrompt, car: Source, prompt: str) -> None:
    edit = p2p.suggest(car, prompt)
    assert edit.blend is None and edit.cross_steps.end >= 0.5


@pytest.mark.parametrize(
    "prompt", [f"{CAR} at night", f"a watercolor of {CAR}", "a red car on a snowy street", f"{CAR}, foggy"]
)
def test_what_is_added_to_the_scene_may_change_all_of_it(
    p2p: PromptToPrompt, car: Source, prompt: str
) -> None:
    assert p2p.suggest(car, prompt).blend is None


def test_a_word_added_to_a_thing_changes_the_thing(p2p: PromptToPrompt, car: Source) -> None:
    edit = p2p.suggest(car, "a red fluffy car on a street")
    assert edit.blend is not None and edit.blend.source_words == (2,) and edit.blend.target_words == (3,)


def test_one_change_of_the_scene_among_others_lifts_the_region(p2p: PromptToPrompt, car: Source) -> None:
    assert p2p.suggest(car, "a blue car on a street at night").blend is None


def test_the_same_prompt_is_the_source(p2p: PromptToPrompt, car: Source) -> None:
    result = p2p.edit(car, p2p.suggest(car, CAR))
    assert np.array_equal(np.asarray(result.image), np.asarray(car.image)) and result.steps_computed == 0


def test_variants_go_from_strict_to_a_hint(p2p: PromptToPrompt, car: Source) -> None:
    edits = p2p.variants(car, "a red boat on a street")
    assert [edit.notes[0] for edit in edits] == ["strict", "balanced", "free", "a hint"]
    holds = [(edit.cross_steps.end, edit.self_steps.end) for edit in edits]
    assert holds == sorted(holds, reverse=True) and len(set(holds)) == 4
    assert edits[1] == p2p.suggest(car, "a red boat on a street")
    near = [np.abs(r.latents - car.latents[-1]).mean() for r in p2p.edit_many(car, edits)]
    assert near[0] < near[-1], "a hint is farther from the source than strict"


def test_reasons_are_no_part_of_the_edit(p2p: PromptToPrompt, car: Source) -> None:
    edit = p2p.suggest(car, "a red boat on a street")
    assert "notes" not in edit.to_json() and edit == edit.replace(notes=())


def test_what_cannot_be_suggested(p2p: PromptToPrompt, car: Source) -> None:
    with pytest.raises(BadInput, match="A prompt is text"):
        p2p.suggest(car, 3)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        p2p.suggest("a red car", "a blue car")  # type: ignore[arg-type]
