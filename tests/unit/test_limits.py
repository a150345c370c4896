"""What one visitor may take, as the command line and the environment say it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from p2p_app.launch import arguments
from p2p_app.limits import LOCAL, PUBLIC, Limits, limits_of, option, variable
from p2p_core import Edit
from p2p_core.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P2P_PUBLIC", "SPACE_ID", "P2P_INVERSIONS", *(variable(f.name) for f in fields(Limits))):
        monkeypatch.delenv(name, raising=False)


def test_ones_own_machine_is_free_and_a_space_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits_of(arguments([])) == LOCAL and arguments([]).inversions
    assert limits_of(arguments(["--public"])) == PUBLIC and arguments(["--public"]).inversions == ""
    monkeypatch.setenv("SPACE_ID", "somebody/p2p")
    assert limits_of(arguments([])) == PUBLIC
    assert limits_of(arguments(["--no-public"])) == LOCAL
    monkeypatch.setenv("P2P_PUBLIC", "0")
    assert limits_of(arguments([])) == LOCAL
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.setenv("P2P_PUBLIC", "1")
    assert limits_of(arguments([])) == PUBLIC
    assert arguments(["--inversions", "here"]).inversions == "here"


@pytest.mark.parametrize("name", [f.name for f in fields(Limits)])
def test_each_limit_is_an_option_a_variable_and_in_the_docs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(limits_of(arguments([option(name), "7"])), name) == 7
    monkeypatch.setenv(variable(name), "9")
    assert getattr(limits_of(arguments(["--public"])), name) == 9
    assert getattr(PUBLIC, name) <= getattr(LOCAL, name)
    docs = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{option(name)}` \| `{variable(name)}` \| (.+) \| (.+) \| .+ \|$", docs, re.M)
    assert [float(n.replace(" ", "").replace("none", "inf")) for n in row] == [
        getattr(LOCAL, name),
        getattr(PUBLIC, name),
    ]


@pytest.mark.parametrize(
    "settings, pictures, sentence",
    [
        ({"steps": 101}, 1, "at most 100 steps"),
        ({"steps": 10, "height": 2048, "width": 2048}, 1, "at most 1048576 pixels"),
        ({"steps": 10, "height": 8192}, 1, "at most 1048576 pixels"),
        ({"steps": 100}, 48, "more than one run may be"),
        ({}, 100, "more than one run may be"),
        ({"steps": float("inf")}, 1, "at most 100 steps"),
    ],
)
def test_a_run_is_bounded(settings: dict[str, Any], pictures: int, sentence: str) -> None:
    LOCAL.check({"steps": 1000, "height": 2048, "width": 2048}, (512, 512), 48)
    with pytest.raises(BadInput, match=sentence):
        PUBLIC.check(settings, (512, 512), pictures)


def test_usual_runs_are_within_bounds() -> None:
    PUBLIC.check({"steps": 50}, (1024, 1024))
    PUBLIC.check({"steps": 30}, (512, 512), 48)
    PUBLIC.check({"steps": "many", "height": None}, (512, 512))  # for the engine to refuse


def test_weights_are_bounded_in_public() -> None:
    LOCAL.check_edit(Edit("a", weights={"a": 1e300}))
    PUBLIC.check_edit(Edit("a", weights={"a": -2.0}))
    with pytest.raises(BadInput, match="from -2 to 2 here; got 1e\\+08"):
        PUBLIC.check_edit(Edit("a", weights={"a": 1e8}))
