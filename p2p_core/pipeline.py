"""Prompt-to-Prompt (Hertz et al., ICLR 2023), Algorithm 1, with the source computed once.

    record:  z_T ~ N(0, I) with seed s
             for t = T..1:  z_{t-1} <- DM(z_t, P, t), and Q_t, K_t of every attention layer are kept
    edit:    z*_T <- z_T
             for t = T..1:  z*_{t-1} <- DM(z*_t, P*, t) with the maps  M_t take_t + M*_t keep_t
                            if blending:  z*_{t-1} <- mask ? z*_{t-1} : z_{t-1}

`take_t` and `keep_t` come from `plan`, where word swap, added phrases and re-weighting are one linear form;
`attention` applies it to queries and keys, `records` keeps them. A state depends on nothing but the source
and the plan's steps so far, so every edit resumes at the longest prefix that any earlier edit has computed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import checks
from .attention import AttentionContext, AttentionLayer, AttentionRecord, map_sites
from .cache.lru import LRU
from .cache.store import AttentionStore, needed
from .cache.tiers import TieredCache, tier_budgets
from .edit import Edit
from .errors import BadSource, NotEnoughMemory, shown
from .images.load import picture_of
from .inversion.invert import RealPictures
from .inversion.store import InversionStore
from .local_blend import add_up, blended, over, region
from .memory import edits_at_once, empty_cache
from .model.conditioning import StepInputs, self_limit
from .model.loading import Progress, choose_device, choose_dtype, load
from .model.model import Model
from .plan import Plan, StepPlan, make_plan
from .prompt import Prompt
from .recipe import Recipe
from .sampler import Sampler, guide, noise
from .source import Result, Sites, Source, StepState
from .states import OnStep, States, bytes_of, finish, key_of

STATE_BYTES = 256 << 20  # at most
STATES = 64 * 50  # as many as 64 edits of 50 steps leave behind
IMAGES = 512
ALONG = 8  # steps of a given path in one batch; more gain little
PROMPTS = 256  # tokenized prompts that are remembered


class PromptToPrompt(RealPictures):
    """Generate a picture once, then edit it by its prompt as often as you like.

    pipe: a diffusers Stable Diffusion 1.x, 2.x or XL pipeline. device: "cpu", "cuda" or None (auto). dtype:
    torch dtype, "fp32" / "fp16" / "bf16" or None (auto: float16 on CUDA, else float32). inversions: a folder
    to keep inversions of real pictures in, or None; inversion_bytes: of all of them, None: 1 GiB.
    preview_vae: diffusers' AutoencoderTiny for the model's latents (TAESD), a folder that holds one, "auto"
    (on a GPU, if it is in the Hub's cache), or None. offload: on a GPU, the pipeline's own
    `enable_model_cpu_offload()`. A pipeline that is offloaded already (so, sequentially, or in groups) keeps
    its hooks, and their device and its dtype are used. compiled: `torch.compile` for what lies between the
    UNet's attention layers (see `compile_regions`): the first run takes some minutes longer. It is meant for
    a GPU; on a CPU it needs a C++ compiler.

    Recorded sources (see `tiers`): cache_bytes is a budget on the device, or one for each tier by its name,
    "device", "host" and "disk", or None, chosen by what is free. cache_folder: where the disk's tier may
    write, None: there is none. cache_dtype: "fp16" or "bf16" halves float32 records. What fits nowhere is
    recorded again when it is needed.

    All calls may be made from several threads; the model runs one step at a time under `lock`.
    """

    def __init__(
        self,
        pipe: Any,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        cache_bytes: int | Mapping[str, int] | None = None,
        cache_folder: str | Path | None = None,
        cache_dtype: str | torch.dtype | None = None,
        inversions: str | Path | None = None,
        inversion_bytes: int | None = None,
        preview_vae: Any = None,
        offload: bool = False,
        compiled: bool = False,
        model_name: str = "",
    ) -> None:
        chosen = choose_device(device)
        name = model_name or checks.pipe_name(pipe)
        self.model = Model(pipe, chosen, choose_dtype(dtype, chosen), name, preview_vae, offload, compiled)
        self.lock = threading.RLock()
        store = None if cache_dtype is None else choose_dtype(cache_dtype, chosen)
        budgets = tier_budgets(cache_bytes, self.device, cache_folder)
        self.records = AttentionStore(
            self.model, TieredCache(self.device, self.dtype, budgets, cache_folder, store)
        )
        kept = checks.inversion_bytes(inversion_bytes)
        self.shelf = None if inversions is None else InversionStore(inversions, kept)
        self._dropped: deque[str] = deque()  # keys of sources that were stopped half way
        self._prompts: dict[str, Prompt] = {}
        self._last_version = self.model.version()
        a_state, an_image = self.model.nbytes()
        self._states: LRU[StepState] = LRU(min(STATES * a_state, STATE_BYTES))
        self._images: LRU[Image.Image] = LRU(min(IMAGES * an_image, STATE_BYTES))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "storybook",
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        cache_bytes: int | Mapping[str, int] | None = None,
        cache_folder: str | Path | None = None,
        cache_dtype: str | torch.dtype | None = None,
        inversions: str | Path | None = None,
        inversion_bytes: int | None = None,
        preview_vae: Any = "auto",
        offload: bool = False,
        compiled: bool = False,
        config: str | Path | None = None,
        on_progress: Progress | None = None,
    ) -> PromptToPrompt:
        """Load "storybook" (bundled), a local diffusers folder, a Hub id, or one `.safetensors` file.

        config: for a single file, a diffusers folder or Hub id of its family, with the configurations and the
        tokenizer that it lacks. `on_progress(sentence, fraction)` hears of a download. Raises `UnknownModel`,
        `UnsupportedModel`.
        """
        chosen = choose_device(device)
        pipe = load(name, dtype=choose_dtype(dtype, chosen), on_progress=on_progress, config=config)
        return cls(
            pipe,
            device=chosen,
            dtype=dtype,
            cache_bytes=cache_bytes,
            cache_folder=cache_folder,
            cache_dtype=cache_dtype,
            inversions=inversions,
            inversion_bytes=inversion_bytes,
            preview_vae=preview_vae,
            offload=offload,
            compiled=compiled,
            model_name=str(name),
        )

    # --- what it wraps ------------------------------------------------------------------------------

    @property
    def pipe(self) -> Any:
        """The diffusers pipeline. Its processors are changed only while a step runs."""
        return self.model.pipe

    @property
    def cache(self) -> TieredCache:
        """Where recorded sources lie: `nbytes`, `budget`, and for each tier `bytes_in(tier)`."""
        return self.records.cache

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def model_name(self) -> str:
        return self.model.name

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        return self.model.default_size

    def prompt(self, text: str) -> Prompt:
        """`text` with its words and their token positions."""
        known = self._prompts.get(text) if isinstance(text, str) else None
        if known is None:
            known = self.model.texts.parse(text)
            if len(self._prompts) >= PROMPTS:
                self._prompts.clear()
            self._prompts[text] = known
        return known

    def plan(self, source_prompt: str, edit: Edit, *, steps: int = 50) -> Plan:
        """What `edit` would do to a source of `source_prompt`, without running the model."""
        checks.edit(edit)
        return make_plan(self.prompt(source_prompt), self.prompt(edit.prompt), edit, steps)

    # --- record -------------------------------------------------------------------------------------

    def generate(self, prompt: str, *, on_step: OnStep = None, **settings: Any) -> Source:
        """Generate a picture and record it. Takes the arguments of `record`, and `on_step(state)`."""
        return finish(self.record(prompt, **settings), on_step)

    def record(
        self,
        prompt: str,
        *,
        seed: int = 0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        height: int | None = None,
        width: int | None = None,
        latents: Tensor | None = None,
        sampler: str = "auto",
    ) -> States[Source]:
        """`generate` as a generator: yields a `StepState` a step and returns the `Source`.

        latents: start latents (1, C, h, w), standard normal, instead of the seed's. height and width in
        pixels. sampler: see `sampler`; "auto" is that of the model's scheduler. The noise of a
        stochastic sampler follows the start latents out of the same seed. Equal to diffusers' own pipeline
        with the scheduler of that name for the same start latents or CPU generator. Raises a `P2PError`.
        """
        P, negative = self.prompt(prompt), self.prompt(negative_prompt)
        solver = self.records.sampler(steps, sampler)
        scale = checks.guidance(guidance_scale)
        size = self.model.latent_size(height, width)
        fresh = len(solver) - 1 if solver.stochastic else 0
        draws = noise((1, self.model.channels, *size), checks.seed(seed), fresh).to(self.device, self.dtype)
        x_T = draws[:1] if latents is None else self.model.check_latents(latents, size)
        x_T = x_T if solver.start == 1 else solver.start * x_T
        added = draws[1:] if fresh else None
        kept = (P.ids, negative.ids, len(solver), scale, size, solver.numbers, bytes_of(x_T))
        key = key_of(id(self.model), self._version(), *kept, b"" if added is None else bytes_of(added))
        given_seed = checks.seed(seed) if latents is None else None
        return self._record(P, negative, solver, scale, size, x_T, given_seed, key, added=added)

    def record_along(
        self, prompt: str, path: Tensor, *, guidance_scale: float = 7.5, negative_prompt: str = ""
    ) -> States[Source]:
        """Record a source along a path of latents that is given, such as `inversion.ddim_path`.

        path: (N + 1, C, h, w), z_T first; it becomes the source's latents, whatever the model would have made
        of z_T, and its queries and keys are those of the prompt's conditional row at each z_t. That is direct
        inversion (Ju et al. 2024, section 4): the source is exact, a target starts from z_T.
        Raises a `P2PError`.
        """
        P, negative = self.prompt(prompt), self.prompt(negative_prompt)
        scale = checks.guidance(guidance_scale)
        if not isinstance(path, Tensor) or path.dim() != 4 or len(path) < 2:
            raise BadSource(
                "path is a tensor of N + 1 latents (N + 1, C, h, w), the noisiest first; "
                f"got {shown(tuple(path.shape) if isinstance(path, Tensor) else path)}."
            )
        sampler = self.records.sampler(len(path) - 1)
        size = (path.shape[-2], path.shape[-1])
        path = torch.cat([self.model.check_latents(z[None], size) for z in path])
        kept = (P.ids, negative.ids, len(sampler), scale, size, sampler.numbers, bytes_of(path))
        key = key_of(id(self.model), self._version(), *kept)
        return self._record(P, negative, sampler, scale, size, path, None, key)

    def _record(
        self,
        P: Prompt,
        negative: Prompt,
        sampler: Sampler,
        scale: float,
        size: tuple[int, int],
        given: Tensor,
        seed: int | None,
        key: str,
        own: Tensor | None = None,
        added: Tensor | None = None,
    ) -> States[Source]:
        """given: z_T alone (1, C, h, w), or the whole path (N + 1, C, h, w). own: (N, S, d), each step's
        unconditional embedding instead of the negative prompt's. added: (N - 1, C, h, w), noise of steps."""
        begun = time.perf_counter()
        N, path = len(sampler), [given[:1]]
        denoised: list[Tensor] = []
        with self.lock:
            self._clear_dropped()
            done = self.cache.steps(key) > 0  # recorded before: stopping half way takes nothing away
        run = StepInputs(self.model, size, scale)
        if len(given) == 1:
            states = self._freely(run, P, negative, sampler, given, key, own, added)
        else:
            states = self._along(run, P, sampler, given, key)
        try:
            for state in states:
                path.append(state.latents)
                if sampler.history and state.denoised is not None:
                    denoised.append(state.denoised)
                yield state
            done = True
        finally:
            if not done:  # stopped half way, so nobody can name this source
                self._drop(key)
        image = self._decode(key, b"", path[-1])
        return Source(
            prompt=P,
            seed=seed,
            steps=N,
            guidance_scale=scale,
            negative_prompt=negative.text,
            height=size[0] * self.model.factor,
            width=size[1] * self.model.factor,
            image=image,
            latents=torch.cat(path),
            seconds=time.perf_counter() - begun,
            key=key,
            engine=self,
            unconditional=own,
            sampler=sampler.name,
            noise=added,
            denoised=torch.cat(denoised[:-1]) if len(denoised) > 1 else None,
            solver=sampler,
        )

    def _freely(
        self,
        run: StepInputs,
        P: Prompt,
        negative: Prompt,
        sampler: Sampler,
        x: Tensor,
        key: str,
        own: Tensor | None,
        added: Tensor | None,
    ) -> Iterator[StepState]:
        """Record where the model leads from z_T, x (1, C, h, w). own, added: as `_record` has them."""
        x_0 = None
        for i in range(len(sampler)):
            with self.lock, torch.no_grad():
                self._clear_dropped()
                call = AttentionContext(
                    conditional=1, latent=run.size, record_self_pixels=self_limit(None, run.size)
                )
                text = run.rows(negative if own is None else own[i, None], [P])
                out = guide(self.model.predict(x, sampler.timesteps[i], text, call), 1, run.guidance_scale)
                x, x_0 = sampler.step(x, out, i, x_0, _of_step(added, i))
                self.cache.keep(key, i, call.recorded)
            yield StepState(index=i + 1, total=len(sampler), latents=x, denoised=x_0)

    def _along(
        self, run: StepInputs, P: Prompt, sampler: Sampler, path: Tensor, key: str
    ) -> Iterator[StepState]:
        """Record along a path (N + 1, C, h, w). Guidance has no say there, and no step waits for the one
        before: several are one batch."""
        N, most = len(sampler), min(ALONG, self._edits_at_once(run.size, rows=1))
        for first in range(0, N, most):
            steps = range(first, min(first + most, N))
            n, states = len(steps), []
            with self.lock, torch.no_grad():
                self._clear_dropped()
                pixels = self_limit(None, run.size)
                call = AttentionContext(
                    conditional=n, latent=run.size, record_self_pixels=pixels, record_rows=n
                )
                times = sampler.timesteps[first : first + n]
                out = self.model.predict(path[first : first + n], times, run.text([P] * n), call)
                for i, record, given in zip(steps, call.recorded.rows(n), out, strict=True):
                    _, x_0 = sampler.step(path[i, None], given[None], i)
                    self.cache.keep(key, i, record)
                    states.append(StepState(index=i + 1, total=N, latents=path[i + 1, None], denoised=x_0))
            yield from states

    def source_of(self, recipe: Recipe, *, on_step: OnStep = None) -> Source:
        """The first source of a recipe once more, generated or inverted. Raises a `P2PError`."""
        return finish(self.recording_of(recipe), on_step)

    def recording_of(self, recipe: Recipe) -> States[Source]:
        """`source_of` as a generator."""
        settings = dict(recipe.source)
        if "picture" not in settings:
            return self.record(**settings)
        settings.pop("seed", None)
        return self.inverting(picture_of(settings.pop("picture")), **settings)

    # --- edit ---------------------------------------------------------------------------------------

    def edit(self, source: Source, edit: Edit, *, on_step: OnStep = None) -> Result:
        """Apply one edit. Steps that an earlier edit of this source shares are not computed again."""
        return finish(self.stream(source, edit), on_step)

    def stream(self, source: Source, edit: Edit) -> States[Result]:
        """`edit` as a generator: yields a `StepState` a step, the reused one first; returns the `Result`.

        It can be closed after any step; what was computed is reused by the next edit.
        """
        plan = self._plan(source, edit)
        return self._stream(source, plan)

    def _stream(self, source: Source, plan: Plan) -> States[Result]:
        begun = time.perf_counter()
        N = source.steps
        run, state = self._run(source), self._furthest(source, plan)
        first = state.index
        if first > 0:
            yield replace(state, reused=True)
        for i in range(first, N):
            state = (self._tried(source, i, [state], [plan], run) or [state])[0]
            yield state
        return self._result(source, plan, state, N - first, begun)

    def edit_many(self, source: Source, edits: Iterable[Edit], *, on_step: OnStep = None) -> list[Result]:
        """Several edits of one source in one pass: shared steps once, the rest of a level as one batch.

        The plans form a tree whose nodes are `plan.digest(k)`; it is run level by level. `steps_computed`
        of a result counts its own path's steps that were computed in this call, each shared one for the
        first result that needs it.
        """
        return finish(self.stream_many(source, edits), on_step)

    def stream_many(self, source: Source, edits: Iterable[Edit]) -> States[list[Result]]:
        """`edit_many` as a generator: yields the `StepState` of every step it computes, in order of their
        index; returns the `Result`s. It can be closed at any time; what was computed is kept."""
        plans = [self._plan(source, edit) for edit in checks.edits(edits)]
        return self._stream_many(source, plans)

    def _stream_many(self, source: Source, plans: list[Plan]) -> States[list[Result]]:
        begun = time.perf_counter()
        run = self._run(source)
        states = [self._furthest(source, plan) for plan in plans]
        computed = [0] * len(plans)
        at_once = self._rows_at_once(source)
        for i in range(source.steps):
            nodes: dict[bytes, list[int]] = {}
            for p, plan in enumerate(plans):
                if states[p].index == i:
                    nodes.setdefault(plan.digest(i + 1), []).append(p)
            firsts = [members[0] for members in nodes.values()]
            while firsts:
                chunk = firsts[:at_once]
                after = self._tried(source, i, [states[p] for p in chunk], [plans[p] for p in chunk], run)
                if after is None:  # memory ran out: fewer at once from here on
                    at_once = len(chunk) // 2
                    continue
                firsts = firsts[at_once:]
                for p, state in zip(chunk, after, strict=True):
                    computed[p] += 1
                    for member in nodes[plans[p].digest(i + 1)]:
                        states[member] = state
                yield from after
        return [
            self._result(source, plan, state, count, begun)
            for plan, state, count in zip(plans, states, computed, strict=True)
        ]

    def _tried(
        self, source: Source, i: int, states: list[StepState], plans: list[Plan], run: StepInputs
    ) -> list[StepState] | None:
        """`_advance`, or None if the device's memory ran out. Raises `NotEnoughMemory` for a single edit."""
        try:
            return self._advance(source, i, states, plans, run)
        except torch.OutOfMemoryError as error:
            if len(states) == 1:
                h, w = source.height, source.width
                raise NotEnoughMemory(
                    f"One edit of {w} x {h} pixels does not fit into what is free on {self.device}; "
                    "a smaller cache_bytes, offload=True or half precision leaves more of it."
                ) from error
        empty_cache(self.device)  # here, where the error's frames hold no tensors any more
        return None

    def _advance(
        self,
        source: Source,
        i: int,
        states: list[StepState],
        plans: list[Plan],
        run: StepInputs | None = None,
    ) -> list[StepState]:
        """Step i of several distinct edits as one batch. The new states are kept under their digests."""
        n, scale, run = len(states), source.guidance_scale, run or self._run(source)
        sampler = self.records.solver(source)
        todo = [plan.steps[i] for plan in plans]
        size = source.latent_size
        sites = map_sites(self.model.sites, size)
        with self.lock, torch.no_grad():
            self._clear_dropped()
            own = source.unconditional
            negative = self.prompt(source.negative_prompt) if own is None else own[i, None]
            text = run.rows(negative, [plan.target for plan in plans])
            record = self.records.of(source, i, max(needed(step, size) for step in todo), run)
            if i + 1 < source.steps:
                self.records.prefetch(source, i + 1, max(needed(plan.steps[i + 1], size) for plan in plans))
            call = AttentionContext(conditional=n, latent=size)
            if any(not step.plain for step in todo):
                call.injection = run.injection(record, todo)
            call.collect = {
                r: (step.blend.target_tokens, step.blend.subtract_tokens)
                for r, step in enumerate(todo)
                if step.blend is not None
            }
            call.collect_sites = frozenset(site.name for site in sites)
            x = torch.cat([state.latents for state in states])
            out = self.model.predict(x, sampler.timesteps[i], text, call)
            before = [state.denoised for state in states if state.denoised is not None]
            x_0 = torch.cat(before) if sampler.before[i] else None
            x, x_0 = sampler.step(x, guide(out, n, scale), i, x_0, _of_step(source.noise, i))
            after = []
            for r, (state, step) in enumerate(zip(states, todo, strict=True)):
                # A copy, not a view: a state that is kept must not keep its whole batch.
                own, own_0 = (y[r : r + 1].clone() if n > 1 else y for y in (x, x_0))
                new = replace(state, index=i + 1, latents=own, denoised=own_0, reused=False)
                if step.blend is not None:
                    new = self._blend(source, new, step, call, r, record, sites, run)
                self._states.put((source.key, plans[r].digest(i + 1)), new, new.nbytes)
                after.append(new)
        return after

    def _blend(
        self,
        source: Source,
        state: StepState,
        step: StepPlan,
        call: AttentionContext,
        row: int,
        record: AttentionRecord | None,
        sites: tuple[AttentionLayer, ...],
        run: StepInputs,
    ) -> StepState:
        """Local blend after a step: outside the words' region the latents become the source's.

        So does what a multistep sampler remembers. Its step is linear pixel by pixel, so where the mask is 0
        the state is then the source's own, as if it had never been left.
        """
        assert step.blend is not None
        size = source.latent_size
        target, subtract = call.collected.get((row, 0)), call.collected.get((row, 1))
        sums = add_up(state.sums, step.blend, record, target, subtract, sites, sites[0].grid(size))
        if step.blend.threshold is None:
            return replace(state, sums=sums)
        drawn = None if step.blend.mask is None else run.drawn(step.blend.mask)
        mask = region(sums, step.blend, size, self.device, drawn)
        theirs, denoised = source.after(state.index), state.denoised
        if theirs.denoised is not None and denoised is not None:
            denoised = blended(denoised, theirs.denoised, mask)
        latents = blended(state.latents, theirs.latents, mask)
        return replace(state, sums=sums, mask=mask, latents=latents, denoised=denoised)

    # --- an edit as a source ------------------------------------------------------------------------

    def edited_source(self, result: Result) -> Source:
        """`Result.as_source`: the edit's path of latents, and its maps as sums of terms."""
        source, plan = result.source, result.plan
        path = [self._start(source)]
        run = self._run(source)
        for k in range(1, source.steps + 1):
            state = self._known(source, plan, k)
            path.append(state or self._advance(source, k - 1, path[-1:], [plan], run)[0])  # forgotten since
        denoised = [state.denoised for state in path[1:-1] if state.denoised is not None]
        remembers = self.records.solver(source).history and denoised
        return Source(
            prompt=plan.target,
            seed=source.seed,
            steps=source.steps,
            guidance_scale=source.guidance_scale,
            negative_prompt=source.negative_prompt,
            height=source.height,
            width=source.width,
            image=result.image,
            latents=torch.cat([state.latents for state in path]),
            seconds=result.seconds,
            key=key_of(source.key, plan.digest(source.steps)),
            engine=self,
            origin=(source, plan),
            unconditional=source.unconditional,
            sampler=source.sampler,
            noise=source.noise,
            denoised=torch.cat(denoised) if remembers else None,
            inversion=source.inversion,
            solver=source.solver,
        )

    # --- looks --------------------------------------------------------------------------------------

    def attention(
        self, source: Source, word: str | int, *, step: int | None = None, sites: Sites = None
    ) -> np.ndarray:
        """See `Source.attention`."""
        with self.lock:
            return self.records.attention(self._source(source), word, step, sites)

    def map_layers(self, source: Source) -> dict[str, tuple[str, ...]]:
        """The cross-attention layers in groups, such as "down 16 x 16", in order of execution: what
        `Source.attention` takes as `sites`."""
        groups: dict[str, tuple[str, ...]] = {}
        for site in self.model.sites:
            if site.kind == "cross":
                h, w = site.grid(self._source(source).latent_size)
                name = f"{site.name.split('_')[0]} {h} x {w}"
                groups[name] = (*groups.get(name, ()), site.name)
        return groups

    def decode(self, latents: Tensor) -> Image.Image:
        """Latents (C, h, w) or (1, C, h, w) -> picture."""
        with self.lock:
            return self.model.decode(latents)

    def preview(self, state: StepState) -> Image.Image:
        """A quick picture of where a run is heading."""
        with self.lock:
            return self.model.preview(state.latents if state.denoised is None else state.denoised)

    def forget(self, source: Source) -> None:
        """Free all that is kept of a source. It can still be edited: it is recorded again as needed."""
        with self.lock:
            for store in (self.cache, self._states, self._images):
                store.drop(source.key)

    def forget_edits(self) -> None:
        """Forget every edit's states, but keep what was recorded of sources."""
        self._states.clear()
        self._images.clear()

    def _drop(self, key: str) -> None:
        """Forget what was recorded under a key: now if no other thread runs the model, else before the next
        step. A generator may be closed by the garbage collector, in any thread, which must not wait here."""
        self._dropped.append(key)
        if self.lock.acquire(blocking=False):
            try:
                self._clear_dropped()
            finally:
                self.lock.release()

    def _clear_dropped(self) -> None:
        while self._dropped:
            self.cache.drop(self._dropped.popleft())

    # --- small parts --------------------------------------------------------------------------------

    def _version(self) -> str:
        """The model's version. When it changes (a LoRA, say) what edits had computed is forgotten; what was
        recorded of sources stays what it was, and edits of them run with the model as it is."""
        with self.lock:
            before, self._last_version = self._last_version, self.model.version()
            if before != self._last_version:
                self.forget_edits()
            return self._last_version

    def _run(self, source: Source) -> StepInputs:
        self._version()
        return StepInputs(self.model, source.latent_size, source.guidance_scale)

    def _rows_at_once(self, source: Source) -> int:
        """Edits in one batch: as many as fit into what is free."""
        return self._edits_at_once(
            source.latent_size, rows=2 if self.model.guided(source.guidance_scale) else 1
        )

    def _edits_at_once(self, size: tuple[int, int], *, rows: int) -> int:
        return edits_at_once(self.pipe.unet, size, self.dtype, rows, self.device)

    def _source(self, source: object) -> Source:
        if not isinstance(source, Source):
            raise BadSource(
                f"Expected a Source, as generate() returns it; got {type(source).__name__} ({shown(source)})."
            )
        if source.engine is not self:
            raise BadSource("This Source was made by another PromptToPrompt; edit it with source.engine.")
        return source

    def _plan(self, source: Source, edit: Edit) -> Plan:
        source = self._source(source)
        checks.edit(edit)
        return make_plan(source.prompt, self.prompt(edit.prompt), edit, source.steps)

    def _start(self, source: Source) -> StepState:
        return source.after(0)

    def _known(self, source: Source, plan: Plan, k: int) -> StepState | None:
        """The state after k steps if it is known: computed before, or the source's own."""
        if plan.digest(k) == b"":
            return source.after(k)
        return self._states.get((source.key, plan.digest(k)))

    def _furthest(self, source: Source, plan: Plan) -> StepState:
        for k in range(source.steps, 0, -1):
            state = self._known(source, plan, k)
            if state is not None:
                return state
        return self._start(source)

    def _result(self, source: Source, plan: Plan, state: StepState, computed: int, begun: float) -> Result:
        if plan.digest(source.steps) == b"":
            image = source.image
        else:
            image = self._decode(source.key, plan.digest(source.steps), state.latents)
        mask = None if state.mask is None else state.mask.float().cpu().numpy()
        if mask is not None and plan.edit.blend is not None and plan.edit.blend.keep_pixels:
            image = over(image, source.pixels, mask)
        return Result(
            image=image,
            latents=state.latents[0],
            plan=plan,
            mask=mask,
            steps_total=source.steps,
            steps_computed=computed,
            seconds=time.perf_counter() - begun,
            source=source,
        )

    def _decode(self, key: str, digest: bytes, latents: Tensor) -> Image.Image:
        image = self._images.get((key, digest))
        if image is None:
            image = self.decode(latents)
            self._images.put((key, digest), image, 3 * image.width * image.height)
        return image


def _of_step(noise: Tensor | None, i: int) -> Tensor | None:
    """What a stochastic sampler adds in step i, (1, C, h, w). The last step adds nothing."""
    return None if noise is None or i >= len(noise) else noise[i, None]
