"""Recipes in pictures: a saved edit is made again from its file alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from p2p_core import Edit, PromptToPrompt, Source, load_recipe
from p2p_core.errors import BadInput

from .. import tiny
from ..tolerances import assert_close


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


@pytest.mark.parametrize("name", ["edit.jpg", "edit.JPEG", "edit.webp"])
def test_other_pictures_hold_a_recipe_too(
    p2p: PromptToPrompt, source: Source, tmp_path: Path, name: str
) -> None:
    result = p2p.edit(source, Edit("a red ch\u00e2teau \u96ea", weights={"red": -0.5}))
    file = result.save(tmp_path / name)
    with Image.open(file) as image:
        assert image.format == ("WEBP" if name.endswith("webp") else "JPEG")
        pixels = np.asarray(image).ravel(), np.asarray(result.image).ravel()
        assert np.corrcoef(*pixels)[0, 1] > 0.6, "the colours of a noisy picture lie on half its grid"
    assert load_recipe(file) == result.recipe()


@pytest.mark.parametrize("name", ["edit.gif", "edit"])
def test_a_picture_of_another_kind_is_refused(
    p2p: PromptToPrompt, source: Source, tmp_path: Path, name: str
) -> None:
    with pytest.raises(BadInput, match=r"ends in \.png, \.jpg, \.jpeg or \.webp; got 'edit"):
        p2p.edit(source, Edit("a red castle")).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_a_jpeg_has_no_room_for_is_refused(eps: PromptToPrompt, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))
    source = eps.invert(picture, "a red house", steps=2, height=256, width=256)
    result = eps.edit(source, Edit("a red castle"))
    with pytest.raises(BadInput, match=r"room for a recipe of 65,533 bytes.*\.png or \.webp"):
        result.save(tmp_path / "edit.jpg")
    assert not list(tmp_path.iterdir())
    assert load_recipe(result.save(tmp_path / "edit.webp")) == result.recipe()


@pytest.mark.parametrize("sampler", ["ddim", "euler", "euler_ancestral"])
def test_a_source_of_given_latents_is_made_again(eps: PromptToPrompt, sampler: str, tmp_path: Path) -> None:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    source = eps.generate("a red house", latents=latents, sampler=sampler, seed=3, steps=4)
    assert source.seed is None
    file = eps.edit(source, Edit("a red castle")).save(tmp_path / "edit.png")
    again = eps.source_of(load_recipe(file))
    assert_close(again.latents, source.latents)
    assert not again.notes
    broken = load_recipe(file)
    broken.source["latents"] = "no base64!"
    with pytest.raises(BadInput, match="32-bit floats in base64"):
        eps.source_of(broken)
    broken.source["latents"] = "AAAAAA=="
    with pytest.raises(BadInput, match=r"shape \(1, 4, 16, 16\); got \(1,\)"):
        eps.source_of(broken)


def test_a_path_that_was_given_is_in_no_recipe(eps: PromptToPrompt) -> None:
    path = torch.randn(5, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    source = eps.iter_record_path("a red house", path).result
    with pytest.raises(BadInput, match=r"follows a path of latents that was given. Source\.save keeps it"):
        eps.edit(source, Edit("a red castle")).recipe()


def test_a_recipe_of_other_weights_says_so(tmp_path: Path) -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    file = p2p.edit(p2p.generate("a red house", steps=2), Edit("a red castle")).save(tmp_path / "edit.png")
    recipe = load_recipe(file)
    assert p2p.source_of(recipe).notes == ()
    with torch.no_grad():
        p2p.pipe.unet.conv_out.weight.mul_(1.01)
    (note,) = p2p.source_of(recipe).notes
    assert note == "This was made by other weights than the model's here, or in another dtype."


def test_a_recipe_of_another_schedule_says_so(tmp_path: Path) -> None:
    p2p = PromptToPrompt(tiny.pipeline())
    recipe = p2p.edit(p2p.generate("a red house", steps=2), Edit("a red castle")).recipe()
    p2p.pipe.scheduler = type(p2p.pipe.scheduler).from_config(
        p2p.pipe.scheduler.config, beta_schedule="linear", beta_end=0.02
    )
    notes = p2p.source_of(recipe).notes
    assert any("a scheduler whose beta_end is 0.012; here it is 0.02" in note for note in notes)


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
