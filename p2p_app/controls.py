"""The page's controls and what they mean: from boards to an `Edit`, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from p2p_core import Blend, Edit, Window

from .components.desk import MAX_WEIGHT, MIN_WEIGHT, DeskValue, weights_by_number, with_words, word_keys
from .components.region import RegionValue
from .components.timeline import TimelineValue
from .engine import Engine
from .examples import Example

if TYPE_CHECKING:
    from p2p_core import Plan

Partners = dict[int, tuple[str, tuple[int, ...]]]  # target word -> its state, and its words in the source


@dataclass(frozen=True)
class Controls:
    """The edit prompt and the three boards that together say what is wanted.

    extra: fields of an `Edit` that no control shows, as a recipe brought them along.
    """

    prompt: str = ""
    desk: DeskValue = field(default_factory=DeskValue)
    timeline: TimelineValue = field(default_factory=TimelineValue)
    region: RegionValue = field(default_factory=RegionValue)
    extra: dict[str, Any] = field(default_factory=dict)


WITHOUT_CONTROL = ("kind", "self_pixels", "lora_scale", "clip_skip", "prompt_embeds")


@dataclass(frozen=True)
class Reading:
    """The controls read against a source prompt: consistent boards, and the edit they ask for."""

    controls: Controls
    edit: Edit
    plan: Plan
    partners: Partners

    @property
    def key(self) -> str:
        return self.edit.to_json()


def read(
    engine: Engine, source_prompt: str, controls: Controls, steps: int, origin: Plan | None = None
) -> Reading:
    """Read `controls` for a source. Runs no model. Raises the engine's `P2PError`.

    origin: the plan that made the source, where it is an edit.
    """
    timeline = controls.timeline
    bare = Edit(
        controls.prompt,
        cross_steps=Window(*timeline.cross),
        self_steps=Window(*timeline.self),
        weight_steps=Window(*timeline.faders),
        weights_mode=controls.desk.mode,  # type: ignore[arg-type]
        amount=timeline.amount,
        guidance_scale=timeline.guidance,
        negative_prompt=timeline.negative,
        **controls.extra,
    )
    plan = engine.p2p.plan(source_prompt, bare, steps=steps)
    partners = partners_of(plan)
    words = plan.target.words
    desk = with_words(
        controls.desk,
        [word.text for word in words],
        [partners[n][0] for n in range(len(words))],
        [not word.tokens for word in words],
    )
    region = _region_words(plan, partners, desk, controls.region)
    names = [[word.key, word.text] for word in desk.words if not word.cut]
    timeline = timeline.replace(steps=steps, names=names)
    edit = bare.replace(
        cross_steps=_cross_steps(timeline, desk),
        weights={f"#{n}": weight for n, weight in weights_by_number(desk).items()},
        blend=_blend(plan, partners, desk, region),
    )
    return Reading(
        controls=replace(controls, desk=desk, region=region, timeline=timeline),
        edit=edit,
        plan=engine.p2p.plan(source_prompt, edit, steps=steps, origin=origin),
        partners=partners,
    )


def _cross_steps(timeline: TimelineValue, desk: DeskValue) -> Any:
    """The window of cross-attention, with those of single words of the prompt."""
    windows = {
        f"#{n}": tuple(timeline.words[word.key])
        for n, word in enumerate(desk.words)
        if word.key in timeline.words and not word.cut
    }
    cross = tuple(timeline.cross)
    return {"default_": cross, **windows} if windows else cross


def partners_of(plan: Plan) -> Partners:
    """For every target word its state and the source words it takes its maps from."""
    partners: Partners = {n: ("added", ()) for n in range(len(plan.target.words))}
    for span in plan.alignment.spans:
        even = len(span.source) == len(span.target)
        for i, n in enumerate(span.target):
            partners[n] = (span.kind, span.source[i : i + 1] if even else span.source)
    return partners


def _region_words(plan: Plan, partners: Partners, desk: DeskValue, region: RegionValue) -> RegionValue:
    """The region's words for a plan; what was chosen stays with its word."""
    source = [word.text for word in plan.source.words]
    words = []
    for n, word in enumerate(desk.words):
        kind, theirs = partners[n]
        old = " ".join(source[s] for s in theirs) if kind == "swapped" else ""
        if not word.cut:
            words.append({"text": word.text, "old": old, "key": word.key})
    keys = word_keys(source)
    removed = [n for span in plan.alignment.spans if span.kind == "removed" for n in span.source]
    words += [{"text": "", "old": source[n], "key": f"-{keys[n]}"} for n in removed]
    there = {word["key"] for word in words}
    return region.replace(
        words=words,
        chosen=[key for key in region.chosen if key in there],
        out=[key for key in region.out if key in there],
    )


def _blend(plan: Plan, partners: Partners, desk: DeskValue, region: RegionValue) -> Blend | None:
    """The local blend that the region asks for, or None. A word brings its partner in the source along."""
    numbers = {word.key: n for n, word in enumerate(desk.words)}
    source_keys = word_keys([word.text for word in plan.source.words])
    source: set[int] = set()
    target: set[int] = set()
    for key in region.chosen:
        if key in numbers:
            target.add(numbers[key])
            source.update(partners[numbers[key]][1])
        elif key[1:] in source_keys:
            source.add(source_keys.index(key[1:]))
    if not source and not target and not region.mask:
        return None
    return Blend(
        source_words=tuple(f"#{n}" for n in sorted(source)),
        target_words=tuple(f"#{n}" for n in sorted(target)),
        subtract_words=tuple(f"#{n}" for n in sorted({numbers[key] for key in region.out if key in numbers})),
        threshold=region.threshold,
        subtract_threshold=region.threshold,
        start=region.start,
        soft=region.soft,
        mask=region.mask or None,
        keep_pixels=region.pixels,
        refine=region.sharp,
    )


# --- from an edit to the controls ------------------------------------------------------------------------


def controls_of(engine: Engine, source_prompt: str, edit: Edit, steps: int) -> tuple[Controls, list[str]]:
    """The controls that ask for `edit`, and sentences about what they can't show.

    The other way round from `read`; the edits that the app makes come back as they were.
    """
    plan = engine.p2p.plan(source_prompt, edit, steps=steps)
    keys = word_keys([word.text for word in plan.target.words])
    weights: dict[str, float] = {}
    for name in _specific_last(edit.weights):
        for n in plan.target.find_words(name):
            weights[keys[n]] = edit.weights[name]
    notes = []
    if any(not MIN_WEIGHT <= w <= MAX_WEIGHT for w in weights.values()):
        notes.append(
            f"Faders reach from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}; what was beyond stands at the end."
        )
    region, note = _region_of(plan, edit.blend, keys)
    fresh = Edit(edit.prompt)
    extra = {n: getattr(edit, n) for n in WITHOUT_CONTROL if getattr(edit, n) != getattr(fresh, n)}
    controls = Controls(
        edit.prompt,
        DeskValue.read({"weights": weights, "mode": edit.weights_mode}),
        _timeline_of(plan, edit, keys, steps),
        region,
        extra,
    )
    return controls, notes + note


def _timeline_of(plan: Plan, edit: Edit, keys: list[str], steps: int) -> TimelineValue:
    """The windows of an edit."""
    cross: Any = edit.cross_steps
    words = {}
    if isinstance(cross, Mapping):
        for name in _specific_last(n for n in cross if n != "default_"):
            for n in plan.target.find_words(name):
                words[keys[n]] = [cross[name].start, cross[name].end]
        cross = cross.get("default_", Window())
    window: Any = edit.self_steps
    faders: Any = edit.weight_steps
    return TimelineValue.read(
        {
            "steps": steps,
            "cross": [cross.start, cross.end],
            "self": [window.start, window.end],
            "faders": [faders.start, faders.end],
            "words": words,
            "amount": edit.amount,
            "guidance": edit.guidance_scale,
            "negative": edit.negative_prompt,
        }
    )


def _region_of(plan: Plan, blend: Blend | None, keys: list[str]) -> tuple[RegionValue, list[str]]:
    """The region of an edit, and a sentence where its words are others than the blend's."""
    if blend is None:
        return RegionValue(), []
    partners = partners_of(plan)
    source_keys = [f"-{key}" for key in word_keys([word.text for word in plan.source.words])]
    target = {n for name in blend.target_words for n in plan.target.find_words(name)}
    source = {n for name in blend.source_words for n in plan.source.find_words(name)}
    # a chosen word brings its partners along, so words of the source may be meant by one in the target
    chosen = sorted(target | {n for n, (_, theirs) in partners.items() if source & set(theirs)})
    met = {s for n in chosen for s in partners[n][1]}
    exact = set(chosen) == target and not met - source
    region = RegionValue.read(
        {
            "chosen": [keys[n] for n in chosen] + [source_keys[n] for n in sorted(source - met)],
            "out": [keys[n] for name in blend.subtract_words for n in plan.target.find_words(name)],
            "threshold": blend.threshold,
            "start": blend.start,
            "soft": blend.soft,
            "mask": blend.mask or "",
            "pixels": blend.keep_pixels,
            "sharp": blend.refine,
        }
    )
    return region, [] if exact else ["A region's words stand for their partners in the other prompt too."]


def _specific_last(names: Iterable[Any]) -> list[Any]:
    """Words before phrases before numbers: the more specific one wins."""
    return sorted(
        names, key=lambda n: 10**6 if not isinstance(n, str) or n.startswith("#") else len(n.split())
    )


# --- examples --------------------------------------------------------------------------------------------


def example_controls(example: Example) -> Controls:
    """An example's edit as the page's controls."""
    keys = dict.fromkeys(word_keys(example.prompt.replace(",", " ").split()))
    weights = {key: w for word, w in example.weights.items() for key in keys if key.split("/")[0] == word}
    chosen = [key for key in keys if key.rsplit("/", 1)[0] in example.region]
    windows = {"cross": example.cross, "self": example.self, "steps": example.steps}
    before = example.source.casefold().replace(",", " ").split()
    new = [key for key in keys if key.rsplit("/", 1)[0] not in before]
    picked = next(iter([*chosen[-1:], *weights, *new[-1:]]), None)
    words = [{"text": key.rsplit("/", 1)[0], "key": key} for key in keys]
    return Controls(
        example.prompt,
        DeskValue.read({"words": words, "weights": weights, "picked": picked}),
        TimelineValue.read(windows),
        RegionValue.read({"chosen": chosen}),
    )


def first_boards(example: Example) -> dict[str, Any]:
    """The boards that the page opens with, before the tokenizer is there: words as white space has them."""
    old, new = ([word.strip(",.") for word in text.split()] for text in (example.source, example.prompt))
    swaps = [s if len(old) == len(new) and s != t else "" for s, t in zip_longest(old, new, fillvalue="")]
    swaps = swaps[: len(new)]
    states = ["swapped" if swap else "kept" for swap in swaps]
    spans, words = [], []
    for state, swap, word, key in zip(states, swaps, new, word_keys(new), strict=True):
        spans.append({"kind": state, "source": swap or word, "target": word, "cut": False})
        words.append({"text": word, "old": swap, "key": key})
    return {
        "chips": {"spans": spans, "notes": []},
        "desk": with_words(DeskValue(), new, states, [False] * len(new)),
        "region": RegionValue.read({"words": words}),
    }
