"""Hostile and very large pictures, read in a process of its own: no crash, no hang, and little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .. import hostile
from ..app_fixtures import ROOT

COUNT = int(os.environ.get("P2P_FUZZ", "150"))
SECONDS, MEGABYTES = 20, 1000  # of the CPU for a file; of the process, with all that it has loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


def measured(folder: Path, *count: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz_pictures", str(folder), *count]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told: dict[str, Any] = json.loads(ended.stdout)
    print(told)
    assert not told["wrong"] and told["pictures"] + told["refused"] == told["files"]
    assert told["slowest"][0] < SECONDS, told
    assert told["megabytes"] <= MEGABYTES, told
    return told


def test_the_largest_pictures_fit_into_memory(folder: Path) -> None:
    told = measured(hostile.write(folder / "large", hostile.large()))
    assert told["refused"] == 0


def test_files_that_are_dear_to_read_are_not(folder: Path) -> None:
    """Measured before: minutes, and several gigabytes."""
    told = measured(hostile.write(folder / "traps", hostile.traps()))
    assert told["files"] > 15


@pytest.mark.timeout(60 + 10 * COUNT)
def test_mutated_files(folder: Path) -> None:
    """Seeded: a picture or a sentence, never another error. P2P_FUZZ=1000 makes it a thousand."""
    seeds = hostile.small() | hostile.large() | hostile.traps()
    told = measured(hostile.write(folder / "mutated", seeds), str(COUNT))
    assert told["files"] == COUNT and 0.1 * COUNT < told["pictures"] < 0.9 * COUNT
