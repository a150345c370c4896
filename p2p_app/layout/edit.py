"""The edit card: the edit prompt, the line about the last run, and the picture before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..components.board import script
from ..components.chips import Chips
from ..components.compare import Compare
from ..components.line import Line, line
from ..components.painter import Painter
from ..tabs.paint import CANVAS_PIXELS
from .parts import Parts, card, download, prompt_box, title

UNDO = (
    '<button type="button" id="undo" aria-label="undo" title="the picture before (Ctrl+Z)">\u21b6</button>'
    '<button type="button" id="redo" aria-label="redo" title="forth again (Ctrl+Shift+Z)">\u21b7</button>'
    '<p id="behind" role="status"></p>'
)
# The brush for those who have no mouse; `components/brush.js` moves it.
BRUSH = (
    '<div class="keybrush" tabindex="0" role="application" aria-roledescription="brush" '
    'aria-label="Brush by keys. Arrow keys move it, with Shift a little. Space puts it down and lifts it.">'
    "<b>by keys</b> arrows move, Space paints<i></i><span class=unseen role=status></span></div>"
)
BRUSH_PIXELS = 40


@dataclass(frozen=True, kw_only=True)
class EditCard:
    prompt: gr.Textbox
    apply: gr.Button
    chips: Chips
    line: Line
    download: gr.DownloadButton
    card: gr.DownloadButton
    painting: gr.Column
    painter: Painter
    use_paint: gr.Button
    wipe_paint: gr.Button
    close_paint: gr.Button
    picture: Compare


def edit_card(first_prompt: str, chips: dict[str, Any], hello: str) -> Parts:
    """The fields of `EditCard`."""
    with card("edit"):
        return {**edit_words(first_prompt, chips, hello), **painting_area(), "picture": stage()}


def edit_words(first_prompt: str, chips: dict[str, Any], hello: str) -> Parts:
    with gr.Column(elem_id="edit-words", min_width=0):
        with gr.Row(elem_id="edit-bar"):
            title("Edit prompt")
            apply = gr.Button("Apply", elem_id="apply", min_width=0)
        prompt = prompt_box(first_prompt, "edit-prompt", "Edit prompt", "say what should be different", 1, 4)
        board = Chips(chips, elem_id="chips")
        with gr.Column(elem_id="line-row", min_width=0):
            status = Line(line("idle", hello), elem_id="line")
            save, both = download("save PNG", "download"), download("card", "card")
    words = {"prompt": prompt, "apply": apply, "chips": board, "line": status}
    return {**words, "download": save, "card": both}


def painting_area() -> Parts:
    """The editor that takes the picture's place while a region is painted."""
    with gr.Column(elem_id="painting", visible=False, min_width=0) as painting:
        painter = Painter(
            type="filepath",
            image_mode="RGBA",
            sources=(),
            transforms=(),
            show_label=False,
            label="paint the region",
            layers=False,
            canvas_size=(CANVAS_PIXELS, CANVAS_PIXELS),
            buttons=[],
            elem_id="painter",
            brush=gr.Brush(default_size=BRUSH_PIXELS, colors=["#e6522988"], color_mode="fixed"),
            eraser=gr.Eraser(default_size=BRUSH_PIXELS),
        )
        with gr.Row(elem_id="painting-bar"):
            gr.HTML(BRUSH, js_on_load=script("brush"), apply_default_css=False, elem_id="keybrush")
            use = gr.Button("Use it", variant="primary", elem_id="use-paint", min_width=0)
            wipe = gr.Button("Wipe", elem_id="wipe-paint", min_width=0)
            close = gr.Button("Cancel", elem_id="close-paint", min_width=0)
    return {
        "painting": painting,
        "painter": painter,
        "use_paint": use,
        "wipe_paint": wipe,
        "close_paint": close,
    }


def stage() -> Compare:
    with gr.Column(elem_id="stage", min_width=0):
        gr.HTML(UNDO, js_on_load=script("stage"), apply_default_css=False, elem_id="on-stage")
        return Compare(sides="before and after", elem_id="picture")
