"""`PromptToPrompt`: generate or invert a picture once, then edit it by its prompt as often as you like."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from .cache.tiers import TieredCache, tier_budgets
from .contexts import plain
from .edit import Edit, check_edits
from .errors import BadInput, shown
from .images.load import fit_picture, open_picture, picture_of
from .inversion.invert import Picture, invert
from .inversion.methods import check_inverse_sampler, check_method
from .inversion.store import InversionStore, check_budget
from .model.loading import Progress, asked_dtype, choose_device, choose_dtype, load
from .model.model import Model
from .options import Options
from .plan import Plan
from .recipe import Recipe
from .sampler import check_guidance_scale, check_seed, noise
from .saving import Savers
from .source import Result, Source
from .start import Start
from .steps import OnStep, Steps, StepState
from .suggest import Suggesters


class PromptToPrompt(Savers, Suggesters):
    """Generate a picture once, then edit it by its prompt as often as you like.

    pipe: a diffusers Stable Diffusion 1.x, 2.x or XL pipeline. device: "cpu", "cuda" or None (auto). dtype:
    torch dtype, "fp32" / "fp16" / "bf16", "auto" (float16 on CUDA, else float32), or None: the pipe's own,
    "auto" for `from_pretrained`. inversions: a folder to keep inversions of real pictures in, or None;
    inversion_bytes: of all of them, None: 1 GiB. preview_vae: diffusers' AutoencoderTiny for the model's
    latents (TAESD), a folder that holds one, "auto" (on a GPU, if it is in the Hub's cache), or None.
    offload: on a GPU, the pipeline's own `enable_model_cpu_offload()`. A pipeline that is offloaded already
    (so, sequentially, or in groups) keeps its hooks, their device and dtype. compiled: `torch.compile` for
    what lies between the UNet's attention layers: the first run takes minutes longer.

    Recorded sources (see `cache.tiers`): cache_bytes is a budget on the device, or one for each tier by its
    name, "device", "host" and "disk", or None, chosen by what is free. cache_folder: where the disk's tier
    may write, None: there is none. cache_dtype: "fp16" or "bf16" halves float32 records. What fits nowhere is
    recorded again when it is needed.

    All calls may be made from several threads; the model runs one step at a time under `lock`. Whatever is
    wrong with an argument raises a `P2PError` that says what was expected and what came.
    """

    @plain()
    def __init__(self, pipe: Any, *, model_name: str = "", **options: Unpack[Options]) -> None:
        device, preview_vae = choose_device(options.get("device")), options.get("preview_vae")
        dtype = asked_dtype(options.get("dtype"), device)
        cache_dtype = asked_dtype(options.get("cache_dtype"), device)
        name = model_name or str(getattr(pipe, "name_or_path", "") or type(pipe).__name__)
        offload, compiled = options.get("offload", False), options.get("compiled", False)
        model = Model(pipe, device, dtype, name, preview_vae, offload, compiled)
        folder, inversions = options.get("cache_folder"), options.get("inversions")
        budgets = tier_budgets(options.get("cache_bytes"), model.device, folder)
        super().__init__(model, TieredCache(model.device, model.dtype, budgets, folder, cache_dtype))
        budget = check_budget(options.get("inversion_bytes"))
        self.inversions = None if inversions is None else InversionStore(inversions, budget)

    @classmethod
    @plain()
    def from_pretrained(
        cls,
        name: str | Path = "storybook",
        *,
        config: str | Path | None = None,
        on_progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> PromptToPrompt:
        """Load "storybook" (bundled), a local diffusers folder, a Hub id, or one `.safetensors` file.

        config: for a single file, a diffusers folder or Hub id of its family, with the configurations and the
        tokenizer that it lacks. `on_progress(sentence, fraction)` hears of a download. options: as
        `PromptToPrompt` has them. Raises `UnknownModel`, `UnsupportedModel`.
        """
        dtype = choose_dtype(options.get("dtype"), choose_device(options.get("device")))
        pipe = load(name, dtype=dtype, on_progress=on_progress, config=config)
        options.setdefault("preview_vae", "auto")
        options["dtype"] = dtype
        return cls(pipe, model_name=str(name), **options)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        return self.model.default_size

    def map_layers(self, source: Source) -> dict[str, tuple[str, ...]]:
        """The cross-attention layers in groups, such as "down 16 x 16", in order of execution: what
        `Source.attention` takes as `sites`."""
        return self.store.map_layers(self.check_source(source).latent_size)

    def set_progress_bar_config(self, **options: Any) -> None:
        """As the pipeline's own: options for `tqdm`, such as disable=True, for whatever is no generator."""
        self.pipe.set_progress_bar_config(**options)

    # --- sources ------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str,
        *,
        seed: int = 0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        height: int | None = None,
        width: int | None = None,
        latents: Tensor | str | None = None,
        sampler: str = "auto",
        on_step: OnStep = None,
    ) -> Source:
        """Generate a picture and record it.

        latents: start latents (1, C, h, w), standard normal, instead of the seed's; or a recipe's text of
        them. height, width: pixels; None: the model's own. sampler: one of `SAMPLERS`, or "auto", that of the
        model's scheduler.
        The noise of a stochastic sampler follows the start latents out of the same seed. on_step: called with
        each `StepState`; False from it stops the run, with a `P2PError`. Equal to diffusers' own pipeline
        with the scheduler of that name for the same start latents or CPU generator.
        """
        return self.iter_generate(
            prompt, seed=seed, steps=steps, guidance_scale=guidance_scale, negative_prompt=negative_prompt,
            height=height, width=width, latents=latents, sampler=sampler,
        ).run(on_step, self.pipe.progress_bar)  # fmt: skip

    def iter_generate(
        self,
        prompt: str,
        *,
        seed: int = 0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        height: int | None = None,
        width: int | None = None,
        latents: Tensor | str | None = None,
        sampler: str = "auto",
    ) -> Steps[Source]:
        """`generate` step by step: iterate over the states, then `result` is the source."""
        chosen, size = self.store.sampler(steps, sampler), self.model.latent_size(height, width)
        draws = len(chosen) - 1 if chosen.stochastic else 0
        self.model.texts.check_unconditional(negative_prompt)
        drawn = noise((1, self.model.channels, *size), check_seed(seed), draws).to(self.device, self.dtype)
        z_T = drawn[:1] if latents is None else self.model.check_latents(latents, size)
        start = Start(
            prompt=self.prompt(prompt),
            negative=self.prompt(negative_prompt),
            sampler=chosen,
            guidance_scale=check_guidance_scale(guidance_scale),
            path=z_T if chosen.start == 1 else chosen.start * z_T,
            seed=check_seed(seed) if latents is None else None,
            noise_seed=check_seed(seed),
            step_noise=drawn[1:] if draws else None,
        )
        return Steps(self.run_source(start))

    def iter_record_path(
        self, prompt: str, path: Tensor, *, guidance_scale: float = 7.5, negative_prompt: str = ""
    ) -> Steps[Source]:
        """Record a source along a path of latents that is given, such as `inversion.methods.ddim_path`.

        path: (N + 1, C, h, w), z_T first; it becomes the source's latents, whatever the model would have made
        of z_T, and its queries and keys are those of the prompt's conditional row at each z_t. That is direct
        inversion (Ju et al. 2024, section 4): the source is exact, a target starts from z_T.
        """
        if not isinstance(path, Tensor) or path.dim() != 4 or len(path) < 2:
            raise BadInput(
                "path is a tensor of N + 1 latents (N + 1, C, h, w), the noisiest first; "
                f"got {shown(tuple(path.shape) if isinstance(path, Tensor) else path)}."
            )
        size = (path.shape[-2], path.shape[-1])
        self.model.texts.check_unconditional(negative_prompt)
        start = Start(
            prompt=self.prompt(prompt),
            negative=self.prompt(negative_prompt),
            sampler=self.store.sampler(len(path) - 1),
            guidance_scale=check_guidance_scale(guidance_scale),
            path=torch.cat([self.model.check_latents(z[None], size) for z in path]),
        )
        return Steps(self.run_source(start))

    def invert(
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
        on_step: OnStep = None,
    ) -> Source:
        """A real picture as a source (Prompt-to-Prompt, real image editing).

        picture: a path, bytes, a PIL image or an array, as `open_picture` takes it; cropped around
        `center` (x, y in 0..1) or padded to the size. prompt: what it shows; only what it names can be
        edited. method: one of `inversion.methods.METHODS`, which that module explains. sampler: "auto" or
        "ddim". on_step: called with each `StepState` of the way to noise and back.
        """
        return self.iter_invert(
            picture, prompt, method=method, steps=steps, guidance_scale=guidance_scale,
            negative_prompt=negative_prompt, height=height, width=width, fit=fit, center=center,
            sampler=sampler,
        ).run(on_step, self.pipe.progress_bar)  # fmt: skip

    def iter_invert(
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
    ) -> Steps[Source]:
        """`invert` step by step: iterate over the states, then `result` is the source."""
        size, factor = self.model.latent_size(height, width), self.model.factor
        method = check_method(method)
        self.model.texts.check_unconditional(negative_prompt, method)
        request = Picture(
            image=fit_picture(open_picture(picture), (size[0] * factor, size[1] * factor), fit, center),
            prompt=self.prompt(prompt),
            negative=self.prompt(negative_prompt),
            sampler=self.store.sampler(steps, check_inverse_sampler(sampler)),
            guidance_scale=check_guidance_scale(guidance_scale),
            size=size,
            method=method,
            fit=fit,
            center=(float(center[0]), float(center[1])),
        )
        return Steps(invert(self, request, self.inversions))

    def source_of(self, recipe: Recipe, *, on_step: OnStep = None) -> Source:
        """The first source of a recipe once more, generated or inverted."""
        return self.iter_source_of(recipe).run(on_step, self.pipe.progress_bar)

    def iter_source_of(self, recipe: Recipe) -> Steps[Source]:
        """`source_of` step by step."""
        if "picture" not in recipe.source:
            return Steps(self.with_differences(self.iter_generate(**recipe.source), recipe))
        settings = {name: value for name, value in recipe.source.items() if name not in ("picture", "seed")}
        steps = self.iter_invert(picture_of(recipe.source["picture"]), **settings)
        return Steps(self.with_differences(steps, recipe))

    # --- edits --------------------------------------------------------------------------------------

    def edit(self, source: Source, edit: Edit, *, on_step: OnStep = None) -> Result:
        """Apply one edit. Steps that an earlier edit of this source shares are not computed again."""
        return self.iter_edit(source, edit).run(on_step, self.pipe.progress_bar)

    def iter_edit(self, source: Source, edit: Edit) -> Steps[Result]:
        """`edit` step by step: iterate over the states, the reused one first; then `result`.

        It can be closed after any step; what was computed is reused by the next edit.
        """
        return Steps(self._edit(source, self._plan(source, edit)))

    def _edit(self, source: Source, plan: Plan) -> Generator[StepState, None, Result]:
        if (known := self._states.longest_prefix(source, plan)).index > 0:
            yield replace(known, reused=True)
        (result,) = yield from self.run_edits(source, [plan])
        return result

    def edit_many(self, source: Source, edits: Iterable[Edit], *, on_step: OnStep = None) -> list[Result]:
        """Several edits of one source in one pass: shared steps once, the rest of a level as one batch.

        `steps_computed` of a result counts its own path's steps that were computed in this call, each shared
        one for the first result that needs it.
        """
        return self.iter_edit_many(source, edits).run(on_step, self.pipe.progress_bar)

    def iter_edit_many(self, source: Source, edits: Iterable[Edit]) -> Steps[list[Result]]:
        """`edit_many` step by step: the state of every step it computes, by their index; then `result`."""
        return Steps(self.run_edits(source, [self._plan(source, edit) for edit in check_edits(edits)]))

    def _plan(self, source: object, edit: Edit) -> Plan:
        source = self.check_source(source)
        before = source.origin and source.origin[1]
        return self.plan(source.prompt.text, edit, steps=source.steps, origin=before)

    record, record_along, inverting = iter_generate, iter_record_path, iter_invert  # names that were
    stream, stream_many, recording_of = iter_edit, iter_edit_many, iter_source_of
