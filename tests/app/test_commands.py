"""The commands `p2p generate`, `edit` and `replay` beside the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_app import cli
from p2p_core import Blend, Edit, PromptToPrompt, load_recipe

from .. import tiny
from ..conftest import HOUSE

CASTLE = "a red castle on a snowy hill at night"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(path)
    return str(path)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_generate_edit_edit_again_and_replay(model: str, eps: PromptToPrompt, tmp_path: Path) -> None:
    house, castle, big, again = (tmp_path / f"{name}.png" for name in ("house", "castle", "big", "again"))
    settings = ["--model", model, "--steps", "3", "--guidance-scale", "4"]
    cli.main(["generate", HOUSE, "--seed", "7", "-o", str(house), *settings])
    source = eps.generate(HOUSE, seed=7, steps=3, guidance_scale=4)
    assert np.array_equal(pixels(house), np.asarray(source.image))

    edit = ["--cross-steps", "0.6", "--self-steps", "0.2", "--weight", "snowy=1.5", "--blend", "castle"]
    cli.main(["edit", str(house), CASTLE, "-o", str(castle), "--model", model, *edit])
    wanted = Edit(
        CASTLE, cross_steps=0.6, self_steps=0.2, weights={"snowy": 1.5}, blend=Blend(target_words=["castle"])
    )
    result = eps.edit(source, wanted)
    assert np.array_equal(pixels(castle), np.asarray(result.image))
    assert load_recipe(castle).edits == (wanted,), "without the edit that changes nothing"

    cli.main(["edit", str(castle), "a red castle on a big hill at night", "-o", str(big), "--model", model])
    second = eps.edit(result.as_source(), Edit("a red castle on a big hill at night"))
    assert np.array_equal(pixels(big), np.asarray(second.image))
    cli.main(["replay", str(big), "-o", str(again), "--model", model])
    assert np.array_equal(pixels(again), pixels(big))
    assert load_recipe(again).to_dict() == load_recipe(big).to_dict()


def test_edit_a_real_picture(model: str, eps: PromptToPrompt, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(photo)
    cli.main(["edit", str(photo), CASTLE, "--shows", HOUSE, "--steps", "2", "-o", str(out), "--model", model])
    source = eps.invert(photo, HOUSE, steps=2, guidance_scale=5.0)
    expected = np.asarray(eps.edit(source, Edit(CASTLE)).image).astype(int)
    assert np.abs(pixels(out).astype(int) - expected).max() <= 1, "another process may round otherwise"


def test_mistakes_are_sentences(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, out = tmp_path / "plain.png", str(tmp_path / "out.png")
    Image.new("RGB", (64, 64)).save(plain)
    for command, sentence in (
        (["edit", str(plain), CASTLE, "-o", out], "p2p edit: plain.png holds no recipe"),
        (["replay", str(tmp_path / "none.png"), "-o", out], "none.png can't be read"),
        (["generate", "a cat", "-o", out, "--model", "no/such/folder"], "There is no folder"),
        (["generate", "a cat", "-o", out, "--model", model, "--seed", "-1"], "A seed is a whole number"),
        (["edit", str(plain), CASTLE, "-o", out, "--weight", "snowy"], "A weight is WORD=NUMBER"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(command)
        assert sentence in str(ended.value.code)
    with pytest.raises(SystemExit):
        cli.main(["generate", "a cat", "-o", out, "--colour", "red"])
    assert "unrecognized arguments: --colour red" in capsys.readouterr().err


def test_a_recipe_of_another_model_says_which(model: str, tmp_path: Path) -> None:
    house = tmp_path / "house.png"
    cli.main(["generate", HOUSE, "--steps", "1", "-o", str(house), "--model", model])
    with pytest.raises(SystemExit, match=r"made by the model .*tiny: name it"):
        cli.main(["replay", str(house), "-o", str(tmp_path / "again.png")])
