"""The tabs below the cards: explore, attention, take away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import gradio as gr

from ..components.explore import Explore
from ..tabs.attention import DEFAULT_LAYERS, VIEWS
from .parts import Parts, download, title

BRING = (
    "<h2>Bring back</h2><p class=hint>A PNG saved here holds its whole recipe. Drop it, "
    "or a recipe as JSON, and everything is as it was.</p>"
)


@dataclass(frozen=True, kw_only=True)
class TabsBelow:
    explore_tab: gr.Tab
    explore: Explore
    sheet_png: gr.DownloadButton
    sheet_gif: gr.DownloadButton
    sheet_webp: gr.DownloadButton
    attention_tab: gr.Tab
    maps_view: gr.Radio
    maps_layers: gr.Dropdown
    draw: gr.Button
    maps_note: gr.Markdown
    maps_source: gr.Plot
    maps_source_png: gr.DownloadButton
    maps_edit: gr.Plot
    maps_edit_png: gr.DownloadButton
    take_tab: gr.Tab
    bring: gr.File
    recipe_json: gr.Code
    paste: gr.Button
    recipe_python: gr.Code


def tabs_below() -> Parts:
    """The fields of `TabsBelow`."""
    with gr.Tabs(elem_id="more"):
        return {**explore_tab(), **attention_tab(), **take_tab()}


def explore_tab() -> Parts:
    with gr.Tab("Explore", elem_id="explore-tab", id="explore") as tab:
        explore = Explore(elem_id="explore")
        with gr.Row(elem_id="sheet-row", elem_classes="files"):
            png = download("save as PNG", "sheet-png")
            gif = download("as GIF", "sheet-gif")
            webp = download("as WebP", "sheet-webp")
    return {
        "explore_tab": tab,
        "explore": explore,
        "sheet_png": png,
        "sheet_gif": gif,
        "sheet_webp": webp,
    }


def attention_tab() -> Parts:
    with gr.Tab("Attention", elem_id="attention-tab", id="attention") as tab:
        with gr.Row(elem_id="maps-bar"):
            view = gr.Radio(VIEWS, value=VIEWS[0], show_label=False, label="maps", elem_id="maps-view")
            layers = gr.Dropdown(
                [DEFAULT_LAYERS],
                value=DEFAULT_LAYERS,
                label="layers",
                show_label=False,
                container=False,
                elem_id="maps-layers",
            )
            draw = gr.Button("Draw", elem_id="draw", min_width=0)
            note = gr.Markdown("Where every word looks, in the source and in the edit.")
        with gr.Row(elem_id="maps-row"):
            source, source_png = figure("source")
            edit, edit_png = figure("edit")
    return {
        "attention_tab": tab,
        "maps_view": view,
        "maps_layers": layers,
        "draw": draw,
        "maps_note": note,
        "maps_source": source,
        "maps_source_png": source_png,
        "maps_edit": edit,
        "maps_edit_png": edit_png,
    }


def figure(side: str) -> tuple[gr.Plot, gr.DownloadButton]:
    with gr.Column(min_width=0):
        plot = gr.Plot(visible=False, label=f"{side}: where words look", elem_id=f"maps-{side}")
        return plot, download(f"save the {side}\u2019s maps", classes="file")


def take_tab() -> Parts:
    with gr.Tab("Take away", elem_id="take-tab", id="take") as tab, gr.Row(elem_id="take-row"):
        with gr.Column(min_width=0):
            gr.HTML(BRING, apply_default_css=False)
            bring = gr.File(
                label="drop a PNG or JSON",
                show_label=False,
                file_types=[".png", ".jpg", ".jpeg", ".webp", ".json"],
                type="filepath",
                height=150,
                elem_id="bring",
            )
        with gr.Column(min_width=0):
            title("Recipe")
            recipe = code("json", "recipe", interactive=True)
            paste = gr.Button("Run this recipe", elem_id="paste", min_width=0, elem_classes="file")
        with gr.Column(min_width=0):
            title("The same in Python")
            python = code("python", "python", interactive=False)
    return {
        "take_tab": tab,
        "bring": bring,
        "recipe_json": recipe,
        "paste": paste,
        "recipe_python": python,
    }


def code(language: Literal["json", "python"], label: str, *, interactive: bool) -> gr.Code:
    return gr.Code(
        "",
        language=language,
        label=label,
        show_label=False,
        lines=8,
        max_lines=14,
        interactive=interactive,
        elem_id=f"recipe-{language}",
    )
