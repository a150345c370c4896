"""Fixtures: tiny random models, made once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from p2p_core import PromptToPrompt, Source, pipeline
from p2p_core.model import loading

from . import tiny
from .app_fixtures import STEPS, browser, served

# `make test` has two workers: the browser's tests keep one busy, all others the other
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
torch.set_num_threads(min(2, max(1, torch.get_num_threads() // WORKERS)))


def _on_the_cpu(device: str | torch.device | None) -> torch.device:
    return loading.choose_device("cpu" if device is None else device)


# tests compare in float32 unless they say otherwise; those of a GPU ask for it and are marked so
pipeline.choose_device = _on_the_cpu
HOUSE = "a red house on a snowy hill at night"


def of_browser(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes whole files, which share models. Files with pages are one: two apps at once are slow."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "pages" if "/browser/" in file else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `gpu` needs one. The browser's tests, which take longest, come first."""
    items.sort(key=lambda item: not of_browser(item))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(scope="session")
def eps() -> PromptToPrompt:
    """Epsilon prediction."""
    return PromptToPrompt(tiny.pipeline("epsilon"))


@pytest.fixture(scope="session")
def v() -> PromptToPrompt:
    """v-prediction with zero terminal SNR, as the bundled model."""
    return PromptToPrompt(tiny.pipeline("v_prediction"))


@pytest.fixture(params=["eps", "v"])
def p2p(request: pytest.FixtureRequest) -> PromptToPrompt:
    """Both prediction types."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def source(p2p: PromptToPrompt) -> Source:
    return p2p.generate(HOUSE, seed=3, steps=8, guidance_scale=5.0)


# --- the app in a browser: served once for all of its tests, a browser for each module ------------------


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's temporary files."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app(folder: Path) -> Iterator[tuple[str, float]]:
    with served("--steps", str(STEPS), folder=folder) as address_and_seconds:
        yield address_and_seconds


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium
