"""The wheel works anywhere: installed into another folder it draws a picture and starts the app."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

from ..app_fixtures import served
from ..unit.test_imports import ROOT

MADE = ("__pycache__", "*.pyi")  # by Python and Gradio, in any checkout
DRAW = """
from p2p_core import PromptToPrompt
p2p = PromptToPrompt.from_pretrained(device="cpu")
p2p.generate("a red house in a field", steps=2).image.save("house.png")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that what an earlier build left behind can't get in."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("p2p_core", "p2p_app", "assets"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(*MADE))
    pip("wheel", str(copy), "--no-build-isolation", "--no-deps", "-w", str(built))
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder it is installed into. Its dependencies are this interpreter's."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-compile", "--target", str(folder), str(wheel))
    return folder


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    """What this interpreter prints when it finds the installed packages, called in another folder."""
    env = os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_packages_their_files_and_nothing_else(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"p2p_core", "p2p_app"}
    folders = {f"{name}/": f"{name}/" for name in ("p2p_core", "p2p_app")}
    folders |= {
        f"assets/{name}/": f"p2p_core/assets/{name}/" for name in ("storybook", "storybook_base", "pictures")
    }
    expected = {
        inside + file.relative_to(ROOT / folder).as_posix()
        for folder, inside in folders.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and not any(file.match(made) or file.parent.match(made) for made in MADE)
    }
    assert names == expected


def test_it_pins_nothing_and_the_engine_needs_neither_gradio_nor_matplotlib(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        (name,) = (n for n in opened.namelist() if n.endswith(".dist-info/METADATA"))
        needs = message_from_string(opened.read(name).decode()).get_all("Requires-Dist", [])
    assert needs and not [need for need in needs if "==" in need.split(";")[0]]
    engine = " ".join(need for need in needs if "extra ==" not in need)
    assert "torch" in engine and "gradio" not in engine and "matplotlib" not in engine
    assert any(need.startswith("gradio") and 'extra == "app"' in need for need in needs)


def test_it_draws_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = "import p2p_core, p2p_app; print(p2p_core.__file__, p2p_app.__file__)"
    said = run(installed, tmp_path, "-c", DRAW + where)
    assert said.count(str(installed)) == 2 and (tmp_path / "house.png").stat().st_size > 1000


def test_its_command_starts_the_app(installed: Path, tmp_path: Path) -> None:
    start = [str(installed / "bin" / "p2p"), "app"]
    with served("--steps", "2", folder=tmp_path, start=start, cwd=tmp_path, PYTHONPATH=str(installed)) as app:
        page = urllib.request.urlopen(app.url, timeout=20).read().decode()
        icon = urllib.request.urlopen(app.url + "favicon.ico", timeout=20).read()
    assert "prompt → prompt" in page and icon == (ROOT / "p2p_app" / "favicon.png").read_bytes()


def test_its_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    command = str(installed / "bin" / "p2p")
    assert "start the app" in run(installed, tmp_path, command, "--help")
    assert "usage: p2p app" in run(installed, tmp_path, command, "app", "--help")


def test_the_ranges_hold_the_pinned_versions() -> None:
    """Every direct dependency is pinned for development, at a version that its range allows."""
    from packaging.requirements import Requirement

    pins = dict(
        line.lower().replace("-", "_").split("==")
        for file in ROOT.glob("requirements*.txt")
        for line in file.read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needs = [*project["dependencies"], *(need for extra in extras for need in extra)]
    for need in map(Requirement, needs):
        name = need.name.lower().replace("-", "_")
        assert name == "p2p" or pins[name] in need.specifier, f"{need}; pinned is {pins.get(name)}"
