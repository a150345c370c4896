"""diffusers' names of arguments that are called otherwise here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .errors import BadInput

OURS = {
    "callback": "on_step",
    "callback_on_step_end": "on_step",
    "cross_attention_kwargs": "lora_scale",
    "eta": 'sampler, such as "euler_ancestral"',
    "generator": "seed, the number that it was seeded with",
    "guidance_rescale": "guidance_scale",
    "image": "invert(picture, prompt)",
    "negative_prompt_embeds": "negative_prompt",
    "num_images_per_prompt": "a call for each seed",
    "num_inference_steps": "steps",
    "output_type": "Source.image and Source.latents",
    "scheduler": "pipe.scheduler",
    "strength": "Edit.amount, or the windows of an Edit",
    "timesteps": "steps",
    "torch_dtype": "dtype",
}
P = ParamSpec("P")
R = TypeVar("R")


def says_our_names(method: Callable[P, R]) -> Callable[P, R]:
    """The same method; for an argument of diffusers' that it lacks it raises a `BadInput` that names ours."""
    known = inspect.signature(method).parameters

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known and name in OURS:
                raise BadInput(f"{method.__name__} takes no {name}; expected {OURS[name]}.")
        return method(*args, **kwargs)

    return call
