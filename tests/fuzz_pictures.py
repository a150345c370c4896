"""Reads picture files in a process of its own, and measures: `python -m tests.fuzz_pictures FOLDER [COUNT]`.

Without COUNT every file as it is; with it so many mutated ones, seeded. Prints JSON: how many were pictures
and how many refused, what was neither, the slowest file in seconds of the CPU, and the most memory that the
process ever had.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from p2p_core.errors import BadPicture
from p2p_core.images.load import FITS, fit_picture, open_picture
from p2p_core.memory import peak_bytes


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, most of them in the header; sometimes cut off, sometimes with a piece twice."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        at = int(rng.integers(min(len(changed), 200) if rng.random() < 0.6 else len(changed)))
        changed[at] = int(rng.integers(256))
    if rng.random() < 0.2:
        first, last = sorted(int(n) for n in rng.integers(len(changed), size=2))
        changed[last:last] = changed[first : min(last, first + 4096)]
    if rng.random() < 0.3:
        del changed[int(rng.integers(1, len(changed))) :]
    return bytes(changed)


def main(folder: str, count: str = "0") -> dict[str, Any]:
    files = sorted(Path(folder).iterdir())
    told: dict[str, Any] = {"files": 0, "pictures": 0, "refused": 0, "wrong": []}
    slowest = 0.0, ""
    for n in range(int(count) or len(files)):
        rng = np.random.default_rng([5, n])
        file = files[n] if count == "0" else files[int(rng.integers(len(files)))]
        data = file.read_bytes() if count == "0" else mutated(file.read_bytes(), rng)
        begun = time.process_time()
        try:
            picture = open_picture(data)
            for fit in FITS:
                assert fit_picture(picture, (64, 48), fit, (0.3, 1.0)).size == (48, 64)
            told["pictures"] += picture.mode == "RGB"
            del picture  # before the next one is read
        except BadPicture as error:
            told["refused"] += str(error).endswith(".")
        except BaseException as error:
            told["wrong"].append(f"{file.name}, {n}: {type(error).__name__} {error}"[:200])
        told["files"] += 1
        slowest = max(slowest, (time.process_time() - begun, f"{file.name}, {n}"))
    told["slowest"] = [round(slowest[0], 2), slowest[1]]
    told["megabytes"] = peak_bytes() // 10**6
    return told


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
