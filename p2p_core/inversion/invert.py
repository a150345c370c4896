"""Real pictures as sources (Prompt-to-Prompt, real image editing), by any of the ways in `inversion`."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import checks
from ..cache.store import AttentionStore
from ..errors import BadMethod
from ..images.load import fitted, opened
from ..model.model import Model
from ..prompt import Prompt
from ..sampler import Sampler
from ..source import Inversion, Source, StepState
from ..states import OnStep, States, bytes_of, finish, key_of
from .methods import check_memory, ddim_steps, null_text
from .store import InversionStore, Shapes


class RealPictures:
    """`invert` and `inverting`. Mixed into `PromptToPrompt`, whose parts these are."""

    model: Model
    records: AttentionStore
    shelf: InversionStore | None
    lock: threading.RLock
    device: Any
    dtype: Any
    prompt: Any
    decode: Any
    _record: Any
    _version: Any

    def invert(self, picture: Any, prompt: str, *, on_step: OnStep = None, **settings: Any) -> Source:
        """A real picture as a source. Takes the arguments of `inverting`, and `on_step(state)`."""
        return finish(self.inverting(picture, prompt, **settings), on_step)

    def inverting(
        self,
        picture: Any,
        prompt: str,
        *,
        method: str = "direct",
        steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        height: int | None = None,
        width: int | None = None,
        fit: str = "crop",
        center: tuple[float, float] = (0.5, 0.5),
        sampler: str = "auto",
    ) -> States[Source]:
        """`invert` as a generator: a `StepState` for each step to noise and back, then the `Source`.

        picture: as `photos.opened` takes it; cropped around `center` (x, y in 0..1) or padded to the size.
        prompt: what it shows; only what it names can be edited. method: see `inversion`. sampler: "auto" or
        "ddim". Raises a `P2PError`.
        """
        P, negative = self.prompt(prompt), self.prompt(negative_prompt)
        ddim = self.records.sampler(steps, checks.inverse_sampler(sampler))
        scale = checks.guidance(guidance_scale)
        method = checks.method(method)
        if self.model.texts.two and method in ("null_text", "negative_prompt"):
            raise BadMethod(f"A model with two text encoders is inverted by direct or ddim; got {method}.")
        size = self.model.latent_size(height, width)
        pixels = (size[0] * self.model.factor, size[1] * self.model.factor)
        image = fitted(opened(picture), pixels, fit, center)
        x, y = center
        how = (method, fit, (float(x), float(y)))
        return self._inverting(P, negative, ddim, scale, size, image, how)

    def _inverting(
        self,
        P: Prompt,
        negative: Prompt,
        sampler: Sampler,
        scale: float,
        size: tuple[int, int],
        image: Image.Image,
        how: tuple[str, str, tuple[float, float]],
    ) -> States[Source]:
        begun, N, version = time.perf_counter(), len(sampler), self._version()
        method, fit, center = how
        fits = method == "null_text" and self.model.guided(scale)
        # the way to noise is the same for every method; null-text's embeddings belong to a guidance scale
        way = self._way_key(version, P, sampler, image)
        name = key_of(way, negative.ids, scale) if fits else way
        with self.lock:
            text = self.model.embed(P).shape[1:]
        paths = {"path": (N + 1, self.model.channels, *size)}
        both = {**paths, "unconditional": (N, *text)}
        known = self._shelved(name, both if fits else paths)
        ahead = known or self._shelved(way, paths)
        if fits and not known:
            check_memory(self.model, size)  # before anything is computed for nothing
        with self.lock:
            z_0 = self.model.encode(image)
        kept = (P.ids, negative.ids, N, scale, size, method, bytes_of(z_0))
        total = N * (1 + (not ahead) + (fits and not known))
        if ahead:
            path = ahead["path"].to(self.device, self.dtype)
        else:
            path = yield from self._way(ddim_steps(self.model, sampler, z_0, P), 0, total)
            self._shelve(way, path=path)
        own = None
        if known and fits:
            own = known["unconditional"].to(self.device, self.dtype)
        elif fits:
            fitting = null_text(self.model, sampler, path, P, negative, scale)
            own = yield from self._way(fitting, total - 2 * N, total)
            self._shelve(name, path=path, unconditional=own)
        if method == "negative_prompt":
            with self.lock:
                own = self.model.embed(P).expand(N, -1, -1)
        given = path if method == "direct" else path[:1]
        recording = self._record(
            P,
            negative,
            sampler,
            scale,
            size,
            given,
            None,
            key_of(id(self.model), version, *kept),
            own,
        )
        while True:
            try:
                state = next(recording)
            except StopIteration as stop:
                source: Source = stop.value
                break
            yield replace(state, index=total - N + state.index, total=total)
        # direct ends where the picture began: no need to decode it twice
        through = source.image if torch.equal(source.latents[-1:], z_0) else self.decode(z_0)
        report = Inversion(
            method=method,
            picture=image,
            psnr=psnr(source.image, image),
            psnr_vae=psnr(source.image, through),
            psnr_ceiling=psnr(through, image),
            fit=fit,
            center=center,
        )
        return replace(source, inversion=report, seconds=time.perf_counter() - begun)

    def _way_key(self, version: str, P: Prompt, sampler: Sampler, image: Image.Image) -> str:
        """Names all that the way from a picture to noise depends on, in any process."""
        vae, times = self.model.pipe.vae.config, sampler.timesteps.tolist()
        spread = [getattr(vae, f"latents_{part}", None) for part in ("mean", "std")]
        encoding = (vae.scaling_factor, *(None if part is None else list(part) for part in spread))
        steps = (times, sampler.alpha, sampler.alpha_prev, sampler.prediction, sampler.clip)
        kind = (str(self.dtype), str(self.model.vae.dtype))
        return key_of(
            self.model.fingerprint, version, kind, encoding, steps, P.ids, image.size, image.tobytes()
        )

    def _shelved(self, name: str, shapes: Shapes) -> dict[str, Tensor] | None:
        return self.shelf.get(name, shapes) if self.shelf else None

    def _shelve(self, name: str, **tensors: Tensor) -> None:
        if self.shelf:
            self.shelf.put(name, tensors)

    def _way(
        self, steps: Generator[tuple[int, Tensor], None, Tensor], done: int, total: int
    ) -> States[Tensor]:
        """A part of an inversion under the lock, step by step."""
        while True:
            with self.lock:
                try:
                    i, x = next(steps)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
            yield StepState(index=done + i, total=total, latents=x)


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of one size in dB; 99 where they are equal."""
    one, two = (np.asarray(image.convert("RGB"), np.float64) for image in (a, b))
    error = float(((one - two) ** 2).mean())
    return min(99.0, 10 * float(np.log10(255**2 / error))) if error else 99.0
