"""`import p2p_core` is lazy: what needs no torch loads without it, and no public name is lost by that."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import p2p_core
from p2p_core import errors

LIGHT = "Blend, Edit, P2PError, Plan, Prompt, Recipe, Window, align, load_recipe, mask_text"
HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "gradio")


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    code += "\nimport sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    root = Path(p2p_core.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code", ["import p2p_core", "import p2p_core; dir(p2p_core)", f"from p2p_core import {LIGHT}"]
)
def test_edits_plans_and_recipes_need_no_torch(code: str) -> None:
    assert not loaded_after(code) & set(HEAVY)


def test_an_edit_is_made_written_and_read_without_torch() -> None:
    code = (
        "from p2p_core import Blend, Edit\n"
        "edit = Edit('a castle', weights={'castle': 2}, blend=Blend(target_words='castle', mask=[[0, 1]]))\n"
        "assert Edit.from_json(edit.to_json()) == edit\n"
    )
    assert not loaded_after(code) & set(HEAVY)


def test_every_public_name_is_there() -> None:
    assert set(p2p_core.__all__) <= set(dir(p2p_core))
    for name in p2p_core.__all__:
        assert getattr(p2p_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = p2p_core.Nothing


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(p2p_core.__file__).read_text(encoding="utf-8"))
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level and n.module]
    found = {alias.name: f"p2p_core.{node.module}" for node in imports for alias in node.names}
    assert set(found) == set(p2p_core.__all__)
    for name, module in found.items():
        assert getattr(import_module(module), name) is getattr(p2p_core, name)


def test_names_of_errors_of_earlier_versions() -> None:
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert all(issubclass(kind, errors.P2PError) for kind in classes) and issubclass(
        errors.P2PError, ValueError
    )
    assert {kind.__name__ for kind in classes} == {
        "P2PError", "BadInput", "BadPicture", "UnknownWord", "NotEnoughMemory", "UnsupportedModel",
    }  # fmt: skip
    assert errors.BadSteps is errors.BadEdit is errors.BadInput
    assert errors.UnknownModel is errors.UnsupportedModel
