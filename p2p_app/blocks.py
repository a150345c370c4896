"""`Blocks` whose streamed updates arrive whole, and which does no work for what stays as it is.

Gradio sends what a generator yields after its first value as a difference to the value before, and the page
applies that difference to the very object that the earlier message holds. If the page hasn't come to the
earlier message yet, its value is gone: a board that is set by one yield and left alone by the next keeps what
it had. Here a value that has changed is sent whole.

Gradio also makes a new component for every output that an update leaves out, a millisecond each; and because
a new component has a new number, the page's state keeps every one of them, with the value that it came to
hold, for as long as the page is open. Here outputs that are left out are left alone, and a component that
does change keeps its number.

What strangers send is refused before Gradio acts on it where it would fetch an address of the web, and what
fails is a sentence for them and one line in the log: Gradio prints the error with all that they have sent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio import routes
from gradio.blocks import Block
from gradio.exceptions import ComponentProcessingError, Error
from gradio.route_utils import CustomCORSMiddleware

from .components.line import Line, line
from .problems import DISK_FULL, is_disk_full, log_briefly, sentence
from .queue import Turns
from .sessions import Sessions

UNREADABLE = "What was sent is not what this takes."
NO_ADDRESS = "A picture comes as an upload; addresses of the web are not fetched here."


class OwnOrigin(CustomCORSMiddleware):
    """Scripts of other sites may not read what the app answers; Gradio lets any of them, on a server."""

    def is_valid_origin(self, request_headers: Any) -> bool:
        return bool(urlsplit(request_headers["Origin"]).netloc == request_headers.get("Host"))


routes.CustomCORSMiddleware = OwnOrigin  # type: ignore[attr-defined]


class Blocks(gr.Blocks):
    """`gr.Blocks` that streams values, not differences, and holds each component of a page once."""

    sessions: Sessions
    turns: Turns
    status: Callable[[], dict[str, Any]]  # of the model, as `Engine.status` gives it

    def has_left(self, session_hash: str | None) -> bool:
        """True once a client whose events are under way has hung up."""
        events = [e for e in list(self._queue.event_ids_to_events.values()) if e.session_hash == session_hash]
        return bool(events) and not any(event.alive for event in events)

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*args, **options)
        except Error as error:
            error.print_exception = False
            raise
        except ComponentProcessingError:
            raise gr.Error(UNREADABLE, print_exception=False) from None
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from None

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> Any:
        if names_address(inputs):
            raise gr.Error(NO_ADDRESS, print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *args, **options)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """What a handler gave, as the page takes it. An update by component concerns only its components."""
        by_component = isinstance(predictions, dict) and all(isinstance(key, Block) for key in predictions)
        numbers = {component._id for component in predictions} if by_component else set()
        some_fn = copy.copy(block_fn)
        some_fn.outputs = [block for block in block_fn.outputs if block._id in numbers]
        if some_fn.outputs and len(some_fn.outputs) == len(numbers):
            try:
                values = iter(await super().postprocess_data(some_fn, predictions, state))
            except OSError as error:  # Gradio writes what it shows
                if not is_disk_full(error):
                    raise
                log_briefly(error)
                return [
                    line("error", DISK_FULL) if isinstance(block, Line) else gr.skip()
                    for block in block_fn.outputs
                ]
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


def names_address(value: Any) -> bool:
    """True if a file in what a client has sent is an address of the web, which Gradio would fetch."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += one.values()
            path = one.get("path")  # Gradio reads no "url" of what comes in
            if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
                return True
        elif isinstance(one, (list, tuple)):
            todo += one
    return False
