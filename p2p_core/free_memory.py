"""Memory that a run may still take, of the device, the machine and its container; and what it took."""

from __future__ import annotations

from pathlib import Path

import torch

ROOT = Path("/")


def free(device: torch.device) -> int | None:
    """Bytes that are free for tensors on the device; None where nobody can tell."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, unused
        return int(torch.cuda.mem_get_info(device)[0]) + held
    known = [n for n in (_of_machine(), _of_container()) if n is not None]
    return min(known, default=None)


def peak() -> int:
    """The most bytes that this process has had resident. `getrusage` begins with what its parent had."""
    for line in (ROOT / "proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmHWM; the peak is known on Linux only.")


def _of_machine() -> int | None:
    try:
        for line in (ROOT / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _of_container() -> int | None:
    """What the control groups leave, the tightest of all that this process is in; version 2 or 1."""
    try:
        lines = (ROOT / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    left = []
    for line in lines:
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not names:
            base, limit, usage, stat = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in names.split(","):
            base, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            stat = "total_inactive_file"
        else:
            continue
        folder = ROOT / base / path.strip("/")
        for group in (folder, *folder.parents):
            room = _room(group, limit, usage, stat)
            left += [] if room is None else [room]
            if group == ROOT / base:
                break
    return min(left, default=None)


def _room(group: Path, limit: str, usage: str, stat: str) -> int | None:
    """A group's limit less what it uses; pages of files that nobody needs count as free."""
    try:
        most, used = int((group / limit).read_text()), int((group / usage).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    try:
        kept = dict(line.split(" ", 1) for line in (group / "memory.stat").read_text().splitlines())
        used -= int(kept.get(stat, 0))
    except (OSError, ValueError):
        pass
    return max(0, most - max(0, used))
