"""The source card: a picture from words, or a picture of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from ..components.compare import Compare
from ..components.examples import Examples
from ..components.picture import Picture
from ..examples import YOURS, Example
from ..tabs.your_picture import FITS, HINT, METHODS, ONE_ROW
from ..views import examples_value
from .parts import Parts, card, prompt_box, title

HEIGHT = 132  # of the picture


@dataclass(frozen=True, kw_only=True)
class SourceCard:
    source_tabs: gr.Tabs
    source_prompt: gr.Textbox
    yours_tab: gr.Tab
    yours_picture: Picture
    yours_compare: Compare
    yours_prompt: gr.Textbox
    yours_method: gr.Dropdown
    yours_fit: gr.Dropdown
    yours_crop: gr.Row
    yours_x: gr.Slider
    yours_y: gr.Slider
    yours_note: gr.Markdown
    seed: gr.Number
    dice: gr.Button
    steps: gr.Number
    guidance: gr.Number
    negative: gr.Textbox
    generate: gr.Button
    invert: gr.Button
    examples: Examples
    yours_examples: Examples


def source_card(examples: Sequence[Example], guidance: float, rows: int) -> Parts:
    """The fields of `SourceCard`."""
    first = examples[0]
    with card("source"):
        with gr.Tabs(elem_id="source-tabs") as tabs:
            with gr.Tab("From words", id="words", elem_id="words-tab"):
                source_prompt = prompt_box(
                    first.source, "source-prompt", "Source prompt", "describe the picture to start from", 2, 3
                )
            with gr.Tab("Your picture", id="yours", elem_id="yours-tab") as yours_tab:
                yours = your_picture(rows)
        settings = source_settings(first, guidance, rows)
        generate = gr.Button("Generate", variant="primary", elem_id="generate", elem_classes="words-only")
        invert = gr.Button("Invert", variant="primary", elem_id="invert", elem_classes="yours-only")
        title("Try", "try")
        words = Examples(examples_value(examples), elem_id="examples", elem_classes="words-only")
        pictures = Examples(examples_value(YOURS), elem_id="yours-examples", elem_classes="yours-only")
    return {
        "source_tabs": tabs,
        "source_prompt": source_prompt,
        "yours_tab": yours_tab,
        **yours,
        **settings,
        "generate": generate,
        "invert": invert,
        "examples": words,
        "yours_examples": pictures,
    }


def your_picture(rows: int) -> Parts:
    """The inside of the tab: the picture, its description, how it is inverted."""
    with gr.Row(elem_id="yours-pictures"):
        picture = Picture(
            type="filepath",
            sources=["upload", "clipboard", "webcam"],
            show_label=False,
            label="your picture",
            height=HEIGHT,
            elem_id="yours-picture",
            buttons=[],
            placeholder="Drop a picture here",
            min_width=0,
        )
        sides = "your picture and how it comes back"
        compare = Compare(sides=sides, visible=False, elem_id="yours-compare")
    prompt = prompt_box(
        "", "yours-prompt", "What it shows", "say what it shows, all that you want to edit", 2, 3
    )
    with gr.Row(elem_id="yours-how"):
        known = [name for name in METHODS if rows > 1 or name in ONE_ROW]
        method = gr.Dropdown(known, value="direct", label="method", elem_id="yours-method", min_width=40)
        fit = gr.Dropdown([*FITS], value="crop", label="fit", elem_id="yours-fit", min_width=40)
    with gr.Row(elem_id="yours-crop", visible=False) as crop:
        x, y = (
            gr.Slider(
                0,
                1,
                0.5,
                step=0.05,
                label=f"crop, {label}",
                elem_id=f"yours-{name}",
                min_width=40,
                buttons=[],
            )
            for name, label in (("x", "left \u2013 right"), ("y", "top \u2013 bottom"))
        )
    return {
        "yours_picture": picture,
        "yours_compare": compare,
        "yours_prompt": prompt,
        "yours_method": method,
        "yours_fit": fit,
        "yours_crop": crop,
        "yours_x": x,
        "yours_y": y,
        "yours_note": gr.Markdown(HINT, elem_id="yours-note"),
    }


def source_settings(first: Example, guidance: float, rows: int) -> Parts:
    """Seed, steps, guidance and the negative prompt."""
    with gr.Row(elem_id="settings"):
        with gr.Row(elem_id="seed-row", elem_classes="words-only"):
            seed = gr.Number(first.seed, label="seed", precision=0, elem_id="seed", min_width=40)
            dice = gr.Button("\u2684", elem_id="dice", min_width=0)
        steps = gr.Number(first.steps, label="steps", precision=0, elem_id="steps", min_width=40)
        scale = gr.Number(guidance, label="guidance", elem_id="guidance", min_width=40)
    with gr.Accordion("negative prompt", open=False, elem_id="negative-fold", visible=rows > 1):
        negative = prompt_box("", "negative", "Negative prompt", "what the picture should not show", 1, 3)
    return {"seed": seed, "dice": dice, "steps": steps, "guidance": scale, "negative": negative}
