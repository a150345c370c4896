"""The page: where everything stands. No behaviour; `wiring` connects it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .components.board import script
from .components.desk import Desk
from .components.region import Region
from .components.timeline import Timeline
from .components.widgets import Chips, Examples, Guide, History, Line, Look, Status, line
from .controls import first_boards
from .examples import WALK, YOURS, Example
from .messages import listed
from .tabs.attention import USUAL, VIEWS
from .tabs.explore import Explore
from .tabs.your_picture import FITS, HINT, METHODS, Picture

MAPS = ("source", "edit")
TAGLINE = "turn words like faders; the picture keeps its layout"
# A handle between two pictures for the keyboard and screen readers; `stage.js` ties it to Gradio's.
SPLIT = '<input type="range" min="0" max="100" value="50" aria-label="line between {} and {}" hidden>'
# The brush for those who have no mouse; `components/brush.js` moves it.
BRUSH = (
    '<div class="keybrush" tabindex="0" role="application" aria-roledescription="brush" '
    'aria-label="Brush by keys. Arrow keys move it, with Shift a little. Space puts it down and lifts it.">'
    "<b>by keys</b> arrows move, Space paints<i></i><span class=unseen role=status></span></div>"
)
SIDES = '<span class="side before"></span><span class="side after"></span>'


@dataclass
class Page:
    """The page's components by the names the handlers use."""

    components: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.components[name]

    def of(self, *names: str) -> list[Any]:
        return [self.components[name] for name in names]


def card(name: str) -> Any:
    return gr.Column(elem_id=name, elem_classes="card", min_width=0)


def build_page(examples: tuple[Example, ...], guidance: float, status: dict, hello: str) -> Page:
    """Lay out the page inside the current `gr.Blocks`."""
    c: dict[str, Any] = {}
    first = examples[0]
    boards = first_boards(first)
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>prompt<i>→</i>prompt</h1><p>{TAGLINE}</p>", elem_id="brand", apply_default_css=False)
        c["status"] = Status(status, elem_id="status")
        gr.HTML(
            '<button type="button" id="guide-button" title="three edits, and the keys (?)">guide</button>'
            '<button type="button" id="api" title="call this app from Python or curl">API</button>'
            '<button type="button" id="theme" title="light or dark" aria-label="light or dark">◐</button>',
            js_on_load="\n".join(script(name) for name in ("links", "help")),
            elem_id="links",
            apply_default_css=False,
        )
    with gr.Row(elem_id="main"):
        with card("source"):
            with gr.Tabs(elem_id="source-tabs") as c["source_tabs"]:
                with gr.Tab("From words", id="words", elem_id="words-tab"):
                    c["source_prompt"] = gr.Textbox(
                        first.source, label="Source prompt", show_label=False, container=False, lines=2,
                        max_lines=3, placeholder="describe the picture to start from",
                        elem_id="source-prompt",
                    )  # fmt: skip
                with gr.Tab("Your picture", id="yours", elem_id="yours-tab") as c["yours_tab"]:
                    with gr.Row(elem_id="yours-pictures"):
                        c["yours_picture"] = Picture(
                            type="filepath", sources=["upload", "clipboard", "webcam"], show_label=False,
                            label="your picture", height=132, elem_id="yours-picture", buttons=[],
                            placeholder="Drop a picture here", min_width=0,
                        )  # fmt: skip
                        c["yours_compare"] = gr.ImageSlider(
                            visible=False, interactive=False, show_label=False, container=False, buttons=[],
                            label="the picture / how it comes back", type="filepath", elem_id="yours-compare",
                            max_height=132, min_width=0,
                        )  # fmt: skip
                        gr.HTML(
                            SPLIT.format("your picture", "how it comes back"), elem_id="yours-split",
                            apply_default_css=False,
                        )  # fmt: skip
                    c["yours_prompt"] = gr.Textbox(
                        "", label="What it shows", show_label=False, container=False, lines=2, max_lines=3,
                        placeholder="say what it shows, all that you want to edit", elem_id="yours-prompt",
                    )  # fmt: skip
                    with gr.Row(elem_id="yours-how"):
                        c["yours_method"] = gr.Dropdown(
                            [*METHODS], value="direct", label="method", elem_id="yours-method", min_width=40
                        )
                        c["yours_fit"] = gr.Dropdown(
                            [*FITS], value="crop", label="fit", elem_id="yours-fit", min_width=40
                        )
                    with gr.Row(elem_id="yours-crop", visible=False) as c["yours_crop"]:
                        for name, label in (("x", "left \u2013 right"), ("y", "top \u2013 bottom")):
                            c[f"yours_{name}"] = gr.Slider(
                                0, 1, 0.5, step=0.05, label=f"crop, {label}", elem_id=f"yours-{name}",
                                min_width=40, buttons=[],
                            )  # fmt: skip
                    c["yours_note"] = gr.Markdown(HINT, elem_id="yours-note")
            with gr.Row(elem_id="settings"):
                with gr.Row(elem_id="seed-row", elem_classes="words-only"):
                    c["seed"] = gr.Number(first.seed, label="seed", precision=0, elem_id="seed", min_width=40)
                    c["dice"] = gr.Button("\u2684", elem_id="dice", min_width=0)
                c["steps"] = gr.Number(first.steps, label="steps", precision=0, elem_id="steps", min_width=40)
                c["guidance"] = gr.Number(guidance, label="guidance", elem_id="guidance", min_width=40)
            with gr.Accordion("negative prompt", open=False, elem_id="negative-fold"):
                c["negative"] = gr.Textbox(
                    "", label="Negative prompt", show_label=False, container=False, lines=1, max_lines=3,
                    placeholder="what the picture should not show", elem_id="negative",
                )  # fmt: skip
            c["generate"] = gr.Button(
                "Generate", variant="primary", elem_id="generate", elem_classes="words-only"
            )
            c["invert"] = gr.Button("Invert", variant="primary", elem_id="invert", elem_classes="yours-only")
            gr.HTML("<h2>Try</h2>", apply_default_css=False, elem_id="try")
            c["examples"] = Examples(
                {"items": listed(examples), "clicked": None}, elem_id="examples", elem_classes="words-only"
            )
            c["yours_examples"] = Examples(
                {"items": listed(YOURS), "clicked": None},
                elem_id="yours-examples",
                elem_classes="yours-only",
            )
        with card("edit"):
            with gr.Column(elem_id="edit-words", min_width=0):
                gr.HTML("<h2>Edit prompt</h2>", apply_default_css=False)
                c["prompt"] = gr.Textbox(
                    first.prompt, label="Edit prompt", show_label=False, container=False, lines=1,
                    max_lines=4, placeholder="say what should be different", elem_id="edit-prompt",
                )  # fmt: skip
                c["apply"] = gr.Button("Apply", variant="primary", elem_id="apply", min_width=0)
                c["chips"] = Chips(boards["chips"], elem_id="chips")
                with gr.Column(elem_id="line-row", min_width=0):
                    c["line"] = Line(line("idle", hello), elem_id="line")
                    c["download"] = gr.DownloadButton(
                        "save PNG", interactive=False, elem_id="download", size="sm", min_width=0
                    )
            with gr.Column(elem_id="painting", visible=False, min_width=0) as c["painting"]:
                c["painter"] = gr.ImageEditor(
                    type="pil", image_mode="RGBA", sources=(), transforms=(), show_label=False,
                    label="paint the region", layers=False, canvas_size=(512, 512), buttons=[],
                    elem_id="painter",
                    brush=gr.Brush(default_size=40, colors=["#e6522988"], color_mode="fixed"),
                    eraser=gr.Eraser(default_size=40),
                )  # fmt: skip
                with gr.Row(elem_id="painting-bar"):
                    gr.HTML(BRUSH, js_on_load=script("brush"), apply_default_css=False, elem_id="keybrush")
                    c["use_paint"] = gr.Button("Use it", variant="primary", elem_id="use-paint", min_width=0)
                    c["wipe_paint"] = gr.Button("Wipe", elem_id="wipe-paint", min_width=0)
                    c["close_paint"] = gr.Button("Cancel", elem_id="close-paint", min_width=0)
            with gr.Column(elem_id="stage", min_width=0):
                c["picture"] = gr.ImageSlider(
                    format="jpeg", type="filepath", interactive=False, show_label=False,
                    label="before / after", container=False, buttons=[], elem_id="picture", max_height=2000,
                )  # fmt: skip
                gr.HTML(
                    SIDES + SPLIT.format("before", "after"), js_on_load=script("stage"), elem_id="split",
                    apply_default_css=False,
                )  # fmt: skip
        with card("side"):
            c["look"] = Look({}, elem_id="look")
            gr.HTML("<h2>History</h2>", apply_default_css=False, elem_id="history-title")
            c["history"] = History({}, elem_id="history")
        with card("desk-card"):
            c["desk"] = Desk(boards["desk"], elem_id="desk")
        with card("hold"):
            c["timeline"] = Timeline({"steps": first.steps}, elem_id="timeline")
            c["region"] = Region(boards["region"], elem_id="region")
    with gr.Tabs(elem_id="more"):
        with gr.Tab("Explore", elem_id="explore-tab", id="explore") as c["explore_tab"]:
            c["explore"] = Explore({}, elem_id="explore")
            with gr.Row(elem_id="sheet-row", elem_classes="files"):
                for kind, label in (("png", "save as PNG"), ("gif", "as GIF"), ("webp", "as WebP")):
                    c[f"sheet_{kind}"] = gr.DownloadButton(
                        label, interactive=False, elem_id=f"sheet-{kind}", size="sm", min_width=0
                    )
        with gr.Tab("Attention", elem_id="attention-tab", id="attention") as c["attention_tab"]:
            with gr.Row(elem_id="maps-bar"):
                c["maps_view"] = gr.Radio(
                    VIEWS, value=VIEWS[0], show_label=False, label="maps", elem_id="maps-view"
                )
                c["maps_layers"] = gr.Dropdown(
                    [USUAL],
                    value=USUAL,
                    label="layers",
                    show_label=False,
                    container=False,
                    elem_id="maps-layers",
                )
                c["draw"] = gr.Button("Draw", elem_id="draw", min_width=0)
                c["maps_note"] = gr.Markdown("Where every word looks, in the source and in the edit.")
            with gr.Row(elem_id="maps-row"):
                for name in MAPS:
                    with gr.Column(min_width=0):
                        c[f"maps_{name}"] = gr.Plot(
                            visible=False, label=f"{name}: where words look", elem_id=f"maps-{name}"
                        )
                        c[f"maps_{name}_png"] = gr.DownloadButton(
                            f"save the {name}\u2019s maps",
                            interactive=False,
                            elem_classes="file",
                            size="sm",
                            min_width=0,
                        )
        with gr.Tab("Take away", elem_id="take-tab", id="take") as c["take_tab"]:
            with gr.Row(elem_id="take-row"):
                with gr.Column(min_width=0):
                    gr.HTML(
                        "<h2>Bring back</h2><p class=hint>A PNG saved here holds its whole recipe. Drop it, "
                        "or a recipe as JSON, and everything is as it was.</p>",
                        apply_default_css=False,
                    )
                    c["bring"] = gr.File(
                        label="drop a PNG or JSON", show_label=False, file_types=[".png", ".json"],
                        type="filepath", height=150, elem_id="bring",
                    )  # fmt: skip
                with gr.Column(min_width=0):
                    gr.HTML("<h2>Recipe</h2>", apply_default_css=False)
                    c["recipe_json"] = gr.Code(
                        "", language="json", label="recipe", show_label=False, lines=8, max_lines=14,
                        interactive=True, elem_id="recipe-json",
                    )  # fmt: skip
                    c["paste"] = gr.Button(
                        "Run this recipe", elem_id="paste", min_width=0, elem_classes="file"
                    )
                with gr.Column(min_width=0):
                    gr.HTML("<h2>The same in Python</h2>", apply_default_css=False)
                    c["recipe_python"] = gr.Code(
                        "", language="python", label="python", show_label=False, lines=8, max_lines=14,
                        interactive=False, elem_id="recipe-python",
                    )  # fmt: skip
    c["guide"] = Guide({"steps": walk()}, elem_id="guide")
    c["clock"] = gr.Number(0, visible=False)
    c["keep"] = gr.Textbox("", visible=False)
    return Page(c)


def walk() -> list[dict[str, str]]:
    return [{"title": step.title, "text": step.text, "after": step.after} for step in WALK]
