"""Fixtures: tiny random models, made once a session."""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from p2p_core import PromptToPrompt, Source

from . import tiny

torch.set_num_threads(min(2, torch.get_num_threads()))
HOUSE = "a red house on a snowy hill at night"


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
