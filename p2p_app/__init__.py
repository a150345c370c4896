"""The Gradio app. Knows Gradio and the engine's public names; the engine never knows the app."""

from .build import build_app, launch_options
from .engine import Engine

__all__ = ["Engine", "build_app", "launch_options"]
