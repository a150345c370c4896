"""The recorded queries and keys of sources: kept under a budget, recorded again where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from .attention import PLAIN, Call, Injection, Record, RowEdit, Site, Term, map_sites
from .cache import RecordCache
from .errors import BadSource, BadSteps, shown
from .models import Model
from .plan import StepPlan, check_steps
from .sampler import Sampler, chosen
from .source import Sites, Source

Size = tuple[int, int]


def self_limit(asked: float | None, size: Size) -> float:
    """Largest self-attention grid injected. None: a quarter of the latent's pixels, at least 16 x 16."""
    return max(256, size[0] * size[1] / 4) if asked is None else asked


def needed(step: StepPlan, size: Size) -> float:
    """What a step wants recorded: self-attention on grids of up to so many pixels; -1: nothing at all."""
    if step.inject_self:
        return self_limit(step.self_pixels, size)
    return 0 if step.take.any() or (step.blend is not None and step.blend.source_tokens) else -1


class Records:
    """What a model's sources left behind, step by step."""

    def __init__(self, model: Model, budget: int) -> None:
        self.model = model
        self.cache: RecordCache[Record] = RecordCache(budget)
        self._samplers: dict[tuple[str, int], Sampler] = {}

    def sampler(self, steps: int, name: str = "ddim") -> Sampler:
        """The model's sampler of a name ("auto": the model's usual one) for a number of steps.

        Raises `BadSampler`, `BadSteps`.
        """
        config = self.model.pipe.scheduler.config
        key = (chosen(name, config), check_steps(steps))
        if key not in self._samplers:
            self._samplers[key] = Sampler.of(config, key[1], key[0])
        return self._samplers[key]

    def of(self, source: Source, i: int, self_pixels: float) -> Record | None:
        """Step i of a source, with self-attention on grids of up to `self_pixels`; -1: none needed.

        What the cache doesn't hold (evicted, larger grids than usual, an edit taken as source) is recorded
        by running the source's conditional row at its own latents.
        """
        if self_pixels < 0:
            return None
        size, record = source.latent_size, self.cache.get(source.key, i)
        if record is not None and all(
            site.name in record.self_
            for site in self.model.sites
            if site.kind == "self" and site.pixels(size) <= self_pixels
        ):
            return record
        call = Call(conditional=1, latent=size, record_self_pixels=max(self_pixels, self_limit(None, size)))
        step = None
        if source.origin is not None:
            parent, plan = source.origin
            step = plan.steps[i]
            if not step.plain:
                call.injection = self.injection(self.of(parent, i, needed(step, size)), [step], size)
        t = self.sampler(source.steps, source.sampler).timesteps[i]
        self.model.predict(source.latents[i, None], t, self.model.embed(source.prompt), call)
        record = call.recorded
        if call.injection is not None and step is not None:
            record = _composed(call.injection.record, record, step)
        self.keep(source.key, i, record)
        return record

    def keep(self, key: str, i: int, record: Record) -> None:
        """Put a step's record in the cache. The text's keys are the same in every step: kept once."""
        first = self.cache.get(key, 0) if i else None
        nbytes = 0
        for name, terms in record.cross.items():
            if first is not None and len(terms) == 1 and terms[0].mix is None:
                known = first.cross[name][0].k
                terms = (replace(terms[0], k=known),) if torch.equal(known, terms[0].k) else terms
                record.cross[name] = terms
            nbytes += sum(term.q.nbytes for term in terms)
            nbytes += sum(term.k.nbytes for term in terms) if first is None else 0
        nbytes += sum(q.nbytes + k.nbytes for q, k in record.self_.values())
        self.cache.put(key, i, record, nbytes)

    def injection(self, record: Record | None, steps: Sequence[StepPlan], size: Size) -> Injection:
        """The edits of as many conditional rows. record: may be None where no step takes from the source."""
        rows = []
        for step in steps:
            if step.plain:
                rows.append(PLAIN)
                continue
            take = torch.from_numpy(step.take.copy()) if step.take.any() else None
            keep = torch.from_numpy(step.keep.copy()) if step.keep.any() or take is None else None
            limit = self_limit(step.self_pixels, size) if step.inject_self else 0.0
            rows.append(RowEdit(take=take, keep=keep, self_pixels=limit))
        return Injection(record or Record(), rows, self.model.device, self.model.dtype)

    @torch.no_grad()
    def attention(self, source: Source, word: str | int, step: int | None, sites: Sites) -> np.ndarray:
        """See `Source.attention`."""
        tokens, size = source.prompt.find(word), source.latent_size
        chosen = self._chosen(sites, size)
        if step is not None and not (isinstance(step, int) and 0 <= step < source.steps):
            raise BadSteps(f"step is a number from 0 to {source.steps - 1}, or None; got {shown(step)}.")
        grid = chosen[0].grid(size)
        total = torch.zeros(grid)
        steps = range(source.steps) if step is None else [step]
        for i in steps if tokens else ():
            record = self.of(source, i, 0)
            assert record is not None
            for site in chosen:
                total += record.columns(site, tokens).mean(-1).reshape(grid).cpu()
        return (total / (len(steps) * len(chosen))).numpy()

    def _chosen(self, sites: Sites, size: Size) -> tuple[Site, ...]:
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


def _composed(parent: Record, own: Record, step: StepPlan) -> Record:
    """The edited map of a step as terms: sum_k M_k (mix_k take) + M* diag(keep)."""
    take, keep = torch.from_numpy(step.take.copy()), torch.from_numpy(step.keep.copy())
    record = Record(self_=own.self_)
    taken = bool(take.any())
    for name in parent.cross if taken else own.cross:
        theirs = parent.cross[name] if taken else ()
        mixed = tuple(Term(t.q, t.k, take if t.mix is None else t.mix @ take) for t in theirs)
        mine = tuple(Term(t.q, t.k, torch.diag(keep)) for t in own.cross.get(name, ()))
        record.cross[name] = mixed + mine
    return record
