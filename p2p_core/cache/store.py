"""The recorded queries and keys of sources: kept under a budget, recorded again where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..attention import AttentionLayer, AttentionRecord, attention_columns, map_sites
from ..compose import compose
from ..contexts import plain
from ..errors import BadInput, BadSource, BadSteps, shown
from ..injection import AttentionContext
from ..model.conditioning import StepInputs, self_limit
from ..model.model import Model
from ..plan import Plan, check_steps
from ..prompt import Prompt
from ..refine import refined, refining_layers
from ..sampler import Sampler
from ..schedulers import check_scheduler, make_sampler, sampler_name, sampler_note
from ..source import Layers, Source
from ..step_plan import StepPlan
from .tiers import TieredCache

Size = tuple[int, int]


def needed(step: StepPlan, size: Size) -> float:
    """What a step wants recorded: self-attention on grids of up to so many pixels; -1: nothing at all."""
    if step.blend is not None and step.blend.refine:
        own = self_limit(step.self_pixels, size) if step.inject_self else 0.0
        return max(own, self_limit(None, size))
    if step.inject_self:
        return self_limit(step.self_pixels, size)
    return 0 if step.reads_map or (step.blend is not None and step.blend.source_tokens) else -1


def most_needed(source: Source, plans: Sequence[Plan], i: int) -> float:
    """What step i of some edits wants recorded of the source."""
    return max(needed(plan.steps[i], source.latent_size) for plan in plans)


class AttentionStore:
    """What a model's sources left behind, step by step."""

    def __init__(self, model: Model, cache: TieredCache) -> None:
        self.model, self.cache = model, cache
        self._samplers: dict[tuple[str, int, str], Sampler] = {}

    @plain()
    def sampler(self, steps: int, name: str = "ddim") -> Sampler:
        """The model's sampler of a name ("auto": the model's usual one) for a number of steps, its timesteps
        on the device. It is the scheduler's that the pipeline has now.

        Raises `BadSampler`, `BadSteps`, `UnsupportedModel`.
        """
        scheduler = self.model.pipe.scheduler
        config, kind = scheduler.config, type(scheduler).__name__
        note = sampler_note(name, config, kind)
        key = (sampler_name(name, config, kind), check_steps(steps), f"{kind} {dict(config)} {note}")
        if key not in self._samplers:
            check_scheduler(scheduler)
            made = make_sampler(config, key[1], key[0])
            self._samplers[key] = replace(made, timesteps=made.timesteps.to(self.model.device), note=note)
        return self._samplers[key]

    def solver(self, source: Source) -> Sampler:
        """The sampler that a source was made with, whatever the pipeline's scheduler is now."""
        return source.solver or self.sampler(source.steps, source.sampler)

    def inputs(self, source: Source) -> StepInputs:
        """What steps of a source read, as it was made."""
        return StepInputs(self.model, source.latent_size, source.guidance_scale, source.lora_scale)

    def of(
        self, source: Source, i: int, self_pixels: float, inputs: StepInputs | None = None
    ) -> AttentionRecord | None:
        """Step i of a source, with self-attention on grids of up to `self_pixels`; -1: none needed.

        What the cache doesn't hold (evicted, larger grids than usual, an edit taken as source) is recorded
        again. inputs: of the run that asks, so that the source's text is projected once a run.
        """
        if self_pixels < 0:
            return None
        size, key = source.latent_size, source.key
        inputs = inputs or self.inputs(source)
        layers = self._self_layers(size, self_pixels)
        last = inputs.last_read
        if last is not None and last[:2] == (key, i) and layers <= last[2].self_.keys():
            return last[2]
        record = self.cache.get(key, i, layers)
        if record is None:
            record = self.cache.keep(key, i, self._record_again(source, i, self_pixels, inputs))
        inputs.last_read = (key, i, record)
        return record

    def _record_again(
        self, source: Source, i: int, self_pixels: float, inputs: StepInputs
    ) -> AttentionRecord:
        """Step i of a source, by running its conditional row at its own latents: one extra row of the model.

        It is a call of its own, so that the result doesn't depend on the edits that are being run.
        """
        size = source.latent_size
        pixels = max(self_pixels, self_limit(None, size))
        context = AttentionContext(conditional=1, latent=size, record_self_pixels=pixels)
        if source.origin is not None:
            parent, plan = source.origin
            step = plan.steps[i]
            if not step.plain:
                maps = self.of(parent, i, needed(step, size), inputs)
                context.injection = inputs.injection(maps, [step], parent.prompt)
        t = self.solver(source).timesteps[i]
        own = (source.guidance_scale, source.lora_scale)
        asked = inputs if (inputs.guidance_scale, inputs.lora_scale) == own else self.inputs(source)
        with self.model.at_lora_scale(source.lora_scale):
            self.model.predict(source.asked(i), t, asked.text([source.prompt]), context)
        if context.injection is None:
            return context.recorded
        return compose(context.injection.record, context.recorded, step, inputs.mixes)

    def prefetch(self, source: Source, i: int, self_pixels: float) -> None:
        """Begin to bring up what `of` will be asked for, if it lies in a lower tier."""
        if self_pixels >= 0 and i < source.steps:
            self.cache.prefetch(source.key, i, self._self_layers(source.latent_size, self_pixels))

    def _self_layers(self, size: Size, self_pixels: float) -> frozenset[str]:
        """Names of the self-attention layers on grids of up to `self_pixels`."""
        layers = (layer for layer in self.model.sites if layer.kind == "self")
        return frozenset(layer.name for layer in layers if layer.pixels(size) <= self_pixels)

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
        return (total / (len(steps) * len(chosen))).cpu().numpy()  # one copy, not one a layer and step

    @torch.no_grad()
    def region(self, source: Source, words: str, refine: bool) -> np.ndarray:
        """See `Source.region`."""
        prompt = self.model.texts.parse(f"a {words}" if isinstance(words, str) else words)
        tokens = tuple(t for piece in prompt.pieces if piece.span[0] >= 2 for t in piece.tokens)
        if not tokens:
            raise BadInput(f"A region is that of some words; got {shown(words)}.")
        size = source.latent_size
        layers = map_sites(self.model.sites, size)
        with self.model.at_lora_scale(source.lora_scale):
            keys = self._text_keys(prompt, layers)
        summed = torch.zeros(layers[0].pixels(size), device=self.model.device)
        for record in self._records(source, 0):
            for layer in layers:
                q = record.cross[layer.name][-1].q
                summed += attention_columns(q, keys[layer], layer, tokens)[0].mean(-1)
        raw: np.ndarray = summed.reshape(layers[0].grid(size)).cpu().numpy()
        found = self.sharpen(source, raw) if refine else raw
        found -= found.min()
        found /= max(float(found.max()), 1e-12)
        return found

    @torch.no_grad()
    def sharpen(self, source: Source, word_map: np.ndarray) -> np.ndarray:
        """See `Source.sharpen`."""
        if not isinstance(word_map, np.ndarray) or word_map.ndim != 2 or not np.isfinite(word_map).all():
            raise BadInput(f"A map is an array (h, w) of finite numbers; got {shown(word_map)}.")
        size = source.latent_size
        usual = self_limit(None, size)
        finest = refining_layers(self.model.sites, size, usual)
        M = torch.tensor(word_map, dtype=torch.float32, device=self.model.device)
        products = [refined(M, record, finest, size) for record in self._records(source, usual)]
        sharp: np.ndarray = torch.stack(products).mean(0).cpu().numpy()
        return sharp

    def _text_keys(
        self, prompt: Prompt, layers: Iterable[AttentionLayer]
    ) -> dict[AttentionLayer, torch.Tensor]:
        """A prompt's keys (1, S, C) in some cross-attention layers, without a call of the UNet."""
        rows, keys = self.model.embed(prompt), {}
        for layer in layers:
            to_k = self.model.layers()[layer].to_k
            keys[layer] = to_k(rows.to(next(to_k.parameters()).device)).to(self.model.device)
        return keys

    def _records(self, source: Source, self_pixels: float) -> Iterator[AttentionRecord]:
        """All steps of a source."""
        for i in range(source.steps):
            record = self.of(source, i, self_pixels)
            assert record is not None
            yield record

    def map_layers(self, size: Size) -> dict[str, tuple[str, ...]]:
        """See `PromptToPrompt.map_layers`."""
        groups: dict[str, tuple[str, ...]] = {}
        for layer in self.model.sites:
            if layer.kind == "cross":
                h, w = layer.grid(size)
                name = f"{layer.name.split('_')[0]} {h} x {w}"
                groups[name] = (*groups.get(name, ()), layer.name)
        return groups

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
