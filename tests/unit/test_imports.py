"""The direction of the imports, and what never to import where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From the bottom up: a module imports only from layers below its own, or from its own package.
LAYERS = (
    {"errors", "assets", "contexts"},
    {"names"},
    {"words"},
    {"weights"},
    {"settings", "window"},
    {"prompt", "attention", "memory", "images", "lifetime"},
    {"edit", "alignment", "share", "step_plan"},
    {"plan", "recipe", "injection", "refine"},
    {"sampler", "local_blend", "compose"},
    {"schedulers", "steps"},
    {"source", "model"},
    {"cache"},
    {"prompt_to_prompt", "tree", "figures"},
    {"start"},
    {"engine", "options"},
    {"editing"},
    {"inversion", "saving", "suggest"},
    {"sources"},
    {"pipeline"},
    {"__init__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
PACKAGES = ("p2p_core", "p2p_app")


def module_of(path: Path) -> str:
    """Its dotted name from the repository's root; of a package's `__init__.py` the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files(*folders: str) -> list[Path]:
    return [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]


MODULES = {module_of(path): path for path in files(*PACKAGES)}


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all that is imported, anywhere in the file: for types only and in functions too.

    `from package import module` is the module.
    """
    package = module_of(path).split(".")
    if path.stem != "__init__":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{name}.{alias.name}" if f"{name}.{alias.name}" in MODULES else name


def layer(module: str) -> int:
    """The layer of a module of `p2p_core`; its packages are layers as a whole."""
    return LEVEL[module.split(".")[1] if "." in module else "__init__"]


@pytest.mark.parametrize("path", files("p2p_core"), ids=module_of)
def test_core_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    for other in imports(path):
        if other.startswith("p2p_core") and other.split(".")[1:2] != module.split(".")[1:2]:
            assert layer(other) < layer(module), f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle(package: str) -> None:
    """Of any kind: imports for types and in functions count as well."""
    graph = {
        module: {other for other in imports(path) if other in MODULES and other != module}
        for module, path in MODULES.items()
        if module.startswith(package)
    }
    assert len(graph) > 10
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", [*files(*PACKAGES), ROOT / "app.py"], ids=module_of)
def test_what_never_to_import(path: Path) -> None:
    modules = {module.split(".")[0] for module in imports(path)} | set(imports(path))
    assert not modules & {"skia", "cv2", "storybook", "tests", "benchmarks", "matplotlib.pyplot"}
    if module_of(path).startswith("p2p_core"):
        assert not modules & {"gradio", "p2p_app", "app"}
    if module_of(path).startswith("p2p_app"):
        assert "app" not in modules


def test_the_world_does_not_know_the_engine() -> None:
    for path in files("storybook"):
        assert not {m.split(".")[0] for m in imports(path)} & {"p2p_core", "p2p_app", "gradio"}, path.name


def test_the_app_holds_no_tensors() -> None:
    assert not {m.split(".")[0] for m in imports(ROOT / "app.py")} & {"torch", "diffusers", "p2p_core"}
