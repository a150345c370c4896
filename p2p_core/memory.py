"""How much memory is free, what is kept of it for sources, and how much fits: one answer for all who ask.

What fits is an estimate: what it misses is caught where memory runs out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

ROOT = Path("/")
MAX_EDITS = 32  # in one batch: more gain nothing, and a step takes long to be stopped
FREE_SHARE = 0.8  # of what is free, that a batch may take
# Peak activations per row in units of one level-0 feature map: skip connections + GEGLU (2 x 8C) +
# convolution workspace.
ROW_MAPS = 64
DECODE_MAPS = 6  # the same of the autoencoder's last level, which has twice its first width
UNKNOWN_BYTES = 4 << 30  # taken for free where nobody can tell
MAX_DEVICE_BYTES, MAX_HOST_BYTES, MAX_DISK_BYTES = 8 << 30, 32 << 30, 32 << 30
MAX_EDITS_BYTES = 256 << 20


# --- what is free ---------------------------------------------------------------------------------------


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take on a device; None where nobody can tell.

    Of a GPU with what torch holds in reserve; of the host what the machine and its control groups leave,
    the tightest of them, since a container ends who takes more than its limit.
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + reserve
    return min((n for n in (_machine_bytes(), _container_bytes()) if n is not None), default=None)


def empty_cache(device: torch.device) -> None:
    """Give back what torch holds in reserve."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def peak_bytes() -> int:
    """The most bytes that this process has had resident. `getrusage` begins with what its parent had."""
    for line in (ROOT / "proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmHWM; the peak is known on Linux only.")


def _machine_bytes() -> int | None:
    try:
        for line in (ROOT / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _container_bytes() -> int | None:
    """What the control groups leave, the tightest of all that this process is in; version 2 or 1."""
    try:
        lines = (ROOT / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    free = []
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
            free.append(_group_bytes(group, limit, usage, stat))
            if group == ROOT / base:
                break
    return min((n for n in free if n is not None), default=None)


def _group_bytes(group: Path, limit: str, usage: str, stat: str) -> int | None:
    """A group's limit less what it uses; pages of files that nobody needs count as free."""
    try:
        most, used = int((group / limit).read_text()), int((group / usage).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    try:
        counts = dict(line.split(" ", 1) for line in (group / "memory.stat").read_text().splitlines())
        used -= int(counts.get(stat, 0))
    except (OSError, ValueError):
        pass
    return max(0, most - max(0, used))


# --- budgets of recorded sources ------------------------------------------------------------------------


def device_budget(device: torch.device) -> int:
    """Bytes for sources on the device: 40 % of what is free on a GPU, of the host 25 %, at most 8 GiB."""
    free = free_bytes(device)
    if device.type == "cuda":
        return int(0.4 * (free or 0))
    return min(int(0.25 * (UNKNOWN_BYTES if free is None else free)), MAX_DEVICE_BYTES)


def host_budget(device: torch.device) -> int:
    """Bytes of pinned memory beside a GPU: 25 % of what is free, at most 32 GiB. Without a GPU none, because
    the host's memory is the device's then."""
    free = free_bytes(torch.device("cpu")) if device.type == "cuda" else 0
    return min(int(0.25 * (UNKNOWN_BYTES if free is None else free)), MAX_HOST_BYTES)


def edits_budget() -> int:
    """Bytes for the states of edits, and as many for their pictures: 5 % of the host's free memory, at most
    256 MiB."""
    free = free_bytes(torch.device("cpu"))
    return min(int(0.05 * (UNKNOWN_BYTES if free is None else free)), MAX_EDITS_BYTES)


def disk_budget(folder: Path) -> int:
    """Bytes of files: 25 % of what is free where the folder lies, at most 32 GiB."""
    while not folder.exists():
        folder = folder.parent
    return min(int(0.25 * shutil.disk_usage(folder).free), MAX_DISK_BYTES)


# --- what fits ------------------------------------------------------------------------------------------


def edits_at_once(
    unet: Any, size: tuple[int, int], dtype: torch.dtype, rows: int, device: torch.device
) -> int:
    """Edits in one batch on latents of (h, w). rows: of the UNet's for each. On a CPU not the memory but the
    caches say how many run best."""
    h, w = size
    free = free_bytes(device) if device.type == "cuda" else None
    if free is None:
        return max(1, min(16, 16 * 1024 // (h * w)))
    each = rows * ROW_MAPS * h * w * int(unet.config.block_out_channels[0]) * dtype.itemsize
    return max(1, min(MAX_EDITS, int(FREE_SHARE * free) // each))


def decode_fits(vae: Any, pixels: tuple[int, int], dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a picture of (height, width) is decoded in one piece. On a CPU it always is."""
    free = free_bytes(device) if device.type == "cuda" else None
    width = 2 * int(vae.config.block_out_channels[0])
    return free is None or DECODE_MAPS * pixels[0] * pixels[1] * width * dtype.itemsize < free
