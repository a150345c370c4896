"""The direction of the imports, and what never to import where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the bottom up: a module imports only from layers below its own, or beside it where listed together.
LAYERS = (
    {"errors"},
    {"words", "masks", "files"},
    {"photos"},
    {"edits"},
    {"plan", "attention", "cache", "shelf", "free_memory"},
    {"sampler", "checks", "memory", "previews", "compiling"},
    {"texts", "tiers", "loading"},
    {"models"},
    {"runs"},
    {"source"},
    {"states", "blend", "recipe", "figures", "records", "inversion"},
    {"real_pictures"},
    {"prompt_to_prompt"},
    {"__init__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path: Path, *, lazy: bool = True) -> Iterator[tuple[str, bool]]:
    """(module, whether inside TYPE_CHECKING) of every import; relative ones as ".name"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded: set[ast.AST] = set()
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            guarded |= set(ast.walk(node))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in inner and not lazy:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            if node.level and not node.module:
                yield from ((dots + alias.name, node in guarded) for alias in node.names)
            else:
                yield dots + (node.module or ""), node in guarded


def files(*folders: str) -> list[Path]:
    return [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", files("p2p_core"), ids=lambda p: p.name)
def test_core_imports_go_one_way(path: Path) -> None:
    assert path.stem in LEVEL, f"{path.name} has no layer yet"
    for module, only_types in imports(path, lazy=False):
        if module.startswith(".") and not only_types:
            other = module.lstrip(".").split(".")[0]
            assert LEVEL[other] < LEVEL[path.stem], f"{path.stem} imports {other}, which is not below it"


@pytest.mark.parametrize("path", [*files("p2p_core", "p2p_app"), ROOT / "app.py"], ids=lambda p: p.name)
def test_what_never_to_import(path: Path) -> None:
    modules = {module.split(".")[0] for module, _ in imports(path)} | {m for m, _ in imports(path)}
    assert not modules & {"skia", "cv2", "storybook", "tests", "benchmarks", "matplotlib.pyplot"}
    if path.parent.name == "p2p_core":
        assert not modules & {"gradio", "p2p_app", "app"}
    if path.parent.name == "p2p_app":
        assert "app" not in modules


def test_the_world_does_not_know_the_engine() -> None:
    for path in files("storybook"):
        assert not {m.split(".")[0] for m, _ in imports(path)} & {"p2p_core", "p2p_app", "gradio"}, path.name


def test_the_app_holds_no_tensors() -> None:
    assert not {m.split(".")[0] for m, _ in imports(ROOT / "app.py")} & {"torch", "diffusers", "p2p_core"}
