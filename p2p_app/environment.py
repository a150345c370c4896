"""The process's environment as gradio and httpx are to find it. Knows nothing of the app."""

from __future__ import annotations

import os

LOCAL = ("localhost", "127.0.0.1", "::1")


def prepare(*hosts: str) -> None:
    """Call it before gradio is imported. hosts: where the app listens.

    - Gradio asks its own server for a page when it starts, which a proxy can't reach: NO_PROXY names it.
    - Gradio reads numbers from variables, and fails at those that are set and empty, as in compose files.
    - No analytics.
    """
    for name in [name for name, value in os.environ.items() if name.startswith("GRADIO_") and not value]:
        del os.environ[name]
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    direct = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    named = dict.fromkeys([*filter(None, map(str.strip, direct)), *LOCAL, *hosts])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(named)  # some read one, some the other
