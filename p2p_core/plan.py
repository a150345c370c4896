"""`Edit` + prompts + number of steps -> `Plan`: nothing optional is left for the denoising loop.

For step t, with A the alignment (S, T), n the new tokens, a_t the injection gate and w_t the weight of each
target token, every edit of the paper (section 3.2) is

    take_t = A * a_t * w_t            keep_t = (n * a_t + (1 - a_t)) * w_t
    edited map column j = sum_i M_t[:, i] take_t[i, j] + keep_t[j] M*_t[:, j]
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .alignment import Alignment, align
from .edit import DEFAULT, Edit, check_edit
from .errors import BadInput, UnknownWord, shown
from .prompt import Prompt
from .step_plan import BlendStep, Floats, StepPlan
from .weights import Name, has_weights
from .window import Window, step_at

MAX_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An edit resolved for one source prompt and `len(steps)` steps.

    origin: the plan that made the source, where the source is an edit.
    """

    source: Prompt
    target: Prompt
    edit: Edit
    alignment: Alignment = field(repr=False)
    steps: tuple[StepPlan, ...] = field(repr=False)
    origin: Plan | None = field(default=None, repr=False)

    def digest(self, k: int) -> bytes:
        """Digest of the first k steps. Two plans with equal digests give equal states after k steps."""
        return self._digests[k]

    @cached_property
    def _digests(self) -> tuple[bytes, ...]:
        # While every step is the source's, the digest stays empty: such a state *is* the source's.
        digests = [b""]
        for step in self.steps:
            on_source_path = step.is_source and not digests[-1]
            # The step at which an edit leaves the source's path is part of the state, hence the index.
            link = digests[-1] + step.digest + len(digests).to_bytes(4, "big")
            digests.append(b"" if on_source_path else hashlib.blake2b(link, digest_size=16).digest())
        return tuple(digests)

    @property
    def changes_nothing(self) -> bool:
        """True if the edit gives the source picture, whatever the model."""
        return self.digest(len(self.steps)) == b""

    @property
    def has_maps(self) -> bool:
        """Whether each layer gives an edited map times V*, which is what an edit of this edit reads."""
        return not any(step.share or step.rest for step in self.steps)

    def check_maps(self) -> None:
        """Raises `BadInput` for an edit that no other can start from."""
        if not self.has_maps:
            mode, amount = self.edit.weights_mode, self.edit.amount
            raise BadInput(
                "An edit with an amount below 1 or with faders as shares has no maps for another to start "
                f'from; expected an amount of 1 and "gain"; got {amount:g} and "{mode}".'
            )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: each control of the edit that has no effect, and why."""
        return (*_prompt_notes(self), *_weight_notes(self), *_blend_notes(self), *_nothing_notes(self))


def check_steps(steps: object) -> int:
    """`steps` as an int. Raises `BadInput`."""
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and 1 <= steps <= MAX_STEPS:
        return int(steps)
    raise BadInput(f"The number of steps is a whole number from 1 to {MAX_STEPS}; got {shown(steps)}.")


def make_plan(source: Prompt, target: Prompt, edit: Edit, steps: int, origin: Plan | None = None) -> Plan:
    """Resolve `edit` for `steps` steps. origin: see `Plan`.

    Raises `UnknownWord` for a word that its prompt doesn't hold, else `BadInput`.
    """
    N = check_steps(steps)
    alignment = align(source, target, check_edit(edit).kind)
    gates, weights = _gates(target, edit, N), _weights(target, edit, N)  # a, w: (N, T)
    self_steps = edit.self_steps.steps(N)
    alike = edit.run_settings == (None, None, None)
    identity = source.key == target.key and bool((alignment.matrix == np.eye(target.length)).all())
    own = [
        alike and (edit.amount == 0 or (identity and repeated and bool((w == 1).all())))
        for repeated, w in zip(_repeats(origin, edit, gates, self_steps), weights, strict=True)
    ]
    blends = [_blend_step(source, target, edit, i, N) for i in range(N)]  # an unknown word raises here
    if all(own):
        blends = [None] * N  # both sides of the mask are the source

    plans: list[StepPlan] = []
    distinct: dict[tuple[object, ...], StepPlan] = {}  # most steps of a plan are equal
    for i, (a, w, blend) in enumerate(zip(gates, weights, blends, strict=True)):
        key = (a.tobytes(), w.tobytes(), i in self_steps, blend, own[i])
        if key not in distinct:
            aligned, new = alignment.matrix * a, alignment.new * a + (1 - a)
            visible = np.where(w > 0, w, np.float32(1))
            take, keep = aligned * w, new * w
            share = edit.weights_mode == "share" and not _sums_to_one(take, keep)
            take, keep = take * np.float32(edit.amount), keep * np.float32(edit.amount)
            take.flags.writeable = keep.flags.writeable = False
            inject_self, unweighted = i in self_steps, bool((w == 1).all())
            distinct[key] = StepPlan(
                take=take,
                keep=keep,
                take_of_maps=aligned * visible,
                keep_of_maps=new * visible,
                inject_self=inject_self,
                self_pixels=edit.self_pixels,
                blend=blend,
                rest=1 - edit.amount,
                share=share,
                plain=unweighted and not a.any() and not inject_self and edit.amount == 1,
                is_source=own[i] and blend is None,
                digest=_digest(
                    *(target.key, take, keep, inject_self and (edit.self_pixels,), edit.run_settings),
                    *(blend, blend and blend.mask, edit.amount, share, a[w == 0].tobytes()),
                ),
            )
        plans.append(distinct[key])
    return Plan(
        source=source, target=target, edit=edit, alignment=alignment, steps=tuple(plans), origin=origin
    )


def _repeats(origin: Plan | None, edit: Edit, gates: Floats, self_steps: range) -> list[bool]:
    """For each step, whether an edit with equal prompts does again what made its source.

    A generated source was made by the model alone. In one that is an edit, all that was injected has to be
    injected again, and what a local blend put there no other step puts.
    """
    while origin is not None and origin.changes_nothing:
        origin = origin.origin
    if origin is None:
        return [True] * len(gates)
    return [
        (step.leaves_maps or bool(a.all()))
        and (not step.inject_self or (i in self_steps and edit.self_pixels in (step.self_pixels, math.inf)))
        and (step.blend is None or step.blend.threshold is None)
        for i, (step, a) in enumerate(zip(origin.steps, gates, strict=True))
    ]


def _digest(target: tuple[object, ...], take: Floats, keep: Floats, *others: object) -> bytes:
    h = hashlib.blake2b(repr((target, others)).encode(), digest_size=16)
    h.update(np.ascontiguousarray(take).tobytes())
    h.update(np.ascontiguousarray(keep).tobytes())
    return h.digest()


def _sums_to_one(take: Floats, keep: Floats) -> bool:
    """Whether every pixel's edited map sums to 1 whatever the maps are: there is nothing to divide."""
    own = bool((keep == 1).all()) and not take.any()
    return own or (not keep.any() and bool((np.abs(take).sum(1) == 1).all()))


def _general_first(names: Iterable[Name]) -> list[Name]:
    """Words, then phrases, then numbers: a later name overrides an earlier one, so the more specific wins."""

    def rank(name: Name) -> int:
        if not isinstance(name, str) or name.strip().startswith("#"):
            return 10**6
        return len(name.split())

    return sorted(names, key=rank)


def _gates(target: Prompt, edit: Edit, N: int) -> Floats:
    """a: (N, T), 1 where the source's columns are injected."""
    windows = edit.cross_steps
    if isinstance(windows, Window):
        windows = {DEFAULT: windows}
    a = np.zeros((N, target.length), np.float32)
    steps = windows.get(DEFAULT, Window()).steps(N)
    a[steps.start : steps.stop] = 1
    for name in _general_first(name for name in windows if name != DEFAULT):
        tokens, steps = _tokens_of_window(target, name), windows[name].steps(N)
        a[:, tokens] = 0
        a[steps.start : steps.stop, tokens] = 1
    return a


def _tokens_of_window(target: Prompt, name: Name) -> list[int]:
    try:
        return list(target.find(name))
    except UnknownWord as error:
        if name == "default":
            raise UnknownWord(f'{error} The window of all other words is named "{DEFAULT}".') from None
        raise


def _weights(target: Prompt, edit: Edit, N: int) -> Floats:
    """w: (N, T), the weight of each token; 1 outside `weight_steps`."""
    w = np.ones((N, target.length), np.float32)
    steps = edit.weight_steps.steps(N)
    for name in _general_first(edit.weights):
        w[steps.start : steps.stop, list(target.find(name))] = edit.weights[name]
    return w


def _tokens(prompt: Prompt, names: tuple[Name, ...]) -> tuple[int, ...]:
    return tuple(sorted({t for name in names for t in prompt.find(name)}))


def _blend_step(source: Prompt, target: Prompt, edit: Edit, i: int, N: int) -> BlendStep | None:
    blend = edit.blend
    if blend is None:
        return None
    started = i >= step_at(blend.start, N)
    return BlendStep(
        source_tokens=_tokens(source, blend.source_words),
        target_tokens=_tokens(target, blend.target_words),
        subtract_tokens=_tokens(target, blend.subtract_words),
        threshold=blend.threshold if started else None,
        subtract_threshold=blend.subtract_threshold if started and blend.subtract_words else None,
        mask=blend.mask if started else None,
        soft=blend.soft if started else 0.0,
        refine=blend.refine,
        quantile=blend.quantile,
    )


def _prompt_notes(plan: Plan) -> Iterator[str]:
    for which, prompt in (("source", plan.source), ("target", plan.target)):
        if note := prompt.truncation_note(which):
            yield note
        if has_weights(prompt.text):
            yield (
                f"The weights written into the {which} prompt are read as letters: faders are "
                "Edit.weights, and Edit.from_weighted makes them of such a prompt."
            )


def _is_weighted(edit: Edit) -> bool:
    return any(weight != 1 for weight in edit.weights.values())


def _weight_notes(plan: Plan) -> Iterator[str]:
    truncated = sorted(str(name) for name in plan.edit.weights if not plan.target.find(name))
    if truncated:
        yield f"The fader of {', '.join(truncated)} changes nothing because the word fell off the prompt."
    if _is_weighted(plan.edit) and not plan.edit.weight_steps.steps(len(plan.steps)):
        yield "The faders change nothing because their window covers no step."


def _blend_notes(plan: Plan) -> Iterator[str]:
    blend = plan.edit.blend
    if blend is None:
        return
    tokens = _tokens(plan.source, blend.source_words) + _tokens(plan.target, blend.target_words)
    if blend.mask is None and not tokens:
        words = ", ".join(str(name) for name in (*blend.source_words, *blend.target_words))
        yield f"The blend keeps the whole source because {words} fell off the prompt."
    if step_at(blend.start, len(plan.steps)) == len(plan.steps):
        yield "The blend changes nothing because it starts after the last step."


def _nothing_notes(plan: Plan) -> Iterator[str]:
    if plan.changes_nothing and plan.edit.amount == 0:
        yield "This changes nothing because the amount of the edit is 0."
    elif plan.changes_nothing:
        equal = plan.source.text == plan.target.text
        prompts = "the prompts are the same" if equal else "the model reads both prompts the same"
        faders = "" if _is_weighted(plan.edit) else " and every fader is at 1"
        yield f"This changes nothing because {prompts}{faders}."
