"""What engineers reach for first: diffusers' names, an open file, a Result as a source, equal edits."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
import torch
from PIL import Image

from p2p_core import Blend, Edit, PromptToPrompt, Source
from p2p_core.errors import BadInput, BadPicture, UnknownWord
from p2p_core.names import OURS

from .. import tiny

NUMBERED = Edit(
    "a red castle",
    weights={2: 1.5},
    cross_steps={"default_": 0.5, 1: 0.2},
    blend=Blend(source_words=(2,), subtract_words=(0,)),
)


@pytest.mark.parametrize("name", OURS)
def test_a_name_of_diffusers_is_refused_with_ours(eps: PromptToPrompt, name: str) -> None:
    calls: list[Any] = [eps.generate, eps.iter_generate]
    if name != "image":
        calls += [lambda *a, **k: eps.invert("a.png", *a, **k), PromptToPrompt.from_pretrained]
    for call in calls:
        with pytest.raises(BadInput, match=f"takes no {name}; expected "):
            call("a house", **{name: 3})


def test_a_name_of_nobody_is_pythons_error(eps: PromptToPrompt) -> None:
    with pytest.raises(TypeError, match="colour"):
        eps.generate("a house", colour="red")  # type: ignore[call-arg]


def test_a_result_is_no_source_yet(p2p: PromptToPrompt, source: Source) -> None:
    result = p2p.edit(source, Edit("a red castle"))
    with pytest.raises(BadInput, match=r"got a Result, which as_source\(\) makes one"):
        p2p.edit(result, Edit("a red boat"))  # type: ignore[arg-type]


def test_the_window_of_all_words_has_its_name(eps: PromptToPrompt) -> None:
    with pytest.raises(UnknownWord, match=r"'default' is not in the prompt.* is named \"default_\""):
        eps.plan("a house", Edit("a castle", cross_steps={"default": 0.5}))
    assert eps.plan("a default house", Edit("a default house", cross_steps={"default": 0.5})).steps


def test_a_picture_may_be_an_open_file(eps: PromptToPrompt) -> None:
    Image.new("RGB", (64, 64), "red").save(file := io.BytesIO(), "PNG")
    file.seek(0)
    opened = eps.invert(file, "a red house", steps=2)
    known = eps.invert(file.getvalue(), "a red house", steps=2)
    assert torch.equal(opened.latents, known.latents)
    with pytest.raises(BadPicture, match="open for bytes; got str from it"):
        eps.invert(io.StringIO("a"), "a red house", steps=2)
    file.close()
    with pytest.raises(BadPicture, match="The open file can't be read"):
        eps.invert(file, "a red house", steps=2)


def test_words_by_number_are_the_same_after_json_and_pickle() -> None:
    for again in (Edit.from_json(NUMBERED.to_json()), pickle.loads(pickle.dumps(NUMBERED))):
        assert again == NUMBERED and hash(again) == hash(NUMBERED)
        assert again.blend == NUMBERED.blend and hash(again.blend) == hash(NUMBERED.blend)
    assert NUMBERED != NUMBERED.replace(weights={2: 1.25})
    assert NUMBERED != NUMBERED.to_json() and NUMBERED.blend != "house"


def test_states_can_be_compared() -> None:
    source = PromptToPrompt(tiny.pipeline()).generate("a red house", steps=2)
    state = source.state(1)
    assert state == state and state != source.state(1)
