"""The public endpoints, /generate and /edit, for gradio_client and curl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from p2p_core import Edit
from p2p_core.errors import shown

from .engine import Engine
from .messages import ENDED
from .problems import sentence
from .queue import Client, TooManyRuns, Turns
from .sessions import Sessions

if TYPE_CHECKING:
    from p2p_core.steps import Steps

T = TypeVar("T")

ABOUT = {
    "generate": (
        "Generate a picture and keep it as a source. Returns the picture and an object with source_id, "
        "prompt, seed, steps, guidance_scale, negative_prompt, height, width, seconds, nbytes and where. "
        "Give the source_id to /edit."
    ),
    "edit": (
        "Edit a source by its prompt. edit is an object of which only prompt is needed: "
        '{"prompt": "a red castle on a hill", "cross_steps": 0.8, "self_steps": 0.4, '
        '"weights": {"red": 1.5}, "blend": {"source_words": ["house"], "target_words": ["castle"]}}. '
        "Returns the picture and an object with steps_total, steps_computed, steps_reused, seconds, "
        "notes and edit."
    ),
}


class Api:
    """What other programs may call. A source is held under an id that nobody can guess."""

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        turns: Turns,
        has_left: Callable[[str | None], bool] = lambda _: False,
    ) -> None:
        self.engine, self.sessions, self.turns, self.has_left = engine, sessions, turns, has_left

    def generate(
        self,
        prompt: str,
        seed: float = 0,
        steps: float = 30,
        guidance_scale: float = 5.0,
        negative_prompt: str = "",
        request: gr.Request | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """See `ABOUT`."""
        settings = {"prompt": prompt, "seed": _whole(seed), "steps": _whole(steps)}
        settings |= {"guidance_scale": guidance_scale, "negative_prompt": negative_prompt or ""}
        with self._sentences():
            self.sessions.limits.check(settings, self.engine.p2p.default_size)
            source = self._run(lambda: self.engine.p2p.iter_generate(**settings), request)
        info = {
            "source_id": self.sessions.add_api_source(source, address_of(request)),
            **source.to_dict(),
            "seconds": round(source.seconds, 3),
            "nbytes": source.nbytes,
            "where": source.where,
        }
        return source.image, info

    def edit(
        self, source_id: str, edit: str, request: gr.Request | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """See `ABOUT`."""
        source = self.sessions.api_source(source_id) if isinstance(source_id, str) else None
        if source is None:
            name = shown(source_id)
            raise _error(f"There is no source {name}. It may have been freed; call /generate again.")
        with self._sentences():
            wanted = Edit.from_json(edit)
            self.sessions.limits.check_edit(wanted)
            result = self._run(lambda: self.engine.p2p.iter_edit(source, wanted), request)
        info = {
            "steps_total": result.steps_total,
            "steps_computed": result.steps_computed,
            "steps_reused": result.steps_reused,
            "seconds": round(result.seconds, 3),
            "notes": list(result.plan.notes),
            "edit": result.edit.to_dict(),
        }
        return result.image, info

    def _run(self, begin: Callable[[], Steps[T]], request: gr.Request | None) -> T:
        """A run's result, in its turn: callers wait for the device in the same queue as the page's visitors.
        A caller who has left doesn't."""
        client, caller = Client(address_of(request)), None if request is None else request.session_hash
        with self.turns.ticket(client, waiting=self.sessions.limits.waiting) as mine:
            while self.turns.ahead(mine, 0.5):
                self._check_there(caller)
            run = begin()
            try:
                for _ in run:
                    self._check_there(caller)
                return run.result
            finally:
                run.close()

    def _check_there(self, caller: str | None) -> None:
        if self.has_left(caller) or self.sessions.ended:
            raise TooManyRuns(ENDED if self.sessions.ended else "The caller has left.")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """The engine's errors as messages for the caller."""
        try:
            self.engine.wait()
            yield
        except Exception as error:
            raise _error(sentence(error)) from None


def _error(text: str) -> gr.Error:
    return gr.Error(text, print_exception=False)


def address_of(request: gr.Request | None) -> str:
    """The client's address; "" where nobody knows it."""
    client = getattr(request, "client", None)
    return getattr(client, "host", None) or ""


def _whole(value: Any) -> Any:
    """A JSON number that is whole as an int; anything else as it came, for the engine to refuse."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def add_api(api: Api, guidance: float) -> None:
    """Register the endpoints inside the current `gr.Blocks`; nothing of them shows on the page."""
    with gr.Group(visible=False):
        prompt = gr.Textbox(label="prompt")
        seed = gr.Number(0, label="seed")
        steps = gr.Number(30, label="steps")
        scale = gr.Number(guidance, label="guidance_scale")
        negative = gr.Textbox("", label="negative_prompt")
        source_id = gr.Textbox(label="source_id")
        edit = gr.JSON(label="edit")
        image = gr.Image(format="png", type="pil", label="image")
        info = gr.JSON(label="info")
        go = gr.Button("generate")
        change = gr.Button("edit")
    shared: dict[str, Any] = {"concurrency_limit": None}  # they wait in `Turns`

    def expose(trigger: Callable[..., Any], fn: Callable[..., Any], inputs: list[Any], name: str) -> None:
        about = {"api_name": name, "api_description": ABOUT[name], "api_visibility": "public"}
        trigger(fn, inputs, [image, info], **about, **shared)

    expose(go.click, api.generate, [prompt, seed, steps, scale, negative], "generate")
    expose(change.click, api.edit, [source_id, edit], "edit")
