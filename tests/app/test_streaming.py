"""`p2p_app.blocks.Blocks` sends what Gradio's own would send, and holds every component of a page once."""

from __future__ import annotations

import asyncio
import copy
import functools
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_app.blocks import Blocks
from p2p_app.components.chips import Chips
from p2p_app.components.line import Line, line

NAMES = ("line", "chips", "text", "button", "column")
UPDATES = {
    "line": st.builds(line, st.sampled_from(["busy", "done"]), st.text(max_size=5)),
    "chips": st.fixed_dictionaries({"notes": st.lists(st.text(max_size=5), max_size=2)}),
    "text": st.one_of(
        st.text(max_size=5), st.builds(gr.update, label=st.text(max_size=5)), st.just(gr.skip())
    ),
    "button": st.builds(gr.update, value=st.text(max_size=5), interactive=st.booleans()),
    "column": st.builds(gr.update, visible=st.booleans()),
}
SEQUENCES = st.lists(st.fixed_dictionaries({}, optional=UPDATES).filter(bool), max_size=6)


@functools.cache  # an app takes Gradio a third of a second; what a page changes is its session's
def made(kind: type[gr.Blocks]) -> tuple[gr.Blocks, dict[str, Any], Any]:
    """A small app, its components by name, and the function that has them all as outputs."""
    with kind() as demo:
        page: dict[str, Any] = {"line": Line(), "chips": Chips(), "text": gr.Textbox()}
        page["button"] = gr.Button("go")
        with gr.Column() as page["column"]:
            gr.Markdown("inside")
        page["button"].click(lambda: {}, None, [page[name] for name in NAMES])
    return demo, page, next(iter(demo.fns.values()))


def sent(demo: gr.Blocks, fn: Any, updates: Any, state: SessionState) -> list[Any]:
    """What goes to the page. Of an HTML that is left out Gradio says "props: nothing", which is no matter."""
    answer = asyncio.run(demo.postprocess_data(fn, updates, state))
    nothing = {**gr.skip(), "props": gr.skip()}
    return [gr.skip() if value == nothing else value for value in answer]


@settings(deadline=None)
@given(SEQUENCES)
def test_what_is_sent_is_what_gradio_sends_and_nothing_is_held_twice(updates: list[dict[str, Any]]) -> None:
    (ours, page, fn), (theirs, other, their_fn) = made(Blocks), made(gr.Blocks)
    state, their_state = SessionState(ours), SessionState(theirs)
    held = len(state.blocks_config.blocks)
    for update in updates:
        mine = sent(ours, fn, {page[name]: copy.deepcopy(value) for name, value in update.items()}, state)
        want = {other[name]: copy.deepcopy(value) for name, value in update.items()}
        assert mine == sent(theirs, their_fn, want, their_state)
    assert len(state.blocks_config.blocks) == len(state.config_values) == held
    assert all(block._id == number for number, block in state.blocks_config.blocks.items())
    last = {name: value for update in updates for name, value in update.items()}
    boards = {"line", "chips"} & last.keys()
    for name in boards:  # what the page's state says of a component is its last value
        assert state.config_values[page[name]._id]["props"]["value"] == last[name]


def test_a_list_of_values_is_taken_as_gradio_takes_it() -> None:
    demo, page, fn = made(Blocks)
    state = SessionState(demo)
    held = len(state.blocks_config.blocks)
    for n in range(3):
        values = [line("busy", str(n)), gr.skip(), str(n), gr.update(interactive=n > 1), gr.skip()]
        answer = sent(demo, fn, values, state)
        assert answer[0] == line("busy", str(n)) and answer[2] == str(n)
        assert answer[1] == answer[4] == gr.skip()
    assert len(state.blocks_config.blocks) == held
    assert state[page["button"]._id].constructor_args["interactive"] is True


def test_an_update_of_something_else_is_refused_as_by_gradio() -> None:
    demo, page, fn = made(Blocks)
    stranger = gr.Textbox(render=False)
    with pytest.raises(ValueError, match="not specified as output"):
        sent(demo, fn, {page["text"]: "a", stranger: "b"}, SessionState(demo))
