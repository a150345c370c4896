"""README and CONTRIBUTING tell the truth: their Python runs, their commands, options and files exist."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest

from p2p_core import Blend, Edit

from ..unit.test_imports import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [(note, code) for language, note, code in BLOCKS if language == "python"]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"^```sh\n(.*?)^```$", README + GUIDE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("code", [code for note, code in PYTHON if not note])
def test_the_python_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").symlink_to(ROOT / "assets")  # paths are the repository's
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"\bsteps=\d+", "steps=4", code), "README.md", "exec"), {})
    for name in re.findall(r'save\("([\w.]+)"\)', code):
        assert (tmp_path / name).is_file()


def test_there_are_examples_and_those_not_run_are_python_at_least() -> None:
    assert any(not note for note, _ in PYTHON), "the README has no example that is run"
    for _, code in PYTHON:
        compile(code, "README.md", "exec")


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", SHELL):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python -m ([\w.]+)", SHELL):
        assert importlib.util.find_spec(module), module
    for name in re.findall(r"-r (\S+)", SHELL):
        assert (ROOT / name).is_file(), name


def test_the_apps_options_and_variables_exist() -> None:
    code = "".join(f.read_text(encoding="utf-8") for f in (ROOT / "app.py", *(ROOT / "p2p_app").glob("*.py")))
    options = re.findall(r"--[a-z-]+", " ".join(re.findall(r"python app\.py .*", README)))
    for name in {*options, *re.findall(r"\b(?:P2P|GRADIO_SERVER)_\w+", README)}:
        assert name in code, f"{name} is in the README and not in the app"


@pytest.mark.parametrize("link", sorted(set(re.findall(r'(?:\]\(|src=")([\w./-]+)[)"]', README + GUIDE))))
def test_the_files_it_links_to_exist(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("text", [README, GUIDE], ids=["README", "CONTRIBUTING"])
def test_the_files_of_its_tables_exist(text: str) -> None:
    folder, named, missing = "", 0, []
    for row in re.findall(r"^(?:\| |\d+\. )(.*?`.*?)$", text, re.MULTILINE):
        for name in re.findall(r"`(\w+/[\w./]*|\w+\.py)`", row):
            folder = name.rstrip("/").rpartition("/")[0] or folder
            if not (ROOT / name).exists() and not (ROOT / folder / name).exists():
                missing.append(name)
            named += 1
    assert named > 15 and not missing


def test_the_notebooks_names_are_mapped_to_arguments_that_exist() -> None:
    rows = "\n".join(re.findall(r"^\| `\w+`.*$", README, re.MULTILINE))
    called = re.findall(r"(Edit|Blend)\((\w+)=", rows)
    assert {"AttentionReplace", "LocalBlend"} <= set(re.findall(r"\w+", rows)) and len(called) >= 3
    for cls, name in called:
        assert name in {field.name for field in fields({"Edit": Edit, "Blend": Blend}[cls])}, name
