"""All knowledge of checkpoints: where a model comes from, and a thin `Model` around its pipeline.

Models: the bundled one, a local diffusers folder, or a Hub id, of the Stable Diffusion 1.x / 2.x families.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from .attention import Call, Processor, Site, find_sites, installed
from .errors import BadLatents, BadSize, UnknownModel, UnsupportedModel, shown
from .sampler import guided
from .words import Prompt

BUNDLED = {"storybook": Path(__file__).resolve().parent.parent / "assets" / "storybook"}
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
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
    name: str | Path, *, dtype: torch.dtype, on_progress: Progress | None = None
) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline from "storybook", a local diffusers folder or a Hub id.

    `on_progress(sentence, fraction)` hears of the download. Raises `UnknownModel` with what to do,
    `UnsupportedModel` for pipelines of other families.
    """
    folder = _folder(name, on_progress)
    index = folder / "model_index.json"
    if not index.is_file():
        raise UnknownModel(f"{folder} is not a diffusers folder: expected a model_index.json in it.")
    try:
        family = json.loads(index.read_text()).get("_class_name")
    except ValueError:
        raise UnknownModel(f"The model_index.json in {folder} is not JSON.") from None
    if family != "StableDiffusionPipeline":
        raise UnsupportedModel(
            f"Expected a StableDiffusionPipeline (Stable Diffusion 1.x or 2.x); {name} is a {shown(family)}."
        )
    if on_progress:
        on_progress(f"Loading {name}", 1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torchvision.*")
        try:
            return StableDiffusionPipeline.from_pretrained(
                folder,
                dtype=dtype,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                local_files_only=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise UnknownModel(f"The model in {folder} could not be loaded: {error}") from error


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
    for part in PARTS:
        own = [f for f in files if f.startswith(part + "/")]
        wanted += [f for f in own if f.endswith((".json", ".txt"))]
        weights = [f for f in own if f.endswith(".safetensors")]
        plain = [f for f in weights if not re.search(r"\.(fp16|non_ema|bf16)\.", f)]
        wanted += plain or weights
    return wanted


def _reporting(repo: str, on_progress: Progress | None) -> Any:
    """A tqdm class that also tells `on_progress`."""
    from tqdm.auto import tqdm

    class Reporting(tqdm):  # type: ignore[type-arg,misc]
        def update(self, n: float | None = 1) -> bool | None:
            shown_ = super().update(n)
            if on_progress and self.total:
                on_progress(f"Downloading {repo}", min(1.0, self.n / self.total))
            return shown_

    return Reporting


@dataclass(frozen=True, kw_only=True, eq=False)
class Text:
    """What a batch is conditioned on, for as long as a run lasts.

    rows: (B, S, d), the text encoder's output. guidance: (B, e), the embedded guidance scale of models that
    take it as an input, or None. projected: its keys and values, by layer, filled by the first UNet call.
    """

    rows: Tensor
    guidance: Tensor | None = None
    projected: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Model:
    """A pipeline's parts behind embed, noise shape, predict and decode. Sizes are read from its configs."""

    def __init__(self, pipe: Any, device: torch.device, dtype: torch.dtype, name: str) -> None:
        missing = [part for part in PARTS if getattr(pipe, part, None) is None]
        if missing or getattr(pipe, "text_encoder_2", None) is not None:
            raise UnsupportedModel(
                "Expected a Stable Diffusion 1.x / 2.x pipeline with unet, vae, one text_encoder, "
                f"tokenizer and scheduler; {type(pipe).__name__} "
                + (f"has no {', '.join(missing)}." if missing else "has two text encoders.")
            )
        channels, latent_channels = pipe.unet.config.in_channels, pipe.vae.config.latent_channels
        if channels != latent_channels:
            raise UnsupportedModel(
                f"Expected a UNet that takes the autoencoder's {latent_channels} latent channels; got one "
                f"that takes {channels}, as those for inpainting do."
            )
        self.pipe, self.name, self.device, self.dtype = pipe, name, device, dtype
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.to(device=device, dtype=dtype).eval()
        if device.type == "cuda":  # what convolutions run fastest on there
            for part in (pipe.unet, pipe.vae):
                part.to(memory_format=torch.channels_last)
        self.unet = pipe.unet
        self.reads_guidance = getattr(pipe.unet.config, "time_cond_proj_dim", None) is not None
        self.sites = find_sites(self.unet)
        self._layers = {site: self.unet.get_submodule(site.name) for site in self.sites}
        self.channels = int(self.unet.config.in_channels)
        self.factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        size = self.unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        self.default_size = (h * self.factor, w * self.factor)
        self._processors = {site: Processor(site) for site in self.sites}
        self._times: dict[tuple[float, torch.dtype], Tensor] = {}
        self._embeddings: dict[tuple[int, ...], Tensor] = {}
        self._rgb: Tensor | None = None  # (C + 1, 3): latents -> RGB by least squares
        self._light_vae = sum(p.numel() for p in pipe.vae.decoder.parameters()) < 10_000_000

    @cached_property
    def fingerprint(self) -> str:
        """Tells models apart, in any process: a digest of every weight's name, shape and beginning."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.unet, self.pipe.vae, self.pipe.text_encoder):
            for name, weight in part.state_dict().items():
                digest.update(f"{name}{tuple(weight.shape)}".encode())
                digest.update(weight.detach().flatten()[:16].float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def latent_size(self, height: object, width: object) -> tuple[int, int]:
        """(h, w) of the latents for a picture size; None: the model's own. Raises `BadSize`."""
        sizes = []
        for name, value, default in (
            ("height", height, self.default_size[0]),
            ("width", width, self.default_size[1]),
        ):
            value = default if value is None else value
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 0 < value <= 4096 or value % self.factor:  # type: ignore[operator]
                raise BadSize(
                    f"The {name} is a multiple of {self.factor} pixels, at most 4096; got {shown(value)}."
                )
            sizes.append(int(value) // self.factor)  # type: ignore[call-overload,arg-type]
        return sizes[0], sizes[1]

    def check_latents(self, latents: object, size: tuple[int, int]) -> Tensor:
        """Given start latents as (1, C, h, w) in the model's dtype. Raises `BadLatents`."""
        shape = (1, self.channels, *size)
        if isinstance(latents, np.ndarray):
            latents = torch.from_numpy(latents)
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            raise BadLatents(
                f"latents are a tensor of floats of shape {shape}; got {type(latents).__name__}."
            )
        if tuple(latents.shape) not in (shape, shape[1:]):
            raise BadLatents(f"latents must have the shape {shape}; got {tuple(latents.shape)}.")
        if not bool(latents.isfinite().all()):
            raise BadLatents("latents must be finite; got some that are NaN or infinite.")
        return latents.reshape(shape).to(self.device, self.dtype)

    @torch.no_grad()
    def embed(self, prompt: Prompt) -> Tensor:
        """The text encoder's output, (1, S, d)."""
        if prompt.ids not in self._embeddings:
            encoder = self.pipe.text_encoder
            ids = torch.tensor([prompt.ids], device=self.device)
            mask = None
            if getattr(encoder.config, "use_attention_mask", False):
                mask = (torch.arange(prompt.length, device=self.device) <= prompt.end)[None].long()
            if len(self._embeddings) >= 64:
                self._embeddings.pop(next(iter(self._embeddings)))
            self._embeddings[prompt.ids] = encoder(ids, attention_mask=mask)[0].to(self.dtype)
        return self._embeddings[prompt.ids]

    def guided(self, guidance_scale: float) -> bool:
        """Whether an unconditional row is run beside the conditional one."""
        return guided(guidance_scale) and not self.reads_guidance

    @torch.no_grad()
    def text(self, rows: Sequence[Prompt | Tensor], guidance_scale: float = 1.0) -> Text:
        """A batch of prompts, or of embeddings (1, S, d) that stand in for a prompt's."""
        embedded = torch.cat([row if isinstance(row, Tensor) else self.embed(row) for row in rows])
        guidance = None
        if self.reads_guidance:  # Luo et al. 2023, section 4.2; diffusers counts the scale from 0 here
            scales = torch.full((len(rows),), float(guidance_scale) - 1)
            size = self.unet.config.time_cond_proj_dim
            guidance = self.pipe.get_guidance_scale_embedding(scales, embedding_dim=size)
            guidance = guidance.to(self.device, self.dtype)
        return Text(rows=embedded, guidance=guidance)

    def predict(self, x: Tensor, t: Tensor, text: Text | Tensor, call: Call) -> Tensor:
        """The UNet's output for latents (B, C, h, w) at timestep t with text of B or 2B rows.

        With 2B rows of text, the unconditional ones first, the latents are taken twice. A tensor (., S, d) is
        a text that is projected in this call alone.
        """
        if isinstance(text, Tensor):
            text = Text(rows=text)
        else:
            call.projected = text.projected
        x = torch.cat([x, x]) if text.rows.shape[0] == 2 * x.shape[0] else x
        with installed(self._layers, self._processors):
            out = self.unet(
                x,
                self._time(t),
                encoder_hidden_states=text.rows,
                timestep_cond=text.guidance,
                cross_attention_kwargs={"p2p": call},
                return_dict=False,
            )[0]
        if len(call.fired) != len(self.sites):  # diffusers only warns when a processor isn't asked
            raise UnsupportedModel(f"{len(call.fired)} of {len(self.sites)} attention layers took part.")
        return out

    def _time(self, t: Tensor) -> Tensor:
        """A timestep on the device: copied there once, so that no step waits for it."""
        if t.device == self.device:
            return t
        key = (float(t), t.dtype)
        if key not in self._times:
            self._times[key] = t.to(self.device)
        return self._times[key]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture."""
        vae = self.pipe.vae
        x = latents.reshape(1, *latents.shape[-3:]).to(self.device, self.dtype)
        pixels = vae.decode(x / vae.config.scaling_factor, return_dict=False)[0]
        return self.pipe.image_processor.postprocess(pixels, output_type="pil")[0]

    @torch.no_grad()
    def encode(self, picture: Image.Image) -> Tensor:
        """An RGB picture of the model's size -> latents (1, C, h, w), the mean of what the encoder says."""
        vae = self.pipe.vae
        x = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
        x = x.to(self.device, self.dtype) / 127.5 - 1
        return vae.encode(x).latent_dist.mean * vae.config.scaling_factor  # type: ignore[no-any-return]

    def preview(self, latents: Tensor) -> Image.Image:
        """A quick look at latents: decoded where the decoder is small, else by a linear map to RGB.

        The map is fitted to pictures decoded before, so it needs no constants of any one model.
        """
        x = latents.reshape(latents.shape[-3:])
        if self._light_vae or self.device.type == "cuda" or self._rgb is None:
            return self.decode(x)
        C, h, w = x.shape
        flat = torch.cat([x.float().cpu().reshape(C, -1).T, torch.ones(h * w, 1)], 1)  # (h w, C + 1)
        rgb = (flat @ self._rgb).reshape(h, w, 3).clamp(0, 1).mul(255).byte().numpy()
        return Image.fromarray(rgb).resize((w * self.factor, h * self.factor), Image.Resampling.BILINEAR)

    def learn_preview(self, latents: Tensor, image: Image.Image) -> None:
        """Fit the linear preview to a decoded picture."""
        if not bool(latents.isfinite().all()):
            return
        C, h, w = latents.shape[-3:]
        flat = torch.cat([latents.float().cpu().reshape(C, -1).T, torch.ones(h * w, 1)], 1)
        small = np.asarray(image.convert("RGB").resize((w, h), Image.Resampling.BOX), np.float32) / 255
        self._rgb = torch.linalg.lstsq(flat, torch.from_numpy(small.reshape(-1, 3))).solution

    def layers(self) -> Mapping[Site, Any]:
        return self._layers
