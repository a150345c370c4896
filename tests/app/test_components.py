"""The app's own components: how their scripts are put together, and what they send to the page."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from p2p_app.components.board import FOLDER, scripts
from p2p_app.components.compare import Compare, Pair
from p2p_app.components.timeline import Timeline

NAMES = ("source", "edit")
TEXTS = ("source: a house", "edit: a castle")
BOARDS = sorted(
    {file.stem for file in FOLDER.glob("*.js")} - {"common", "brush", "help", "links", "retry", "stage"}
)


def test_every_component_lies_beside_its_script() -> None:
    assert all((FOLDER / f"{name}.py").is_file() for name in BOARDS) and len(BOARDS) > 10


@pytest.mark.parametrize("name", BOARDS)
def test_a_boards_script_is_the_body_of_one_function(name: str) -> None:
    """Scripts are modules for linters; Gradio calls them as a function, where nothing is imported."""
    lines = scripts("common", name).splitlines()
    assert not [line for line in lines if line.startswith(("import", "export"))]
    assert any(line.startswith("function make(") for line in lines), "what is exported is still there"


def test_pictures_go_to_the_page_as_files(tmp_path: Path) -> None:
    component = Compare(sides="before and after", render=False)
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    files = (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    value = component.postprocess(Pair(*files, NAMES, TEXTS))
    assert (value["before"]["path"], value["after"]["path"]) == files
    assert value["before"]["meta"] == {"_type": "gradio.FileData"}, "so that Gradio serves it"
    assert value["names"] == NAMES and value["texts"] == TEXTS


def test_a_preview_is_saved_once_as_jpeg() -> None:
    component = Compare(sides="before and after", render=False)
    preview = Image.effect_noise((64, 64), 60).convert("RGB")
    pair = Pair(preview, preview, NAMES, TEXTS)
    value = component.postprocess(pair)
    assert pair.is_preview and value["before"] == value["after"]
    with Image.open(value["after"]["path"]) as image:
        assert image.format == "JPEG" and image.size == (64, 64)


def test_no_pictures_are_nothing() -> None:
    for nothing in (None, {}, "x", 5):
        assert Compare(sides="a and b", render=False).postprocess(nothing) == {}


def test_no_stubs_are_written_beside_components() -> None:
    """Gradio writes a `.pyi` for every new component; type checkers would read it instead of the code."""
    with gr.Blocks():
        Timeline()
    assert not list(FOLDER.parent.rglob("*.pyi"))


def test_a_component_of_the_page_can_be_made_again() -> None:
    """Gradio makes a new one with each update, from what the first was made of."""
    component = Compare(sides="before and after", elem_id="picture", render=False)
    again = Compare(**component.constructor_args)
    assert again.html_template == component.html_template and again.elem_id == "picture"
