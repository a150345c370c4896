"""Models as repositories and folders hold them: which files belong to one, and how they come from the Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import UnknownModel, UnsupportedModel

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
MORE = ("text_encoder_2", "tokenizer_2")  # of SDXL
Progress = Callable[[str, float], None]  # (what is going on, fraction done)
# Names of a part's weights: plain ones, of a variant such as fp16, whole or in shards.
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:-\d+-of-\d+)?(?:\.(?P<variant>\w+?))?(?:-\d+-of-\d+)?\.safetensors"
)


def download(repo: str, on_progress: Progress | None) -> Path:
    """The Hub repository's files in the local cache, downloaded if need be."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    how = f"Download it where there is a network with:  hf download {repo}"
    try:
        files = huggingface_hub.list_repo_files(repo)
        patterns = wanted(files)
    except (OSError, HfHubHTTPError, ValueError, RuntimeError) as error:
        try:  # offline: what an earlier download left
            return Path(huggingface_hub.snapshot_download(repo, local_files_only=True))
        except (OSError, LocalEntryNotFoundError, ValueError):
            raise UnknownModel(
                f"The model {repo} is not in the local cache and the Hub could not be asked "
                f"({type(error).__name__}). {how}"
            ) from error
    if not patterns:
        raise UnsupportedModel(f"{repo} holds no diffusers folder with safetensors weights.")
    try:
        path = huggingface_hub.snapshot_download(
            repo, allow_patterns=patterns, tqdm_class=_reporting(repo, on_progress)
        )
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise UnknownModel(f"Downloading {repo} failed ({type(error).__name__}: {error}). {how}") from error
    return Path(path)


def wanted(files: list[str]) -> list[str]:
    """The files a pipeline needs: configs, tokenizer, and each part's weights once (no fp16 / EMA twins)."""
    if "model_index.json" not in files:
        return []
    wanted = ["model_index.json"]
    for part in (*PARTS, *MORE):
        inside = [f for f in files if f.startswith(part + "/")]
        wanted += [f for f in inside if f.endswith((".json", ".txt"))]
        wanted += chosen_weights(inside)[1]
    return wanted


def _reporting(repo: str, on_progress: Progress | None) -> Any:
    """A tqdm class that also tells `on_progress`."""
    from tqdm.auto import tqdm

    class Reporting(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            shown_ = super().update(n)
            if on_progress and self.total:
                on_progress(f"Downloading {repo}", min(1.0, self.n / self.total))
            return shown_  # type: ignore[no-any-return]

    return Reporting


def chosen_weights(names: Iterable[str]) -> tuple[str, list[str]]:
    """The variant ("": none) of a part's safetensors that is to be read, and its files among `names`: plain
    ones if there are some, then fp16, then another, and those that are no moving average last."""
    by_variant: dict[str, list[str]] = {}
    for name in names:
        if match := WEIGHTS.fullmatch(name.rsplit("/", 1)[-1]):
            by_variant.setdefault(match["variant"] or "", []).append(name)
    best = min(by_variant, key=lambda v: (v == "non_ema", v != "", v != "fp16", v), default="")
    return best, by_variant.get(best, [])
