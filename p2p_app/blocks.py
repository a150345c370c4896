"""`Blocks` whose streamed updates arrive whole, and which does no work for what stays as it is.

Gradio sends what a generator yields after its first value as a difference to the value before, and the page
applies that difference to the very object that the earlier message holds. If the page hasn't come to the
earlier message yet, its value is gone: a board that is set by one yield and left alone by the next keeps what
it had. Here a value that has changed is sent whole.

Gradio also makes a new component for every output that an update leaves out, a millisecond each; and because
a new component has a new number, the page's state keeps every one of them, with the value that it came to
hold, for as long as the page is open. Here outputs that are left out are left alone, and a component that
does change keeps its number.
"""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.blocks import Block


class Blocks(gr.Blocks):
    """`gr.Blocks` that streams values, not differences, and holds each component of a page once."""

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """What a handler gave, as the page takes it. An update by component concerns only its components."""
        by_component = isinstance(predictions, dict) and all(isinstance(key, Block) for key in predictions)
        numbers = {component._id for component in predictions} if by_component else set()
        some_fn = copy.copy(block_fn)
        some_fn.outputs = [block for block in block_fn.outputs if block._id in numbers]
        if some_fn.outputs and len(some_fn.outputs) == len(numbers):
            values = iter(await super().postprocess_data(some_fn, predictions, state))
            sent = [next(values) if block._id in numbers else gr.skip() for block in block_fn.outputs]
        else:  # Gradio takes it, or says what isn't an output
            sent = await super().postprocess_data(block_fn, predictions, state)
        for block in block_fn.outputs:
            if state is not None and (held := state.blocks_config.blocks.get(block._id)) is not None:
                held._id = block._id
        return sent

    def handle_streaming_diffs(
        self,
        block_fn: Any,
        data: list[Any],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[Any]:
        values = list(data)
        later = session_hash is not None and run in self.pending_diff_streams[session_hash]
        sent = super().handle_streaming_diffs(block_fn, data, session_hash, run, final, simple_format)
        if not later or final or simple_format:
            return sent
        return [[["replace", [], value]] if edits else [] for value, edits in zip(values, sent, strict=True)]
