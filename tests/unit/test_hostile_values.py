"""Values that cost their reader dear or break it: endless texts, numbers, lists and files."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from p2p_core import Edit, P2PError, PromptToPrompt, load_recipe, memory
from p2p_core.errors import BadInput, UnknownWord, shown
from p2p_core.inversion.store import InversionStore
from p2p_core.model.preview import LinearPreview
from p2p_core.prompt import MAX_PROMPT_CHARACTERS

from .. import tiny

DIGITS = 10**5000
DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]
VALUES = {"digits": DIGITS, "minus": -DIGITS, "past a float": 10**400, "deep": DEEP, "deep dict": {"a": DEEP}}
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())


@pytest.fixture(scope="module")
def p2p() -> PromptToPrompt:
    return PromptToPrompt(tiny.pipeline())


@each_value
def test_anything_can_be_shown_in_a_message(value: Any) -> None:
    for one in (value, [value], "x" * 10**7, b"x" * 10**7):
        assert 0 < len(shown(one)) <= 60


@each_value
@pytest.mark.parametrize("name", ["seed", "steps", "guidance_scale", "height", "width"])
def test_no_setting_is_too_large_for_a_sentence(p2p: PromptToPrompt, name: str, value: Any) -> None:
    with pytest.raises(P2PError):
        p2p.iter_generate("a house", **{name: value})


@each_value
@pytest.mark.parametrize(
    "fields",
    [
        lambda v: {"weights": {"house": v}},
        lambda v: {"cross_steps": v},
        lambda v: {"cross_steps": [0, v]},
        lambda v: {"cross_steps": {"house": v}},
        lambda v: {"self_steps": v},
        lambda v: {"weight_steps": v},
        lambda v: {"self_pixels": v},
        lambda v: {"kind": v},
        lambda v: {"prompt": v},
        lambda v: {"blend": v},
        lambda v: {"blend": {"target_words": ["house"], "threshold": v}},
        lambda v: {"blend": {"target_words": ["house"], "soft": v}},
        lambda v: {"blend": {"target_words": [v]}},
        lambda v: {"blend": {"target_words": v}},
    ],
)
def test_no_value_of_an_edit_is_too_large_for_a_sentence(
    p2p: PromptToPrompt, fields: Any, value: Any
) -> None:
    with pytest.raises(P2PError):
        edit = Edit.from_json({"prompt": "a red house", **fields(value)})
        edit.to_json()
        p2p.plan("a house", edit)


@pytest.mark.parametrize("name", ["#" + "9" * 5000, "#" + "0" * 5000], ids=["nines", "zeros"])
def test_a_word_number_of_any_length_is_an_unknown_word(p2p: PromptToPrompt, name: Any) -> None:
    with pytest.raises(UnknownWord, match="not in the prompt"):
        p2p.plan("a house", Edit("a red house", weights={name: 2.0}))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "9" * 5000], ids=["open", "closed", "digits"]
)
def test_json_of_any_depth_is_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(P2PError):
        Edit.from_json(text)
    (file := tmp_path / "deep.json").write_text(text)
    with pytest.raises(P2PError):
        load_recipe(file)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("p2p", text)
    Image.new("RGB", (8, 8)).save(png := tmp_path / "deep.png", pnginfo=info)
    with pytest.raises(P2PError):
        load_recipe(png)


def test_a_prompt_is_bounded_before_it_is_tokenized(p2p: PromptToPrompt) -> None:
    longest = "a " * (MAX_PROMPT_CHARACTERS // 2)
    assert p2p.prompt(longest).length == p2p.pipe.tokenizer.model_max_length
    for make in (
        lambda text: p2p.prompt(text),
        lambda text: p2p.iter_generate(text),
        lambda text: p2p.iter_generate("a house", negative_prompt=text),
        lambda text: p2p.plan("a house", Edit(text)),
    ):
        with pytest.raises(BadInput, match=f"at most {MAX_PROMPT_CHARACTERS} characters; got 1000000"):
            make("a " * 500_000)


def test_a_message_about_a_long_prompt_is_short(p2p: PromptToPrompt) -> None:
    with pytest.raises(UnknownWord) as caught:
        p2p.prompt("ab " * 1000).find("dragon")
    assert len(str(caught.value)) < 2000


def test_an_outlier_spoils_no_preview() -> None:
    torch.manual_seed(0)
    colours = torch.randn(3, 4)
    preview = LinearPreview()

    def learn(scale: float = 1.0, mix: torch.Tensor = colours) -> None:
        latents = torch.randn(1, 4, 16, 16)
        rgb = torch.einsum("kc,bchw->bkhw", mix, latents * 0.1)
        preview.learn(latents * scale, torch.nn.functional.interpolate(rgb, scale_factor=4))

    def seen() -> np.ndarray:
        return np.asarray(preview.picture(torch.linspace(-1, 1, 4 * 64).reshape(4, 8, 8), 1), np.int16)

    for _ in range(3):
        learn()
    before = seen()
    for scale in (1e3, 1e8, 1e30, float("inf"), float("nan")):
        learn(scale)
        assert abs(seen() - before).max() <= 1
    learn(mix=-5 * colours)  # wrong colours at usual latents
    for _ in range(60):
        learn()
    assert abs(seen() - before).max() <= 3, "what was learned wrongly fades"


def test_a_pipe_among_the_inversions_is_left_alone(tmp_path: Path) -> None:
    store, found = InversionStore(tmp_path), []
    os.mkfifo(tmp_path / "key.safetensors")
    reader = threading.Thread(target=lambda: found.append(store.get("key", {"path": (1,)})), daemon=True)
    reader.start()
    reader.join(10)
    assert found == [None]


def test_inversions_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = InversionStore(tmp_path / "new" / "inversions")
    store.put("key", {"path": torch.ones(1)})
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert store.get("key", {"path": (1,)}) is not None


def test_all_budgets_together_fit_into_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 700 << 20
    group = tmp_path / "sys/fs/cgroup"
    for file, text in {
        tmp_path / "proc/self/cgroup": "0::/\n",
        tmp_path / "proc/meminfo": "MemAvailable: 60000000 kB\n",
        group / "memory.max": f"{limit}\n",
        group / "memory.current": "0\n",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    assert memory.device_budget(torch.device("cpu")) + 2 * memory.edits_budget() <= 0.4 * limit
    p2p = PromptToPrompt(tiny.pipeline())
    assert p2p.cache.budget <= 0.25 * limit
