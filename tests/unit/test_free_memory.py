"""Memory that is free: of the machine, of its containers, and of the device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from p2p_core import PromptToPrompt, memory

from .. import tiny

CPU = torch.device("cpu")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's root with 8 GB free, and nothing said of containers."""
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    put(tmp_path / "proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    return tmp_path


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def group(folder: Path, limit: str, used: int, cached: int = 0, *, old: bool = False) -> None:
    put(folder / ("memory.limit_in_bytes" if old else "memory.max"), f"{limit}\n")
    put(folder / ("memory.usage_in_bytes" if old else "memory.current"), f"{used}\n")
    put(folder / "memory.stat", f"anon 1\n{'total_' if old else ''}inactive_file {cached}\n")


def test_here_and_now() -> None:
    assert 1 << 20 < (memory.free_bytes(CPU) or 0) < 1 << 50


def test_without_containers(machine: Path) -> None:
    assert memory.free_bytes(CPU) == 8_192_000_000
    (machine / "proc/meminfo").unlink()
    assert memory.free_bytes(CPU) is None


@pytest.mark.parametrize("old", [False, True])
def test_the_tightest_container_counts(machine: Path, old: bool) -> None:
    base = machine / ("sys/fs/cgroup/memory" if old else "sys/fs/cgroup")
    put(machine / "proc/self/cgroup", "5:cpu:/x\n4:memory:/a/b\n" if old else "0::/a/b\n")
    group(base / "a/b", "max" if not old else str(1 << 62), 5)
    assert memory.free_bytes(CPU) == 8_192_000_000, "it is not limited"
    group(base / "a", "3000", 1500, 500, old=old)
    if old:
        group(base / "a/b", str(1 << 62), 5, old=True)
    assert memory.free_bytes(CPU) == 2000, "pages of files are free"
    group(base / "a/b", "900", 1000, old=old)
    assert memory.free_bytes(CPU) == 0


def test_a_container_that_sees_its_own_group_as_the_root(machine: Path) -> None:
    put(machine / "proc/self/cgroup", "0::/docker/0123\n")
    group(machine / "sys/fs/cgroup", "5000", 1000)
    assert memory.free_bytes(CPU) == 4000


def test_a_containers_limit_bounds_the_budget_of_sources(machine: Path) -> None:
    assert memory.device_budget(CPU) == 8_192_000_000 // 4
    assert PromptToPrompt(tiny.pipeline()).cache.bytes_in("device")[1] == 8_192_000_000 // 4
    put(machine / "proc/self/cgroup", "0::/docker/0123\n")
    group(machine / "sys/fs/cgroup", str(3 << 30), 1 << 30)
    assert memory.device_budget(CPU) == (2 << 30) // 4
    assert PromptToPrompt(tiny.pipeline()).cache.bytes_in("device")[1] == (2 << 30) // 4
    told = {"mem_get_info": (100, 999), "memory_reserved": 70, "memory_allocated": 30}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setattr(torch.cuda, name, lambda _, value=value: value)
        assert memory.host_budget(torch.device("cuda")) == (2 << 30) // 4 and memory.host_budget(CPU) == 0
        assert memory.device_budget(torch.device("cuda")) == int(0.4 * 140)
    for file in ("proc/self/cgroup", "proc/meminfo"):
        (machine / file).unlink()
    assert memory.device_budget(CPU) == 1 << 30, "a quarter of 4 GiB where nobody can tell"


def test_what_torch_has_reserved_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {"mem_get_info": (100, 999), "memory_reserved": 70, "memory_allocated": 30}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert memory.free_bytes(torch.device("cuda")) == 140


def test_the_peak_is_of_this_process_alone() -> None:
    """A child of a large process begins small."""
    ballast = torch.ones(100_000_000)  # 400 MB
    code = (
        "import importlib.util as u; s = u.spec_from_file_location('m', 'p2p_core/memory.py');"
        "import sys, types; sys.modules['torch'] = types.ModuleType('torch');"
        "m = u.module_from_spec(s); s.loader.exec_module(m); print(m.peak_bytes())"
    )
    root = Path(memory.__file__).parent.parent
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert 1_000_000 < int(said.stdout) < 100_000_000 < ballast.nbytes < memory.peak_bytes()
