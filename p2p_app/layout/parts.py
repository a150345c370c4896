"""Parts that several cards are made of."""

from __future__ import annotations

from typing import Any

import gradio as gr

Parts = dict[str, Any]  # components by the names of their fields


def card(name: str) -> gr.Column:
    return gr.Column(elem_id=name, elem_classes="card", min_width=0)


def title(text: str, name: str | None = None) -> None:
    gr.HTML(f"<h2>{text}</h2>", apply_default_css=False, elem_id=name)


def prompt_box(text: str, name: str, label: str, placeholder: str, lines: int, max_lines: int) -> gr.Textbox:
    return gr.Textbox(
        text,
        label=label,
        show_label=False,
        container=False,
        lines=lines,
        max_lines=max_lines,
        placeholder=placeholder,
        elem_id=name,
    )


def download(label: str, name: str | None = None, classes: str | None = None) -> gr.DownloadButton:
    return gr.DownloadButton(
        label, interactive=False, elem_id=name, elem_classes=classes, size="sm", min_width=0
    )
