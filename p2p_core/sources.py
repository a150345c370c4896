"""Where sources come from: generated, inverted, along a path that is given, or from a recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import BadInput, shown
from .images.load import fit_picture, open_picture, picture_of
from .inversion.invert import Picture, invert
from .inversion.methods import check_inverse_sampler, check_method
from .inversion.store import InversionStore
from .names import says_our_names
from .recipe import Recipe
from .sampler import check_seed, noise
from .saving import Savers
from .settings import check_guidance_scale, check_lora_scale
from .source import Source
from .start import Start
from .steps import OnStep, Steps


class Sources(Savers):
    """An engine that makes sources."""

    inversions: InversionStore | None = None

    @says_our_names
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
        clip_skip: int | None = None,
        prompt_embeds: Any = None,
        lora_scale: float = 1.0,
        on_step: OnStep = None,
    ) -> Source:
        """Generate a picture and record it.

        latents: start latents (1, C, h, w), standard normal, instead of the seed's; or a recipe's text of
        them. height, width: pixels; None: the model's own. sampler: one of `SAMPLERS`, or "auto", that of the
        model's scheduler.
        The noise of a stochastic sampler follows the start latents out of the same seed. clip_skip: number of
        the text encoder's last layers that the prompt skips. prompt_embeds: (1, S, d), what the prompt is
        read as, in the encoder's place; its words are those of `prompt`. lora_scale: of all loaded LoRAs,
        times what `pipe.set_adapters` gave them. on_step: called with each `StepState`; False from it stops
        the run, with a `P2PError`. Equal to diffusers' own pipeline
        with the scheduler of that name for the same start latents or CPU generator.
        """
        return self.iter_generate(
            prompt, seed=seed, steps=steps, guidance_scale=guidance_scale, negative_prompt=negative_prompt,
            height=height, width=width, latents=latents, sampler=sampler, clip_skip=clip_skip,
            prompt_embeds=prompt_embeds, lora_scale=lora_scale,
        ).run(on_step, self.pipe.progress_bar)  # fmt: skip

    @says_our_names
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
        clip_skip: int | None = None,
        prompt_embeds: Any = None,
        lora_scale: float = 1.0,
    ) -> Steps[Source]:
        """`generate` step by step: iterate over the states, then `result` is the source."""
        chosen, size = self.store.sampler(steps, sampler), self.model.latent_size(height, width)
        draws = len(chosen) - 1 if chosen.stochastic else 0
        self.model.texts.check_unconditional(negative_prompt)
        drawn = noise((1, self.model.channels, *size), check_seed(seed), draws).to(self.device, self.dtype)
        z_T = drawn[:1] if latents is None else self.model.check_latents(latents, size)
        start = Start(
            prompt=self.prompt(prompt, clip_skip=clip_skip, prompt_embeds=prompt_embeds),
            negative=self.prompt(negative_prompt),
            sampler=chosen,
            guidance_scale=check_guidance_scale(guidance_scale),
            lora_scale=check_lora_scale(lora_scale),
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

    @says_our_names
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
        clip_skip: int | None = None,
        prompt_embeds: Any = None,
        lora_scale: float = 1.0,
        on_step: OnStep = None,
    ) -> Source:
        """A real picture as a source (Prompt-to-Prompt, real image editing).

        picture: a path, bytes, a PIL image or an array, as `open_picture` takes it; cropped around
        `center` (x, y in 0..1) or padded to the size. prompt: what it shows; only what it names can be
        edited. method: one of `inversion.methods.METHODS`, which that module explains. sampler: "auto" or
        "ddim". clip_skip, prompt_embeds, lora_scale: as in `generate`. on_step: called with each `StepState`
        of the way to noise and back.
        """
        return self.iter_invert(
            picture, prompt, method=method, steps=steps, guidance_scale=guidance_scale,
            negative_prompt=negative_prompt, height=height, width=width, fit=fit, center=center,
            sampler=sampler, clip_skip=clip_skip, prompt_embeds=prompt_embeds, lora_scale=lora_scale,
        ).run(on_step, self.pipe.progress_bar)  # fmt: skip

    @says_our_names
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
        clip_skip: int | None = None,
        prompt_embeds: Any = None,
        lora_scale: float = 1.0,
    ) -> Steps[Source]:
        """`invert` step by step: iterate over the states, then `result` is the source."""
        size, factor = self.model.latent_size(height, width), self.model.factor
        method = check_method(method)
        self.model.texts.check_unconditional(negative_prompt, method)
        request = Picture(
            image=fit_picture(open_picture(picture), (size[0] * factor, size[1] * factor), fit, center),
            prompt=self.prompt(prompt, clip_skip=clip_skip, prompt_embeds=prompt_embeds),
            negative=self.prompt(negative_prompt),
            lora_scale=check_lora_scale(lora_scale),
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

    record, record_along, inverting = iter_generate, iter_record_path, iter_invert  # names that were
    recording_of = iter_source_of
