"""The frame holds together: pins, Dockerfile, Makefile, the Space's front matter."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from .test_imports import ROOT, files, imports

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([\w.]+)$")


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", "-r ")):
            match = PIN.match(line)
            assert match, f"{name}: {line!r} is not an exact pin"
            found[match[1].lower().replace("-", "_")] = match[2]
    return found


def test_requirements_cover_the_apps_imports_and_nothing_else() -> None:
    app, dev, train = (pins(f"requirements{x}.txt") for x in ("", "-dev", "-train"))
    assert {"gradio", "torch", "diffusers", "transformers", "accelerate", "matplotlib"} <= app.keys()
    assert not app.keys() & {*dev, *train}
    names = {"PIL": "pillow"}
    third = set()
    for path in [*files("p2p_core", "p2p_app"), ROOT / "app.py"]:
        for module in imports(path):
            top = module.split(".")[0]
            if (
                top
                and top not in sys.stdlib_module_names
                and top not in ("p2p_core", "p2p_app", "__future__")
            ):
                third.add(names.get(top, top).lower())
    assert third <= app.keys(), third - app.keys()


def test_the_readmes_front_matter_suits_a_space() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    fields = dict(line.split(": ", 1) for line in text.split("---\n")[1].splitlines() if ": " in line)
    assert fields["sdk"] == "gradio" and fields["sdk_version"] == pins("requirements.txt")["gradio"]
    assert (ROOT / fields["app_file"]).is_file() and fields["license"] == "apache-2.0"
    assert float(fields["python_version"].strip('"').split(".")[1]) >= 11
    assert (
        len(fields["short_description"]) <= 60 and {"title", "emoji", "colorFrom", "colorTo"} <= fields.keys()
    )


def test_the_dockerfile_holds_what_the_app_needs() -> None:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and line[0] != "#"]
    copied: set[str] = set()
    for line in lines:
        if line.startswith("COPY"):
            copied |= {word for word in line.split()[1:-1] if not word.startswith("--")}
    assert all((ROOT / name).exists() for name in copied), copied
    assert {"requirements.txt", "app.py", "p2p_core", "p2p_app", "assets", "README.md"} <= copied
    text = "\n".join(lines)
    assert text.index("useradd --create-home --uid 1000") < text.index("COPY") and "USER user" in text
    assert "EXPOSE 7860" in text and "GRADIO_SERVER_NAME=0.0.0.0" in text and "HEALTHCHECK" in text
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not copied & set(ignored)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    "target", ["demo", "check", "unit", "test", "lint", "bench", "train", "evaluate", "clean"]
)
def test_the_makefiles_targets(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scripts_and_styles_have_short_lines() -> None:
    """As Python's have, by ruff; biome leaves a line long that it can't break, and doesn't format styles."""
    long = [
        f"{path.name}:{number}"
        for kind in ("js", "css")
        for path in sorted((ROOT / "p2p_app").rglob(f"*.{kind}"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 110
    ]
    assert not long


def test_no_file_is_long() -> None:
    """Of the packages and their scripts: at most 300 lines; the paper's file at most 160."""
    packages = [*files("p2p_core", "p2p_app"), *(ROOT / "p2p_app").rglob("*.js")]
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in packages
    }
    assert not {path: n for path, n in lines.items() if n > 300}
    assert lines["p2p_core/prompt_to_prompt.py"] <= 160


def test_no_large_files() -> None:
    weights = [f for f in (ROOT / "assets").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in weights) <= 90 << 20
