"""Real pictures as sources (Prompt-to-Prompt, real image editing), by any of the `methods`."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..cache.keys import key_of
from ..engine import Engine
from ..prompt import Prompt
from ..sampler import Sampler
from ..source import Inversion, Source
from ..start import Start
from ..steps import Steps, StepState
from .methods import check_memory, ddim_steps, null_text
from .store import InversionStore

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A real picture, fitted to the model's size, with what to invert it by. size: (h, w) of its latents."""

    image: Image.Image
    prompt: Prompt
    negative: Prompt
    sampler: Sampler
    guidance_scale: float
    size: tuple[int, int]
    method: str
    fit: str
    center: tuple[float, float]
    lora_scale: float


def invert(
    engine: Engine, picture: Picture, store: InversionStore | None
) -> Generator[StepState, None, Source]:
    """From a picture to noise and back: yields the states of both ways, returns the source.

    What `store` holds of this picture is not computed again.
    """
    begun, model, N = time.perf_counter(), engine.model, len(picture.sampler)
    prompt, negative, sampler = picture.prompt, picture.negative, picture.sampler
    learns = picture.method == "null_text" and model.guided(picture.guidance_scale)
    # The path to noise is the same for every method; null-text's embeddings belong to a guidance scale.
    path_key = _path_key(engine, picture)
    learned_key = key_of(path_key, negative.key, picture.guidance_scale)
    locked = partial(engine.locked, lora_scale=picture.lora_scale)
    with engine.lock, model.at_lora_scale(picture.lora_scale):
        text_shape = model.embed(prompt).shape[1:]
        z_0 = model.encode(picture.image)
    paths = {"path": (N + 1, model.channels, *picture.size)}
    learned = (
        store.get(learned_key, {**paths, "unconditional": (N, *text_shape)}) if store and learns else None
    )
    stored = learned or (store.get(path_key, paths) if store else None)
    if learns and not learned:
        check_memory(model, picture.size)  # before anything is computed for nothing
    aligned = picture.method == "aligned"  # whose source is recorded on the way to noise
    total = N * ((not aligned) + (not stored) + (learns and not learned)) or N

    start = partial(
        Start,
        prompt=prompt,
        negative=negative,
        sampler=sampler,
        guidance_scale=picture.guidance_scale,
        aligned=aligned,
        lora_scale=picture.lora_scale,
    )
    if stored:
        path = stored["path"].to(model.device, model.dtype)
    else:
        key = start(path=z_0).key(id(model), engine.version())
        keep = partial(engine.cache.keep, key) if aligned else None
        try:
            path = yield from _part(locked(ddim_steps(model, sampler, z_0, prompt, keep)), 0, total)
        except GeneratorExit:  # stopped half way, so nobody can name what was recorded
            engine.gone.add(key)
            raise
        if store:
            store.put(path_key, {"path": path})
    unconditional: Tensor | None = None
    if learned:
        unconditional = learned["unconditional"].to(model.device, model.dtype)
    elif learns:
        learning = null_text(model, sampler, path, prompt, negative, picture.guidance_scale)
        unconditional = yield from _part(locked(learning), total - 2 * N, total)
        if store:
            store.put(learned_key, {"path": path, "unconditional": unconditional})
    elif picture.method == "negative_prompt":
        with engine.lock, model.at_lora_scale(picture.lora_scale):
            unconditional = model.embed(prompt).expand(N, -1, -1)
    pinned = picture.method in ("direct", "aligned")
    begin = start(path=path if pinned else path[:1], unconditional=unconditional)
    source: Source = yield from _part(engine.run_source(begin), total - N, total)
    # Direct inversion ends where the picture began, so its picture is the autoencoder's own.
    decoded = source.image if torch.equal(source.latents[-1:], z_0) else engine.decode(z_0)
    report = Inversion(
        method=picture.method,
        picture=picture.image,
        psnr=psnr(source.image, picture.image),
        psnr_vae=psnr(source.image, decoded),
        psnr_ceiling=psnr(decoded, picture.image),
        fit=picture.fit,
        center=picture.center,
    )
    return replace(source, inversion=report, seconds=time.perf_counter() - begun)


def _part(states: Generator[StepState, None, T], done: int, total: int) -> Generator[StepState, None, T]:
    """The states of a part of a run of `total` steps, of which `done` lie before it."""
    steps = Steps(states)
    for state in steps:
        yield replace(state, index=done + state.index, total=total)
    return steps.result


def _path_key(engine: Engine, picture: Picture) -> str:
    """Names all that the path from a picture to noise depends on, in any process."""
    model, sampler, image = engine.model, picture.sampler, picture.image
    vae = model.pipe.vae.config
    spread = [getattr(vae, f"latents_{part}", None) for part in ("mean", "std")]
    encoding = (vae.scaling_factor, *(None if part is None else list(part) for part in spread))
    steps = (sampler.timesteps.tolist(), sampler.alpha, sampler.alpha_prev, sampler.prediction, sampler.clip)
    kind = (str(model.dtype), str(model.vae.dtype))
    weights = (model.fingerprint, engine.version())
    text = (picture.prompt.key, picture.lora_scale)
    return key_of(*weights, kind, encoding, steps, text, image.size, image.tobytes())


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of one size in dB; 99 where they are equal."""
    one, two = (np.asarray(image.convert("RGB"), np.float64) for image in (a, b))
    error = float(((one - two) ** 2).mean())
    return min(99.0, 10 * float(np.log10(255**2 / error))) if error else 99.0
