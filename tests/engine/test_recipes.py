"""Recipes in pictures: a saved edit is made again from its file alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_core import Edit, PromptToPrompt, Source, load_recipe
from p2p_core.errors import BadInput

from .. import tiny


def test_a_saved_picture_holds_its_recipe(p2p: PromptToPrompt, source: Source, tmp_path: Path) -> None:
    edit = Edit(
        "a red castle on a snowy hill at night", weights={"snowy": 1.5, 8: -0.5}, self_steps=(0.1, 0.6)
    )
    result = p2p.edit(source, edit)
    path = result.save(tmp_path / "edit.png")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), np.asarray(result.image))
    recipe = load_recipe(path)
    again = p2p.edit(p2p.generate(**recipe.source), recipe.edit)
    assert np.array_equal(np.asarray(again.image), np.asarray(result.image))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert load_recipe(tmp_path / "recipe.json") == load_recipe(recipe.to_dict()) == recipe


def test_a_chain_of_edits_is_one_recipe(eps: PromptToPrompt, tmp_path: Path) -> None:
    source = eps.generate("a red house", seed=1, steps=4)
    first = eps.edit(source, Edit("a red castle"))
    second = eps.edit(first.as_source(), Edit("a big red castle"))
    recipe = load_recipe(second.save(tmp_path / "two.png"))
    assert [e.prompt for e in recipe.edits] == ["a red castle", "a big red castle"]
    result = eps.edit(eps.generate(**recipe.source), recipe.edits[0])
    again = eps.edit(result.as_source(), recipe.edits[1])
    assert np.array_equal(np.asarray(again.image), np.asarray(second.image))


@pytest.mark.parametrize("name", ["edit.jpg", "edit.webp", "edit"])
def test_a_recipe_is_not_written_as_png_under_another_name(
    p2p: PromptToPrompt, source: Source, tmp_path: Path, name: str
) -> None:
    with pytest.raises(BadInput, match=r"ends in \.png; got 'edit"):
        p2p.edit(source, Edit("a red castle")).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", [2, "1", None])
def test_recipes_of_other_versions_are_refused(p2p: PromptToPrompt, source: Source, version: object) -> None:
    recipe = p2p.edit(source, Edit("a red castle")).recipe()
    with pytest.raises(BadInput, match=r"version .*; expected 1"):
        load_recipe({**recipe.to_dict(), "p2p": version})


def test_a_recipe_behind_the_pixels_is_read(p2p: PromptToPrompt, source: Source, tmp_path: Path) -> None:
    """ImageMagick and others write texts there."""
    file = p2p.edit(source, Edit("a red castle")).save(tmp_path / "edit.png")
    data, chunks, at = file.read_bytes(), [], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at:end])
        at = end
    texts = [chunk for chunk in chunks if chunk[4:8] == b"iTXt"]
    others = [chunk for chunk in chunks if chunk not in texts]
    assert texts
    (moved := tmp_path / "moved.png").write_bytes(data[:8] + b"".join([*others[:-1], *texts, others[-1]]))
    assert load_recipe(moved) == load_recipe(file)


def test_where_a_model_lies_is_not_in_its_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "my model"
    tiny.pipeline().save_pretrained(folder)
    p2p = PromptToPrompt.from_pretrained(folder, device="cpu")
    result = p2p.edit(p2p.generate("a red house", steps=2), Edit("a red castle"))
    file = result.save(tmp_path / "edit.png")
    assert load_recipe(file).model == "my model" and b"private" not in file.read_bytes()
    named = PromptToPrompt(tiny.pipeline(), device="cpu", model_name="org/name")
    assert named.edit(named.generate("a house", steps=1), Edit("a castle")).recipe().model == "org/name"
