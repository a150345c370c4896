"""Edits: Algorithm 1 with everything reused that is known.

A state depends on the source and on the plan's steps so far, and on nothing else. So every edit resumes at
the longest prefix that any edit before it has computed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial

import torch

from .cache.keys import key_of
from .cache.store import most_needed
from .contexts import plain
from .engine import Engine
from .local_blend import over
from .model.conditioning import StepInputs
from .plan import Plan
from .prompt import Prompt
from .prompt_to_prompt import DM, edit_step
from .source import Result, Source
from .steps import StepState
from .tree import run_tree

RunSettings = tuple[str | None, float | None, float | None]  # `Edit.run_settings`
SOURCES_OWN: RunSettings = (None, None, None)


class Editor(Engine):
    """An engine that edits sources."""

    def dm(self, source: Source, settings: RunSettings = SOURCES_OWN) -> DM:
        """The model as edits of a source ask it. What it makes of texts and plans holds for one run.

        settings: of the edits, see `Edit.run_settings`.
        """
        self.version()
        negative, guidance_scale, lora_scale = settings
        learned = source.unconditional if negative is None else None
        text = source.negative_prompt if negative is None else negative
        return DM(
            inputs=StepInputs(
                self.model,
                source.latent_size,
                source.guidance_scale if guidance_scale is None else guidance_scale,
                source.lora_scale if lora_scale is None else lora_scale,
            ),
            sampler=self.store.solver(source),
            unconditional=self.prompt(text) if learned is None else learned,
            step_noise=source.noise,
            ahead=source.ahead,
        )

    def run_edits(self, source: Source, plans: Sequence[Plan]) -> Generator[StepState, None, list[Result]]:
        """Edits of a source as trees, one for all that share their run's settings: yields the state of each
        step that it runs, returns the results."""
        begun = time.perf_counter()
        trees: dict[RunSettings, list[int]] = {}
        for number, plan in enumerate(plans):
            trees.setdefault(plan.edit.run_settings, []).append(number)
        results: dict[int, Result] = {}
        for settings, numbers in trees.items():
            dm, some = self.dm(source, settings), [plans[number] for number in numbers]
            known = [self._states.longest_prefix(source, plan) for plan in some]
            step = partial(self.edit_step, source, dm=dm)
            rows = 1 + self.model.guided(dm.inputs.guidance_scale)
            batch = self._edits_at_once(source.latent_size, rows=rows)
            ends, computed = yield from run_tree(source, some, known, step, batch=batch)
            for number, plan, state, count in zip(numbers, some, ends, computed, strict=True):
                results[number] = self._result(source, plan, state, count, begun)
        return [results[number] for number in range(len(plans))]

    @plain()
    def edit_step(
        self, source: Source, plans: Sequence[Plan], states: Sequence[StepState], dm: DM | None = None
    ) -> list[StepState]:
        """The next step of distinct edits, all at one index, with the source's record from where it lies.

        dm: of the run that these steps belong to. The new states are kept.
        """
        dm, i = dm or self.dm(source, plans[0].edit.run_settings), states[0].index
        with self.lock, self.model.at_lora_scale(dm.inputs.lora_scale):
            self.gone.clear()
            maps = self.store.of(source, i, most_needed(source, plans, i), dm.inputs)
            if i + 1 < source.steps:
                self.store.prefetch(source, i + 1, most_needed(source, plans, i + 1))
            after = edit_step(dm, source, maps, plans, states)
            for plan, state in zip(plans, after, strict=True):
                self._states.put(source, plan, state)
        return after

    def _result(self, source: Source, plan: Plan, state: StepState, computed: int, begun: float) -> Result:
        image = source.image.copy()
        if not plan.changes_nothing:
            key = (source.key, plan.digest(source.steps))
            image = self._states.image(*key, lambda: self.decode(state.latents, final=True))
        mask = None if state.mask is None else state.mask.float().cpu().numpy()
        if mask is not None and plan.edit.blend is not None and plan.edit.blend.keep_pixels:
            image = over(image, source.pixels, mask)
        return Result(
            image=image,
            latents=state.latents[0].clone(),
            plan=plan,
            mask=mask,
            steps_total=source.steps,
            steps_computed=computed,
            seconds=time.perf_counter() - begun,
            source=source,
        )

    @plain()
    def edited_source(self, result: Result) -> Source:
        """`Result.as_source`: the edit's path of latents, and its maps as sums of terms (`compose`)."""
        source, plan = result.source, result.plan
        states, dm = [source.state(0)], self.dm(source, plan.edit.run_settings)
        for k in range(1, source.steps + 1):
            known = self._states.state(source, plan, k)
            states.append(known or self.edit_step(source, [plan], states[-1:], dm)[0])  # forgotten since
        clean = [state.denoised for state in states[1:-1] if state.denoised is not None]
        return replace(
            source,
            prompt=plan.target,
            negative_prompt=dm.unconditional.text if isinstance(dm.unconditional, Prompt) else "",
            unconditional=None if isinstance(dm.unconditional, Prompt) else dm.unconditional,
            guidance_scale=dm.inputs.guidance_scale,
            lora_scale=dm.inputs.lora_scale,
            image=result.image,
            latents=torch.cat([state.latents for state in states]),
            seconds=result.seconds,
            key=key_of(source.key, plan.digest(source.steps)),
            origin=(source, plan),
            denoised=torch.cat(clean) if dm.sampler.history and clean else None,
        )
