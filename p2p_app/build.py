"""From an engine to a `gr.Blocks`, and what `launch` is to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from .api import Api, add_api
from .blocks import Blocks
from .components.board import script
from .engine import Engine
from .examples import examples_for
from .gate import Gate
from .handlers import Handlers
from .layout import build_page
from .limits import LOCAL, Limits
from .sessions import MAX_SESSIONS, Sessions
from .theme import THEME
from .wiring import wire

FOLDER = Path(__file__).resolve().parent
# In this order: what stands later wins, and the sizes of screens win over everything.
STYLES = (
    "page", "source", "edit", "side", "desk", "hold", "tabs", "painting", "guide", "screens", "phone",
)  # fmt: skip

matplotlib.use("Agg")  # gradio imports it lazily with the first event, which then waits a second


def build_app(engine: Engine, limits: Limits = LOCAL) -> Blocks:
    """The app for an engine, which may still be loading."""
    sessions = Sessions(lambda source: engine.p2p.forget(source), limits)
    handlers = Handlers(engine, sessions)
    examples = examples_for(engine.bundled, engine.steps)
    with Blocks(
        title="prompt → prompt", fill_width=True, analytics_enabled=False, delete_cache=(3600, 7200)
    ) as blocks:
        hello = "The model is loading." + (" The first picture comes by itself." if engine.bundled else "")
        page = build_page(examples, engine.guidance, engine.status(), hello, engine.rows)
        api = Api(engine, sessions, handlers.runner.turns, blocks.has_left)
        add_api(api, engine.guidance)  # before the wiring: the endpoints get the names they ask for
        wire(blocks, page, handlers)
    blocks.status = engine.status
    blocks.sessions, blocks.turns = sessions, handlers.runner.turns
    # the gate bounds what each client has under way, so that nobody fills the queue for all
    blocks.queue(max_size=None, api_open=False)
    demo: Blocks = blocks  # Gradio types it as anything
    return demo


def launch_options(limits: Limits = LOCAL) -> dict[str, Any]:
    """Keyword arguments for `launch` that belong to the app."""
    return {
        "theme": THEME,
        "css_paths": [FOLDER / "styles" / f"{name}.css" for name in STYLES],
        "favicon_path": FOLDER / "favicon.png",
        "footer_links": ["api"],  # the style sheet hides the footer; the header links there
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": "64mb",  # as the engine takes them
        "app_kwargs": {"middleware": [(Gate, (), {"limits": limits})]},
        "enable_monitoring": False,
        "head": f"<script>{script('retry')}</script>",  # before the page sends anything
        # events under way at once; every open page has one (`Handlers.stay`)
        "max_threads": 4 * MAX_SESSIONS,
    }
