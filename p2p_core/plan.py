"""`Edit` + prompts + number of steps -> `Plan`: nothing optional is left for the sampler.

For step t, with A the alignment (S, T), n the new tokens, a_t the injection gate and w_t the fader of each
target token, every edit of the paper (section 3.2) is

    take_t = A * a_t * w_t            keep_t = (n * a_t + (1 - a_t)) * w_t
    edited map column j = sum_i M_t[:, i] take_t[i, j] + keep_t[j] M*_t[:, j]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .alignment import Alignment, align
from .edit import DEFAULT, Edit, Name, Window, step_at
from .errors import BadInput, shown
from .prompt import Prompt

MAX_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class BlendStep:
    """Local blend in one step: token columns to sum up, and from the blend's start on a mask."""

    source_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]
    subtract_tokens: tuple[int, ...]
    threshold: float | None  # None: before the start, only the maps are summed up
    subtract_threshold: float | None
    mask: str | None = field(default=None, repr=False)  # drawn by hand
    soft: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One step of an edit, resolved.

    take: (S, T) float32, which source columns feed each target column.
    keep: (T,) float32, how much of the target's own column stays.
    inject_self: whether self-attention uses the source's queries and keys, on grids up to `self_pixels`
        pixels (None: the model's default).
    plain: neither map nor self-attention is touched: the step is the model's own.
    as_source: equal prompts, faders at 1, no blend. The source's maps are then the target's own, so as
        long as nothing else has changed the latents the step is the source's own and needs no run.
    """

    take: np.ndarray = field(repr=False)
    keep: np.ndarray = field(repr=False)
    inject_self: bool
    self_pixels: float | None
    blend: BlendStep | None
    plain: bool
    as_source: bool
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An edit resolved for one source prompt and `len(steps)` steps."""

    source: Prompt
    target: Prompt
    edit: Edit
    alignment: Alignment = field(repr=False)
    steps: tuple[StepPlan, ...] = field(repr=False)
    notes: tuple[str, ...]  # sentences for the user

    def digest(self, k: int) -> bytes:
        """Digest of the first k steps. Two plans with equal digests give equal states after k steps."""
        return self._digests[k]

    @cached_property
    def _digests(self) -> tuple[bytes, ...]:
        # While every step is the source's own, the digest stays empty: such a state *is* the source's.
        digests = [b""]
        for step in self.steps:
            own = step.as_source and not digests[-1]
            # Where an edit leaves the source's path belongs to the state, so the index goes in too.
            link = digests[-1] + step.digest + len(digests).to_bytes(4, "big")
            digests.append(b"" if own else hashlib.blake2b(link, digest_size=16).digest())
        return tuple(digests)

    @property
    def changes_nothing(self) -> bool:
        """True if the edit gives the source picture, whatever the model."""
        return self.digest(len(self.steps)) == b""


def check_steps(steps: object) -> int:
    """`steps` as an int, or `BadInput`."""
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and 1 <= steps <= MAX_STEPS:
        return int(steps)
    raise BadInput(f"The number of steps is a whole number from 1 to {MAX_STEPS}; got {shown(steps)}.")


def make_plan(source: Prompt, target: Prompt, edit: Edit, steps: int) -> Plan:
    """Resolve `edit` for `steps` steps.

    Raises `UnknownWord` for a word that its prompt doesn't hold, `BadInput`, `BadInput`.
    """
    if not isinstance(edit, Edit):
        raise BadInput(f"An edit is an Edit; got {type(edit).__name__} ({shown(edit)}).")
    N = check_steps(steps)
    alignment = align(source, target, edit.kind)
    gate = _gates(target, edit, N)  # a: (N, T)
    weight = _weights(target, edit, N)  # w: (N, T)
    self_steps = edit.self_steps.steps(N)
    new = alignment.new.astype(np.float32)
    same = source.ids == target.ids
    identity = same and bool((alignment.matrix == np.eye(len(new))).all())
    idle = identity and bool((weight == 1).all())

    plans: list[StepPlan] = []
    shared: dict[tuple[object, ...], StepPlan] = {}  # most steps of a plan are alike
    for i in range(N):
        blend = _blend_step(source, target, edit, i, N)  # looks its words up even where it is idle
        blend = None if idle else blend
        key = (gate[i].tobytes(), weight[i].tobytes(), i in self_steps, blend)
        if key not in shared:
            a, w = gate[i], weight[i]
            take = alignment.matrix * (a * w)
            keep = (new * a + (1 - a)) * w
            take.flags.writeable = keep.flags.writeable = False
            inject_self = i in self_steps
            faders_at_1 = bool((w == 1).all())
            shared[key] = StepPlan(
                take=take,
                keep=keep,
                inject_self=inject_self,
                self_pixels=edit.self_pixels,
                blend=blend,
                plain=faders_at_1 and not a.any() and not inject_self,
                as_source=identity and faders_at_1 and blend is None,
                digest=_digest(
                    target.ids, take, keep, inject_self and (edit.self_pixels,), blend, blend and blend.mask
                ),
            )
        plans.append(shared[key])
    plan = Plan(source=source, target=target, edit=edit, alignment=alignment, steps=tuple(plans), notes=())
    object.__setattr__(plan, "notes", tuple(_notes(plan)))
    return plan


def _digest(ids: tuple[int, ...], take: np.ndarray, keep: np.ndarray, *rest: object) -> bytes:
    h = hashlib.blake2b(repr((ids, rest)).encode(), digest_size=16)
    h.update(np.ascontiguousarray(take).tobytes())
    h.update(np.ascontiguousarray(keep).tobytes())
    return h.digest()


def _specific_last(target: Prompt, named: Mapping[Name, object]) -> list[Name]:
    """Names in the order they apply: words before phrases before numbers, so the more specific one wins."""

    def rank(name: Name) -> int:
        if not isinstance(name, str) or name.strip().startswith("#"):
            return 10**6
        return len(name.split())

    return sorted(named, key=rank)


def _gates(target: Prompt, edit: Edit, N: int) -> np.ndarray:
    """a: (N, T), 1 where the source's columns are injected."""
    windows = edit.cross_steps
    if isinstance(windows, Window):
        windows = {DEFAULT: windows}
    a = np.zeros((N, target.length), np.float32)
    covered = windows.get(DEFAULT, Window()).steps(N)
    a[covered.start : covered.stop] = 1
    for name in _specific_last(target, {k: v for k, v in windows.items() if k != DEFAULT}):
        tokens = list(target.find(name))
        covered = windows[name].steps(N)
        a[:, tokens] = 0
        a[covered.start : covered.stop, tokens] = 1
    return a


def _weights(target: Prompt, edit: Edit, N: int) -> np.ndarray:
    """w: (N, T), the fader of each token; 1 outside `weight_steps`."""
    w = np.ones((N, target.length), np.float32)
    covered = edit.weight_steps.steps(N)
    for name in _specific_last(target, edit.weights):
        w[covered.start : covered.stop, list(target.find(name))] = edit.weights[name]
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
    )


def _notes(plan: Plan) -> list[str]:
    """What the user should know: nothing that a control can't change stays silent."""
    notes = []
    for which, prompt in (("source", plan.source), ("target", plan.target)):
        if prompt.truncated_words:
            notes.append(
                f"The {which} prompt is longer than the model's {prompt.length - 2} tokens: "
                f"{', '.join(prompt.truncated_words)} fell off and has no effect."
            )
    edit = plan.edit
    lost = sorted((str(name) for name in edit.weights if not plan.target.find(name)), key=str)
    if lost:
        notes.append(f"The fader of {', '.join(lost)} changes nothing because the word fell off the prompt.")
    moved = any(weight != 1 for weight in edit.weights.values())
    if moved and not edit.weight_steps.steps(len(plan.steps)):
        notes.append("The faders change nothing because their window covers no step.")
    if edit.blend is not None:
        named = _tokens(plan.source, edit.blend.source_words) + _tokens(plan.target, edit.blend.target_words)
        if edit.blend.mask is None and not named:
            words = ", ".join(str(name) for name in (*edit.blend.source_words, *edit.blend.target_words))
            notes.append(f"The blend keeps the whole source because {words} fell off the prompt.")
        if step_at(edit.blend.start, len(plan.steps)) == len(plan.steps):
            notes.append("The blend changes nothing because it starts after the last step.")
    if plan.changes_nothing:
        prompts = "the prompts are the same"
        if plan.source.text != plan.target.text:
            prompts = "the model reads both prompts the same"
        faders = " and every fader is at 1" if not moved else ""
        notes.append(f"This changes nothing because {prompts}{faders}.")
    return notes
