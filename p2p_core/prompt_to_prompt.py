"""Prompt-to-Prompt (Hertz et al., ICLR 2023), Algorithm 1, cut in two so that the source is computed once.

    source   z_T ~ N(0, I);   for t = T..1:  z_{t-1}  <- DM(z_t,  P,  t),   M_t is kept
    edit     z*_T <- z_T;     for t = T..1:  z*_{t-1} <- DM(z*_t, P*, t) { M*_t <- Edit(M_t, M*_t, t) }
                                             z*_{t-1} <- mask z*_{t-1} + (1 - mask) z_{t-1}      (local blend)

A map M_t is kept as its queries and keys (`AttentionRecord`). Every Edit of the paper is linear,
M_t take_t + M*_t diag(keep_t): `plan` makes take and keep from the words, `attention` applies them.
Steps are counted by i from 0, the noisiest. Several edits of one source are one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .attention import AttentionLayer, AttentionRecord, map_sites
from .injection import AttentionContext
from .local_blend import add_up, blended, region
from .model.conditioning import StepInputs
from .plan import Plan
from .prompt import Prompt
from .sampler import Sampler, guide
from .source import Source
from .step_plan import BlendStep
from .steps import StepState

Recorded = Iterator[tuple[StepState, AttentionRecord]]  # z_{t-1} and M_t, for each step
Found = tuple[Tensor | None, Tensor | None]  # a blend's own maps: where its words are, and where not
Maps = AttentionRecord | None  # M_t, None where no edit reads it


@dataclass(frozen=True, kw_only=True)
class DM:
    """The diffusion model as Algorithm 1 calls it: one step of text encoder, UNet, guidance and sampler.

    unconditional: the negative prompt, or (N, S, d), an embedding for each step in its place. step_noise:
    (N - 1, C, h, w), what a stochastic sampler adds in each step but the last. ahead: (N, C, h, w), how far
    ahead of its latents each step asks the UNet: aligned inversion, see `inversion.methods`.
    """

    inputs: StepInputs
    sampler: Sampler
    unconditional: Prompt | Tensor
    step_noise: Tensor | None = None
    ahead: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    @property
    def latent(self) -> tuple[int, int]:
        """(h, w) of the latents."""
        return self.inputs.size

    @property
    def map_layers(self) -> tuple[AttentionLayer, ...]:
        """The cross-attention layers whose maps say where a word is."""
        return map_sites(self.inputs.model.sites, self.latent)

    def __call__(
        self, z: Tensor, prompts: Sequence[Prompt], i: int, context: AttentionContext, x_0: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(z_{t-1}, x_0) of z_t, all (n, C, h, w), with n prompts. `context` records or edits the maps.

        x_0: the clean latents, for samplers that look one step back.
        """
        row = self.unconditional
        text = self.inputs.rows(row[i, None] if isinstance(row, Tensor) else row, prompts)
        noise = None if self.step_noise is None else self.step_noise[i : i + 1]
        at = z if self.ahead is None else z + self.ahead[i]
        out = self.inputs.model.predict(at, self.sampler.timesteps[i], text, context)
        asked = None if self.ahead is None else at
        return self.sampler.step(z, guide(out, len(z), self.inputs.guidance_scale), i, x_0, noise, asked)


@torch.no_grad()
def record(dm: DM, prompt: Prompt, z_T: Tensor) -> Recorded:
    """The source: where the model leads from z_T (1, C, h, w), and its maps, step by step."""
    z, x_0 = z_T, None
    for i in range(len(dm)):
        context = dm.inputs.recording()
        z, x_0 = dm(z, [prompt], i, context, x_0)
        yield StepState(index=i + 1, total=len(dm), latents=z, denoised=x_0), context.recorded


@torch.no_grad()
def record_path(dm: DM, prompt: Prompt, path: Tensor, *, batch: int) -> Recorded:
    """The source along a path (N + 1, C, h, w) that is given: direct inversion (Ju et al. 2024, section 4).

    Guidance has no say there. No step waits for the one before, so `batch` of them are one call.
    """
    for first in range(0, len(dm), batch):
        z = path[first : min(first + batch, len(dm))]
        z = z if dm.ahead is None else z + dm.ahead[first : first + len(z)]
        context, conditioning = dm.inputs.recording(len(z)), dm.inputs.text([prompt] * len(z))
        times = dm.sampler.timesteps[first : first + len(z)]
        out = dm.inputs.model.predict(z, times, conditioning, context)
        for i, maps in enumerate(context.recorded.rows(len(z)), first):
            _, x_0 = dm.sampler.step(path[i, None], out[i - first, None], i)
            yield StepState(index=i + 1, total=len(dm), latents=path[i + 1, None], denoised=x_0), maps


def edit(dm: DM, source: Source, plan: Plan, records: Iterable[Maps]) -> Iterator[StepState]:
    """Algorithm 1 for one edit: z*_T <- z_T, then a step for each of the source's records M_T .. M_1."""
    state = source.state(0)
    for maps in records:
        (state,) = edit_step(dm, source, maps, [plan], [state])
        yield state


@torch.no_grad()
def edit_step(
    dm: DM, source: Source, maps: Maps, plans: Sequence[Plan], states: Sequence[StepState]
) -> list[StepState]:
    """The next step of n edits of one source, all at the same index i, as one batch."""
    i, n = states[0].index, len(states)
    steps = [plan.steps[i] for plan in plans]
    blends = {r: step.blend for r, step in enumerate(steps) if step.blend is not None}
    context = AttentionContext(
        conditional=n,
        latent=dm.latent,
        injection=dm.inputs.injection(maps, steps, source.prompt),
        collect={r: (blend.target_tokens, blend.subtract_tokens) for r, blend in blends.items()},
        collect_sites=frozenset(layer.name for layer in dm.map_layers),
    )
    z = torch.cat([state.latents for state in states])
    before = [state.denoised for state in states if state.denoised is not None]
    x_0 = torch.cat(before) if dm.sampler.c_prev[i] else None
    z, x_0 = dm(z, [plan.target for plan in plans], i, context, x_0)
    after = []
    for r, state in enumerate(states):
        # A copy, not a view: a state that is cached must not keep its whole batch alive.
        z_r, x_r = (y[r, None].clone() if n > 1 else y for y in (z, x_0))
        new = replace(state, index=i + 1, latents=z_r, denoised=x_r, reused=False)
        found = context.collected.get((r, 0)), context.collected.get((r, 1))
        after.append(_blend(dm, source, maps, blends[r], new, found) if r in blends else new)
    return after


def _blend(dm: DM, source: Source, maps: Maps, blend: BlendStep, state: StepState, found: Found) -> StepState:
    """Local blend: outside the words' region z*_{t-1} becomes z_{t-1}.

    The clean latents are blended too: a multistep sampler's update is linear pixel by pixel, so outside the
    mask the state stays exactly the source's.
    """
    finest = dm.inputs.refining_layers if blend.refine else ()
    sums = add_up(state.sums, blend, maps, *found, dm.map_layers, dm.latent, finest)
    if blend.threshold is None:  # the blend has not begun
        return replace(state, sums=sums)
    drawn = None if blend.mask is None else dm.inputs.drawn(blend.mask)
    mask = region(sums, blend, dm.latent, state.latents.device, drawn)
    outside = source.state(state.index)
    z = blended(state.latents, outside.latents, mask)
    return replace(
        state, sums=sums, mask=mask, latents=z, denoised=blended(state.denoised, outside.denoised, mask)
    )
