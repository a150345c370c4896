"""All knowledge of checkpoints: where a model comes from.

Models: the bundled one, a local diffusers folder, a Hub id, or one `.safetensors` file, of Stable Diffusion
1.x, 2.x and XL.
"""

from __future__ import annotations

import json
import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open

from .. import assets
from ..errors import NotEnoughMemory, UnknownModel, UnsupportedModel, shown
from .hub import MORE, PARTS, chosen_weights, download
from .hub import Progress as Progress

BUNDLED = {name: assets.folder(name.replace("-", "_")) for name in ("storybook", "storybook-base")}
FAMILIES: dict[str, Any] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
    "LatentConsistencyModelPipeline": StableDiffusionPipeline,  # the same parts
}
TAESD = {False: "madebyollin/taesd", True: "madebyollin/taesdxl"}
MAX_TOKENS = 10_000  # of a prompt; a tokenizer that lacks its configuration says 10^30
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DTYPES |= {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
VOCABULARY = ("vocab.json", "merges.txt")  # of a tokenizer without a tokenizer.json
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


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
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedModel(f"device {shown(str(device))} was asked for, but torch finds no MPS device.")
    return chosen


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """None: float16 on CUDA, else float32."""
    if dtype is None or dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise UnsupportedModel(f"dtype is one of {', '.join(DTYPES)} or auto; got {shown(dtype)}.")
    return chosen


def asked_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype | None:
    """`choose_dtype` of what is asked for, if anything is."""
    return None if dtype is None else choose_dtype(dtype, device)


def cast(part: Any, device: torch.device | None, dtype: torch.dtype) -> Any:
    """`part.to`, casting only what has another dtype, and without diffusers' warning of every cast."""
    if part.dtype != dtype:
        quantized = getattr(part, "is_quantized", False)  # diffusers refuses, in a sentence
        part = part.to(dtype=dtype) if quantized else torch.nn.Module.to(part, dtype=dtype)
    return part if device is None else part.to(device)


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
    config = None if config is None else Path(config).expanduser()
    if isinstance(name, (str, Path)) and str(name).lower().endswith(SINGLE_FILES):
        pipe = _from_file(Path(name).expanduser(), dtype, on_progress, config)
    elif config is not None:
        raise UnknownModel(f"config belongs to a single .safetensors file; {shown(str(name))} is none.")
    else:
        pipe = _from_folder(name, dtype, on_progress)
    return pipe


def _from_folder(name: str | Path, dtype: torch.dtype, on_progress: Progress | None) -> Any:
    """A pipeline from a diffusers folder: a bundled one, a local one, or the Hub's."""
    folder = _folder(name, on_progress)
    index = _index(folder)
    family = index.get("_class_name")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UnsupportedModel(f"Expected one of {', '.join(FAMILIES)}; {name} is a {shown(family)}.")
    if on_progress:
        on_progress(f"Loading {name}", 1.0)
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torchvision.*")
        try:
            networks = _networks(folder, index, options)
            pipe = FAMILIES[family].from_pretrained(folder, **options, **networks, **_without_checker(family))
        except UnsupportedModel:
            raise
        except Exception as error:  # whatever a broken file makes json, torch or safetensors raise
            raise _broken(f"The model in {folder}", error) from error
    _check_tokenizers(pipe, folder)
    return pipe


def _index(folder: Path) -> dict[str, Any]:
    """A folder's model_index.json. Raises `UnknownModel`."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnknownModel(f"{folder} is not a diffusers folder: expected a model_index.json in it.")
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UnknownModel(f"The model_index.json in {folder} is not JSON.") from None
    if not isinstance(found, dict):
        raise UnknownModel(f"The model_index.json in {folder} is no JSON object; got {shown(found)}.")
    return found


def _networks(folder: Path, index: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """A folder's networks by part; the pipeline loads what is left.

    One by one, because each part may hold another variant (fp16, say), and because diffusers and transformers
    only warn of weights that are missing. Raises `UnsupportedModel` for those, and for a part whose weights
    are pickled, which may run code when they are read.
    """
    loaded = {}
    for part in (*PARTS, *MORE):
        library, kind = (*(index.get(part) or ()), None, None)[:2]
        if library not in ("diffusers", "transformers"):
            continue
        files = {file.name for file in (folder / part).glob("*")}
        if part.startswith("tokenizer") and not ("tokenizer.json" in files or {*VOCABULARY} <= files):
            raise UnknownModel(f"{folder / part} holds no tokenizer.json, nor {' and '.join(VOCABULARY)}.")
        variant, weights = chosen_weights(files)
        if not weights and (pickled := [name for name in files if name.endswith(".bin")]):
            raise UnsupportedModel(
                f"{part} in {folder} holds its weights only as {pickled[0]}, which may run code when it is "
                "read; expected a .safetensors (pipe.save_pretrained writes one)."
            )
        if weights:
            loader = getattr(import_module(library), str(kind))
            options = {**options, "variant": variant or None, "output_loading_info": True}
            loaded[part], report = loader.from_pretrained(folder / part, **options)
            if missing := [*report["missing_keys"]]:
                raise UnknownModel(f"The weights of {part} in {folder} lack {missing[0]}.")
    return loaded


def _broken(what: str, error: Exception, remedy: str = "") -> UnknownModel | NotEnoughMemory:
    """What is raised when loading fails: one sentence for whatever came."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return NotEnoughMemory(f"{what} needs more memory than is free.")
    return UnknownModel(f"{what} could not be loaded ({_first_line(error)}).{remedy}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


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


def _from_file(file: Path, dtype: torch.dtype, on_progress: Progress | None, config: Path | None) -> Any:
    """A pipeline from one file with all weights in the original layout. Its configurations lie elsewhere."""
    if file.suffix.lower() != ".safetensors":
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
    if config is not None and config.is_dir():
        _index(config)
    if on_progress:
        on_progress(f"Loading {file.name}", 1.0)
    more = {} if config is None else {"config": str(config)}
    try:
        return FAMILIES[family].from_single_file(
            str(file), torch_dtype=dtype, **more, **_without_checker(family)
        )
    except Exception as error:  # as above
        raise _broken(
            file.name,
            error,
            " It holds weights alone: give a diffusers folder of its family as config, or load it where the "
            "Hub can be reached.",
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
    folder = Path(which).expanduser()
    if which == "auto":
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            folder = Path(huggingface_hub.snapshot_download(TAESD[two], local_files_only=True))
        except (OSError, LocalEntryNotFoundError, HfHubHTTPError, ValueError):
            return None
    try:
        return AutoencoderTiny.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            variant=chosen_weights(file.name for file in folder.glob("*"))[0] or None,
        )
    except Exception as error:  # whatever a broken file makes json, torch or safetensors raise
        if which == "auto":  # half a download: previews are only a little coarser without
            return None
        raise UnknownModel(
            f"{folder} holds no AutoencoderTiny for previews ({_first_line(error)})."
        ) from error


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
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) or path.is_absolute():
        raise UnknownModel(
            f'There is no folder {shown(str(name))}; a model is "storybook", a diffusers folder '
            'or a Hub id such as "org/name".'
        )
    return download(str(name), on_progress)
