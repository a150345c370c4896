"""The Gradio app. Knows Gradio and the engine's public names; the engine never knows the app."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import build_app, launch_options
    from .engine import Engine

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it when it is imported

__all__ = ["Engine", "build_app", "launch_options"]


def __getattr__(name: str) -> Any:
    """Import gradio with the first use of a name, so that `p2p --help` comes at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".engine" if name == "Engine" else ".build", __name__), name)
