"""The recorded queries and keys of sources: kept under a budget, recorded again where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from ..attention import AttentionContext, AttentionLayer, AttentionRecord, map_sites
from ..errors import BadSource, BadSteps, shown
from ..model.conditioning import StepInputs, self_limit
from ..model.model import Model
from ..plan import StepPlan, check_steps
from ..sampler import Sampler, check_scheduler, chosen
from ..source import Layers, Source
from .tiers import TieredCache

Size = tuple[int, int]


def needed(step: StepPlan, size: Size) -> float:
    """What a step wants recorded: self-attention on grids of up to so many pixels; -1: nothing at all."""
    if step.inject_self:
        return self_limit(step.self_pixels, size)
    return 0 if step.take.any() or (step.blend is not None and step.blend.source_tokens) else -1


class AttentionStore:
    """What a model's sources left behind, step by step."""

    def __init__(self, model: Model, cache: TieredCache) -> None:
        self.model, self.cache = model, cache
        self._samplers: dict[tuple[str, int, str], Sampler] = {}

    def sampler(self, steps: int, name: str = "ddim") -> Sampler:
        """The model's sampler of a name ("auto": the model's usual one) for a number of steps, its timesteps
        on the device. It is the scheduler's that the pipeline has now.

        Raises `BadSampler`, `BadSteps`, `UnsupportedModel`.
        """
        scheduler = self.model.pipe.scheduler
        config, kind = scheduler.config, type(scheduler).__name__
        key = (chosen(name, config, kind), check_steps(steps), f"{kind} {dict(config)}")
        if key not in self._samplers:
            check_scheduler(scheduler)
            made = Sampler.of(config, key[1], key[0])
            self._samplers[key] = replace(made, timesteps=made.timesteps.to(self.model.device))
        return self._samplers[key]

    def solver(self, source: Source) -> Sampler:
        """The sampler that a source was made with, whatever the pipeline's scheduler is now."""
        return source.solver or self.sampler(source.steps, source.sampler)

    def of(
        self, source: Source, i: int, self_pixels: float, run: StepInputs | None = None
    ) -> AttentionRecord | None:
        """Step i of a source, with self-attention on grids of up to `self_pixels`; -1: none needed.

        This is the tier of last resort: a call of one row more, beside the edit's own two, where side by side
        there are four in one call. They aren't joined, so that the source's row is the same to the last bit
        whatever is edited, and that several edits share it.
        run: what is under way, so that the source's text is not projected in each step that is missing.
        What the cache doesn't hold (evicted, larger grids than usual, an edit taken as source) is recorded
        by running the source's conditional row at its own latents.
        """
        if self_pixels < 0:
            return None
        size = source.latent_size
        run = run or StepInputs(self.model, size, source.guidance_scale)
        sites = self._self_sites(size, self_pixels)
        record = run.lent(source.key, i, sites) or self.cache.get(source.key, i, sites)
        if record is not None:
            return run.lend(source.key, i, sites, record)
        call = AttentionContext(
            conditional=1, latent=size, record_self_pixels=max(self_pixels, self_limit(None, size))
        )
        step = None
        if source.origin is not None:
            parent, plan = source.origin
            step = plan.steps[i]
            if not step.plain:
                call.injection = run.injection(self.of(parent, i, needed(step, size), run), [step])
        t = self.solver(source).timesteps[i]
        self.model.predict(source.latents[i, None], t, run.text([source.prompt]), call)
        record = self.cache.share(source.key, call.recorded)
        if call.injection is not None and step is not None:
            record = _composed(call.injection.record, record, step, run)
        return run.lend(source.key, i, sites, self.cache.keep(source.key, i, record))

    def prefetch(self, source: Source, i: int, self_pixels: float) -> None:
        """Begin to bring up what `of` will be asked for, if it lies in a lower tier."""
        if self_pixels >= 0 and i < source.steps:
            self.cache.prefetch(source.key, i, self._self_sites(source.latent_size, self_pixels))

    def _self_sites(self, size: Size, self_pixels: float) -> frozenset[str]:
        """Names of the self-attention layers on grids of up to `self_pixels`."""
        sites = (site for site in self.model.sites if site.kind == "self")
        return frozenset(site.name for site in sites if site.pixels(size) <= self_pixels)

    @torch.no_grad()
    def attention(self, source: Source, word: str | int, step: int | None, sites: Layers) -> np.ndarray:
        """See `Source.attention`."""
        tokens, size = source.prompt.find(word), source.latent_size
        chosen = self._chosen(sites, size)
        if step is not None and not (isinstance(step, int) and 0 <= step < source.steps):
            raise BadSteps(f"step is a number from 0 to {source.steps - 1}, or None; got {shown(step)}.")
        grid = chosen[0].grid(size)
        total = torch.zeros(grid, device=self.model.device)
        steps = range(source.steps) if step is None else [step]
        for i in steps if tokens else ():
            record = self.of(source, i, 0)
            assert record is not None
            for site in chosen:
                total += record.columns(site, tokens).mean(-1).reshape(grid)
        return (total / (len(steps) * len(chosen))).cpu().numpy()  # one copy, not one a site and step

    def _chosen(self, sites: Layers, size: Size) -> tuple[AttentionLayer, ...]:
        if sites is None:
            return map_sites(self.model.sites, size)
        cross = [site for site in self.model.sites if site.kind == "cross"]
        wanted = tuple(sites) if isinstance(sites, Iterable) and not isinstance(sites, str) else (sites,)
        chosen = tuple(s for s in cross if s.name in wanted or s.grid(size) == wanted)
        if not chosen or len({s.grid(size) for s in chosen}) > 1:
            grids = ", ".join(str(grid) for grid in dict.fromkeys(s.grid(size) for s in cross))
            raise BadSource(
                "sites are names of cross-attention layers of one grid, or a grid (h, w); "
                f"got {shown(sites)}. There are the grids {grids}, and layers such as {cross[0].name}."
            )
        return chosen


def _composed(
    parent: AttentionRecord, own: AttentionRecord, step: StepPlan, run: StepInputs
) -> AttentionRecord:
    """The edited map of a step as terms: sum_k M_k (mix_k take) + M* diag(keep).

    Layers and steps whose terms are mixed alike share one tensor of the run's.
    """
    taken, kept = bool(step.take.any()), bool(step.keep.any())
    record = AttentionRecord(self_=own.self_)
    for name in parent.cross if taken else own.cross:
        theirs = parent.cross[name] if taken else ()
        mixed = tuple(replace(t, mix=run.mix(step, t.mix)) for t in theirs)
        mine = own.cross.get(name, ()) if kept or not taken else ()  # what is all zero needn't be kept
        record.cross[name] = mixed + tuple(replace(t, mix=run.kept(step)) for t in mine)
    return record
