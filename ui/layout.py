"""The page: where everything stands. No behaviour; `wiring` connects it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .board import script
from .controls import first_boards
from .desk import Desk
from .examples import Example
from .region import Region
from .telling import listed
from .timeline import Timeline
from .widgets import Chips, Examples, History, Line, Look, Status, line

MAPS = {"source": "source", "edit": "edit", "steps": "step by step"}
TAGLINE = "turn words like faders; the picture keeps its layout"


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
            '<button type="button" id="api" title="call this app from Python or curl">API</button>'
            '<button type="button" id="theme" title="light or dark" aria-label="light or dark">◐</button>',
            js_on_load=script("links"),
            elem_id="links",
            apply_default_css=False,
        )
    with gr.Row(elem_id="main"):
        with card("source"):
            gr.HTML("<h2>Source</h2>", apply_default_css=False)
            c["source_prompt"] = gr.Textbox(
                first.source, label="Source prompt", show_label=False, container=False, lines=2,
                max_lines=3, placeholder="describe the picture to start from", elem_id="source-prompt",
            )  # fmt: skip
            with gr.Row(elem_id="settings"):
                with gr.Row(elem_id="seed-row"):
                    c["seed"] = gr.Number(first.seed, label="seed", precision=0, elem_id="seed", min_width=40)
                    c["dice"] = gr.Button("⚄", elem_id="dice", min_width=0)
                c["steps"] = gr.Number(first.steps, label="steps", precision=0, elem_id="steps", min_width=40)
                c["guidance"] = gr.Number(guidance, label="guidance", elem_id="guidance", min_width=40)
            with gr.Accordion("negative prompt", open=False, elem_id="negative-fold"):
                c["negative"] = gr.Textbox(
                    "", label="Negative prompt", show_label=False, container=False, lines=1, max_lines=3,
                    placeholder="what the picture should not show", elem_id="negative",
                )  # fmt: skip
            c["generate"] = gr.Button("Generate", variant="primary", elem_id="generate")
            gr.HTML("<h2>Try</h2>", apply_default_css=False, elem_id="try")
            c["examples"] = Examples({"items": listed(examples), "clicked": None}, elem_id="examples")
        with card("edit"):
            gr.HTML("<h2>Edit prompt</h2>", apply_default_css=False)
            with gr.Row(elem_id="edit-row"):
                c["prompt"] = gr.Textbox(
                    first.prompt, label="Edit prompt", show_label=False, container=False, lines=1,
                    max_lines=3, placeholder="say what should be different", elem_id="edit-prompt", scale=1,
                )  # fmt: skip
                c["apply"] = gr.Button("Apply", variant="primary", elem_id="apply", min_width=0)
            c["chips"] = Chips(boards["chips"], elem_id="chips")
            with gr.Column(elem_id="stage", min_width=0):
                c["picture"] = gr.ImageSlider(
                    format="jpeg", type="filepath", interactive=False, show_label=False,
                    label="before / after", container=False, buttons=[], elem_id="picture", max_height=2000,
                )  # fmt: skip
            with gr.Row(elem_id="line-row"):
                c["line"] = Line(line("idle", hello), elem_id="line")
                c["download"] = gr.DownloadButton(
                    "save PNG", interactive=False, elem_id="download", size="sm", min_width=0
                )
        with card("side"):
            c["look"] = Look({}, elem_id="look")
            gr.HTML("<h2>History</h2>", apply_default_css=False, elem_id="history-title")
            c["history"] = History({}, elem_id="history")
        with card("desk-card"):
            c["desk"] = Desk(boards["desk"], elem_id="desk")
        with card("hold"):
            c["timeline"] = Timeline({"steps": first.steps}, elem_id="timeline")
            c["region"] = Region(boards["region"], elem_id="region")
    with gr.Accordion("Attention maps of every word", open=False, elem_id="maps") as c["maps"]:
        with gr.Row(elem_id="maps-bar"):
            c["maps_note"] = gr.Markdown("")
            c["draw"] = gr.Button("Draw again", elem_id="draw", min_width=0)
        for name in MAPS:
            c[f"maps_{name}"] = gr.Plot(visible=False, label=MAPS[name], elem_id=f"maps-{name}")
    c["clock"] = gr.Number(0, visible=False)
    return Page(c)
