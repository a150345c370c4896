"""The engine: a model, its lock, and what is kept of its sources."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .cache.gone import Gone
from .cache.lru import LRU
from .cache.states import StateCache
from .cache.store import AttentionStore
from .cache.tiers import TieredCache
from .contexts import lock_of, plain
from .errors import BadInput, shown
from .memory import edits_at_once
from .model.model import Model
from .prompt import Prompt
from .prompt_to_prompt import Recorded, record, record_path
from .recipe import scheduler_settings
from .settings import check_clip_skip, floats_text
from .source import Layers, Result, Source
from .start import Start
from .steps import StepState

PATH_BATCH = 8  # steps of a given path in one call; more gain little
MAX_PROMPT_BYTES = 16 << 20  # of tokenized prompts that are remembered
T = TypeVar("T")
R = TypeVar("R")


class Engine:
    """Runs sources and edits of one model, one step at a time under `lock`, from any thread."""

    def __init__(self, model: Model, cache: TieredCache) -> None:
        self.model = model
        self.lock = lock_of(model.unet)
        self.store = AttentionStore(model, cache)
        self._states = StateCache(*model.nbytes())
        self._prompts: LRU[Prompt] = LRU(MAX_PROMPT_BYTES)
        self.gone = Gone(self.lock, self._forget)
        self._last_version = model.version()

    @property
    def cache(self) -> TieredCache:
        """Where recorded sources lie: `nbytes`, `budget`, and for each tier `bytes_in(tier)`."""
        return self.store.cache

    @property
    def pipe(self) -> Any:
        """The diffusers pipeline. Its processors are changed only while a step runs."""
        return self.model.pipe

    @property
    def model_name(self) -> str:
        return self.model.name

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    def prompt(self, text: str, *, clip_skip: int | None = None, prompt_embeds: Any = None) -> Prompt:
        """`text` with its words and their token positions, and how it is read, see `generate`."""
        skipped = check_clip_skip(clip_skip)
        embeds = "" if prompt_embeds is None else floats_text(prompt_embeds)
        if skipped or embeds:
            self.model.texts.check_reading(skipped, embeds)
            return replace(self.prompt(text), clip_skip=skipped, embeds=embeds)
        tokenizers = self.model.texts.known
        known = self._prompts.get((text, tokenizers)) if isinstance(text, str) else None
        if known is None:
            known = self.model.texts.parse(text)
            self._prompts.put((text, tokenizers), known, known.nbytes)
        return known

    def version(self) -> str:
        """The model's version. When it changes, edits' states are forgotten; what sources recorded stays."""
        with self.lock:
            before, self._last_version = self._last_version, self.model.version()
            if before != self._last_version:
                self.forget_edits()
            return self._last_version

    def locked(self, steps: Generator[T, None, R], lora_scale: float = 1.0) -> Generator[T, None, R]:
        """The same steps, each computed under the lock, which is free between them."""
        while True:
            with self.lock, self.model.at_lora_scale(lora_scale):
                self.gone.clear()
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            yield step

    # --- sources ------------------------------------------------------------------------------------

    def run_source(self, start: Start) -> Generator[StepState, None, Source]:
        """Run and record a source: yields its states, returns it."""
        begun, sampler = time.perf_counter(), start.sampler
        key, dm = start.key(id(self.model), self.version()), start.dm(self.model)
        with self.lock:
            self.gone.clear()
            held = self.cache.steps(key)  # recorded before: a stop half way takes nothing away
        if len(start.path) == 1:
            steps = record(dm, start.prompt, start.path)
        elif start.aligned and held == len(sampler):  # recorded as it was inverted
            steps = iter(())
        else:
            batch = min(PATH_BATCH, self._edits_at_once(start.size, rows=1))
            steps = record_path(dm, start.prompt, start.path, batch=batch)
        states: list[StepState] = []
        try:
            for state in self.locked(self._caching(key, steps), start.lora_scale):
                states.append(state)
                yield state
            held = len(sampler)
        finally:
            if not held:  # stopped half way, so nobody can name this source
                self.gone.add(key)
        latents = torch.cat([start.path[:1], *(state.latents for state in states)]) if states else start.path
        clean = [state.denoised for state in states[:-1] if state.denoised is not None]
        return Source(
            prompt=start.prompt,
            seed=start.seed,
            steps=len(sampler),
            guidance_scale=start.guidance_scale,
            negative_prompt=start.negative.text,
            height=start.size[0] * self.model.factor,
            width=start.size[1] * self.model.factor,
            image=self._states.image(key, b"", lambda: self.decode(latents[-1], final=True)),
            latents=latents,
            seconds=time.perf_counter() - begun,
            key=key,
            engine=self,  # type: ignore[arg-type]  # `Savers` adds the rest
            unconditional=start.unconditional,
            sampler=sampler.name,
            noise=start.step_noise,
            ahead=start.ahead,
            lora_scale=start.lora_scale,
            denoised=torch.cat(clean) if sampler.history and clean else None,
            solver=sampler,
            notes=start.notes,
            noise_seed=start.noise_seed,
            scheduler=scheduler_settings(self.pipe.scheduler),
        )

    def _caching(self, key: str, steps: Recorded) -> Generator[StepState, None, None]:
        for state, maps in steps:
            self.cache.keep(key, state.index - 1, maps)
            yield state

    def _edits_at_once(self, size: tuple[int, int], *, rows: int) -> int:
        """Edits in one batch: as many as fit into what is free. rows: of the UNet's, for each."""
        return edits_at_once(self.model.unet, size, self.dtype, rows, self.device)

    # --- pictures, maps, memory ---------------------------------------------------------------------

    @plain()
    def decode(self, latents: Tensor, *, final: bool = False) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture. final: see `Model.decode`."""
        with self.lock:
            return self.model.decode(latents, final)

    @plain()
    def preview(self, state: StepState) -> Image.Image:
        """A quick picture of where a run is heading."""
        with self.lock:
            return self.model.preview(state.latents if state.denoised is None else state.denoised)

    @plain()
    def attention(
        self, source: Source, word: str | int, *, step: int | None = None, sites: Layers = None
    ) -> np.ndarray:
        """See `Source.attention`."""
        with self.lock:
            return self.store.attention(self.check_source(source), word, step, sites)

    @plain()
    def region(self, source: Source, words: str, *, refine: bool = True) -> np.ndarray:
        """See `Source.region`."""
        self.version()
        with self.lock:
            return self.store.region(self.check_source(source), words, refine)

    @plain()
    def sharpen(self, source: Source, word_map: np.ndarray) -> np.ndarray:
        """See `Source.sharpen`."""
        with self.lock:
            return self.store.sharpen(self.check_source(source), word_map)

    def forget(self, source: Source) -> None:
        """Free all that is kept of a source. It can still be edited: it is recorded again as needed."""
        with self.lock:
            self._forget(source.key)

    def hold(self, source: Source) -> None:
        """What is recorded of a source stays as long as it, or another of the same key, is alive."""
        self.gone.hold(source, source.key)

    def forget_edits(self) -> None:
        """Forget every edit's states, but keep what was recorded of sources."""
        self._states.clear()

    def check_source(self, source: object) -> Source:
        """A source of this engine. Raises `BadInput`."""
        if not isinstance(source, Source):
            got = f"{type(source).__name__} ({shown(source)})"
            if isinstance(source, Result):
                got = "a Result, which as_source() makes one"
            raise BadInput(f"Expected a Source, as generate() returns it; got {got}.")
        if source.engine is not self:  # type: ignore[comparison-overlap]
            raise BadInput("This Source is another PromptToPrompt's, or unpickled: load_source takes it.")
        return source

    def _forget(self, key: str) -> None:
        self.cache.drop(key)
        self._states.drop(key)
