"""Where a benchmark's figures go: JSON, and a Markdown page beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_page(folder: Path, name: str, result: Mapping[str, Any], page: str) -> None:
    """Write <name>.json and <name>.md into a folder, which is made if need be, and print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page)
    print(page)
