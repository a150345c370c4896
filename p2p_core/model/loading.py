"""All knowledge of checkpoints: where a model comes from.

Models: the bundled one, a local diffusers folder, a Hub id, or one `.safetensors` file, of Stable Diffusion
1.x, 2.x and XL.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError, safe_open

from .. import assets
from ..errors import UnknownModel, UnsupportedModel, shown

BUNDLED = {"storybook": assets.folder("storybook")}
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
MORE = ("text_encoder_2", "tokenizer_2")  # of SDXL
FAMILIES: dict[str, Any] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
    "LatentConsistencyModelPipeline": StableDiffusionPipeline,  # the same parts
}
TAESD = {False: "madebyollin/taesd", True: "madebyollin/taesdxl"}
MAX_TOKENS = 10_000  # of a prompt; a tokenizer that lacks its configuration says 10^30
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPES |= {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Progress = Callable[[str, float], None]  # (what is going on, fraction done)


def choose_device(device: str | torch.device | None) -> torch.device:
    """None: CUDA where there is one, else the CPU. Raises `UnsupportedModel` if it isn't there."""
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise UnsupportedModel(f'device is "cpu", "cuda" or "auto"; got {shown(device)}.') from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UnsupportedModel(f"device {shown(str(device))} was asked for, but torch finds no CUDA device.")
    return chosen


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """None: float16 on CUDA, else float32."""
    if dtype is None or dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise UnsupportedModel(f"dtype is one of {', '.join(DTYPES)} or auto; got {shown(dtype)}.")
    return chosen


def load(
    name: str | Path,
    *,
    dtype: torch.dtype,
    on_progress: Progress | None = None,
    config: str | Path | None = None,
) -> Any:
    """A pipeline from "storybook", a local diffusers folder, a Hub id or a `.safetensors` file.

    config: for a single file, a diffusers folder or Hub id of its family, which holds the configurations and
    the tokenizer that the file lacks; None: diffusers asks the Hub. `on_progress(sentence, fraction)` hears
    of a download. Raises `UnknownModel` with what to do, `UnsupportedModel` for pipelines of other families.
    """
    if isinstance(name, (str, Path)) and str(name).endswith((".safetensors", ".ckpt", ".pt", ".bin")):
        return _from_file(Path(name), dtype, on_progress, config)
    if config is not None:
        raise UnknownModel(f"config belongs to a single .safetensors file; {shown(str(name))} is none.")
    folder = _folder(name, on_progress)
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnknownModel(f"{folder} is not a diffusers folder: expected a model_index.json in it.")
    try:
        family = json.loads(index.read_text()).get("_class_name")
    except ValueError:
        raise UnknownModel(f"The model_index.json in {folder} is not JSON.") from None
    if family not in FAMILIES:
        raise UnsupportedModel(f"Expected one of {', '.join(FAMILIES)}; {name} is a {shown(family)}.")
    if on_progress:
        on_progress(f"Loading {name}", 1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torchvision.*")
        try:
            pipe = FAMILIES[family].from_pretrained(
                folder, dtype=dtype, local_files_only=True, **_without_checker(family)
            )
        except (OSError, ValueError, KeyError) as error:
            raise UnknownModel(f"The model in {folder} could not be loaded: {error}") from error
    _check_tokenizers(pipe, folder)
    return pipe


def _check_tokenizers(pipe: Any, folder: Path) -> None:
    """Raises `UnknownModel` where files of a tokenizer are missing: transformers then makes an empty one, and
    every prompt would be a row of unknown words."""
    for n in ("", "_2"):
        tokenizer, encoder = (getattr(pipe, f"{name}{n}", None) for name in ("tokenizer", "text_encoder"))
        if tokenizer is None or encoder is None:
            continue
        known, wanted = len(tokenizer), int(encoder.config.vocab_size)
        if known < wanted // 2 or tokenizer.model_max_length > MAX_TOKENS:
            raise UnknownModel(
                f"The tokenizer in {folder / f'tokenizer{n}'} lacks files: it knows {known} tokens, "
                f"expected {wanted}, of which at most {shown(tokenizer.model_max_length)} are read."
            )


def _without_checker(family: str) -> dict[str, Any]:
    if family == "StableDiffusionXLPipeline":
        return {"add_watermarker": False}
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _from_file(
    file: Path, dtype: torch.dtype, on_progress: Progress | None, config: str | Path | None
) -> Any:
    """A pipeline from one file with all weights in the original layout. Its configurations lie elsewhere."""
    if file.suffix != ".safetensors":
        raise UnsupportedModel(f"A single file is a .safetensors; {file.name} may run code when it is read.")
    try:
        with safe_open(file, framework="pt") as opened:
            names = set(opened.keys())
    except (OSError, SafetensorError) as error:
        raise UnknownModel(f"{file} can't be read as a .safetensors file ({error}).") from None
    if not any(name.startswith("model.diffusion_model.") for name in names):
        raise UnsupportedModel(
            f"{file.name} is no whole Stable Diffusion checkpoint: expected weights that begin with "
            f'"model.diffusion_model."; a LoRA is loaded by the pipeline it belongs to.'
        )
    two = any(name.startswith("conditioner.embedders.1.") for name in names)
    family = "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline"
    if config is not None and Path(config).is_dir() and not (Path(config) / "model_index.json").is_file():
        raise UnknownModel(f"{config} is not a diffusers folder: expected a model_index.json in it.")
    if on_progress:
        on_progress(f"Loading {file.name}", 1.0)
    more = {} if config is None else {"config": str(config)}
    try:
        return FAMILIES[family].from_single_file(
            str(file), torch_dtype=dtype, **more, **_without_checker(family)
        )
    except (OSError, ValueError, KeyError, RuntimeError, SingleFileComponentError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UnknownModel(
            f"{file.name} could not be loaded ({why}). It holds weights alone: give a diffusers folder of "
            "its family as config, or load it where the Hub can be reached."
        ) from error


def find_preview_vae(which: Any, two: bool) -> Any:
    """A small autoencoder for previews. which: one that is there already; a folder; "auto": TAESD for the
    family (two: SDXL's) where an earlier download left it in the Hub's cache; None: none.

    Raises `UnsupportedModel`, `UnknownModel`.
    """
    if which is None or (isinstance(which, torch.nn.Module) and getattr(which, "decode", None) is not None):
        return which
    if not isinstance(which, (str, Path)):
        raise UnsupportedModel(
            "preview_vae is a small autoencoder for the same latents, such as diffusers' AutoencoderTiny, a "
            f"folder that holds one, or auto; got {type(which).__name__}."
        )
    folder = Path(which)
    if which == "auto":
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            folder = Path(huggingface_hub.snapshot_download(TAESD[two], local_files_only=True))
        except (OSError, LocalEntryNotFoundError, HfHubHTTPError, ValueError):
            return None
    try:
        return AutoencoderTiny.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if which == "auto":  # half a download: previews are only a little coarser without
            return None
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UnknownModel(f"{folder} holds no AutoencoderTiny for previews ({why}).") from error


def _folder(name: str | Path, on_progress: Progress | None) -> Path:
    if not isinstance(name, (str, Path)) or not str(name):
        raise UnknownModel(
            f'A model is "storybook", a folder or a Hub id such as "org/name"; got {shown(name)}.'
        )
    if str(name) in BUNDLED:
        folder = BUNDLED[str(name)]
        if not folder.is_dir():
            raise UnknownModel(f"The bundled model is missing: expected its weights in {folder}.")
        return folder
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) or Path(name).is_absolute():
        raise UnknownModel(
            f'There is no folder {shown(str(name))}; a model is "storybook", a diffusers folder '
            'or a Hub id such as "org/name".'
        )
    return _download(str(name), on_progress)


def _download(repo: str, on_progress: Progress | None) -> Path:
    """The Hub repository's files in the local cache, downloaded if need be."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    how = f"Download it where there is a network with:  hf download {repo}"
    try:
        files = huggingface_hub.list_repo_files(repo)
        patterns = _wanted(files)
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


def _wanted(files: list[str]) -> list[str]:
    """The files a pipeline needs: configs, tokenizer, and each part's weights once (no fp16 / EMA twins)."""
    if "model_index.json" not in files:
        return []
    wanted = ["model_index.json"]
    for part in (*PARTS, *MORE):
        inside = [f for f in files if f.startswith(part + "/")]
        wanted += [f for f in inside if f.endswith((".json", ".txt"))]
        weights = [f for f in inside if f.endswith(".safetensors")]
        plain = [f for f in weights if not re.search(r"\.(fp16|non_ema|bf16)\.", f)]
        wanted += plain or weights
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
