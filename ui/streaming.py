"""`Blocks` whose streamed updates arrive whole.

Gradio sends what a generator yields after its first value as a difference to the value before, and the page
applies that difference to the very object that the earlier message holds. If the page hasn't come to the
earlier message yet, its value is gone: a board that is set by one yield and left alone by the next keeps what
it had. Here a value that has changed is sent whole.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


class Blocks(gr.Blocks):
    """`gr.Blocks` that streams values, not differences."""

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
