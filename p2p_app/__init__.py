"""The Gradio app. Knows Gradio and the engine's public names; the engine never knows the app."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .environment import prepare

if TYPE_CHECKING:
    from .build import build_app, launch_options
    from .engine import Engine

prepare()  # gradio reads the environment when it is imported

__all__ = ["Engine", "build_app", "launch_options"]


def __getattr__(name: str) -> Any:
    """Import gradio with the first use of a name, so that `p2p --help` comes at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".engine" if name == "Engine" else ".build", __name__), name)
