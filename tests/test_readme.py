"""The README's Python runs as it stands, with the bundled model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2p_core import load_recipe
from p2p_core.models import BUNDLED

from .test_imports import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 1 and len(BLOCKS[0].strip().splitlines()) <= 12


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_readmes_python(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert BUNDLED["storybook"].joinpath("model_index.json").is_file()
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], "README.md", "exec"), {})
    assert load_recipe(tmp_path / "castle.png").source["seed"] == 3
    assert capsys.readouterr().out.strip() == "30 (16, 16)"


def test_links_and_pictures_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)]+)\)|src=\"([^\"]+)\"", text):
        assert (ROOT / (target[0] or target[1])).exists(), target
