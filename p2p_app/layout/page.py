"""The page as a whole: the header, the cards, the tabs below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from ..components.board import script
from ..components.guide import Guide
from ..components.status import Status
from ..controls import first_boards
from ..examples import WALK, Example
from .edit import EditCard, edit_card
from .hold import HoldCards, desk_card, hold_card, side_card
from .source import SourceCard, source_card
from .tabs import TabsBelow, tabs_below

TAGLINE = "turn words like faders; the picture keeps its layout"
BUTTONS = (
    '<button type="button" id="guide-button" title="three edits, and the keys (?)">guide</button>'
    '<button type="button" id="api" title="call this app from Python or curl">API</button>'
    '<button type="button" id="theme" title="light or dark" aria-label="light or dark">◐</button>'
)


@dataclass(frozen=True, kw_only=True)
class Page(SourceCard, EditCard, HoldCards, TabsBelow):
    """The page's components by the names the handlers use."""

    status: Status
    guide: Guide
    clock: gr.Number
    storage: gr.Textbox

    def of(self, names: Iterable[str]) -> list[Block]:
        return [getattr(self, name) for name in names]

    def by_component(self, update: Mapping[str, Any]) -> dict[Block, Any]:
        """An update, keyed by component instead of by name."""
        return {getattr(self, name): value for name, value in update.items()}


def build_page(
    examples: Sequence[Example], guidance: float, status: dict[str, str], hello: str, rows: int = 2
) -> Page:
    """Lay out the page inside the current `gr.Blocks`. hello: what the line says first. rows: of the UNet in
    a step; with one there is nothing that needs an unconditional row."""
    first = examples[0]
    boards = first_boards(first)
    parts: dict[str, Any] = {"status": header(status)}
    steps = [{"title": step.title, "text": step.text, "after": step.after} for step in WALK]
    with gr.Row(elem_id="main"):
        parts["guide"] = Guide({"steps": steps}, elem_id="guide")
        cards = (
            source_card(examples, guidance, rows),
            edit_card(first.prompt, boards["chips"], hello),
            side_card(),
            desk_card(boards["desk"]),
            hold_card(first.steps, boards["region"], rows),
        )
    for card in (*cards, tabs_below()):
        parts |= card
    return Page(**parts, clock=gr.Number(0, visible=False), storage=gr.Textbox("", visible=False))


def header(status: dict[str, str]) -> Status:
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>prompt<i>→</i>prompt</h1><p>{TAGLINE}</p>", elem_id="brand", apply_default_css=False)
        pill = Status(status, elem_id="status")
        scripts = "\n".join(script(name) for name in ("links", "help"))
        gr.HTML(BUTTONS, js_on_load=scripts, elem_id="links", apply_default_css=False)
    return pill
