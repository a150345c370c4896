"""The page's controls and what they mean: from boards to an `Edit`, and from a plan to boards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from .components import desk as desks
from .components.desk import Desk
from .components.region import Region
from .components.timeline import Timeline
from .engine import Engine
from .examples import Example

Partners = dict[int, tuple[str, tuple[int, ...]]]  # target word -> its state, and its words in the source


@dataclass(frozen=True)
class Controls:
    """The edit prompt and the three boards that together say what is wanted.

    extra: fields of an `Edit` that no control shows, as a recipe brought them along.
    """

    prompt: str
    desk: dict[str, Any]
    timeline: dict[str, Any]
    region: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fresh(cls, prompt: str = "", **changes: Any) -> Controls:
        boards = {"desk": Desk.clean(None), "timeline": Timeline.clean(None), "region": Region.clean(None)}
        return cls(prompt=prompt, **{**boards, **changes})


@dataclass(frozen=True)
class Reading:
    """The controls read against a source prompt: consistent boards, and the edit they ask for."""

    controls: Controls
    edit: Any
    plan: Any
    partners: Partners

    @property
    def key(self) -> str:
        return self.edit.to_json()


def read(engine: Engine, source_prompt: str, controls: Controls, steps: int) -> Reading:
    """Read `controls` for a source. Runs no model. Raises the engine's `P2PError`."""
    core, p2p = engine.core, engine.p2p
    timeline = Timeline.clean(controls.timeline)
    bare = core.Edit(
        controls.prompt,
        cross_steps=tuple(timeline["cross"]),
        self_steps=tuple(timeline["self"]),
        weight_steps=tuple(timeline["faders"]),
        **controls.extra,
    )
    plan = p2p.plan(source_prompt, bare, steps=steps)
    partners = _partners(plan)
    words = plan.target.words
    desk = desks.with_words(
        controls.desk,
        [word.text for word in words],
        [partners[n][0] for n in range(len(words))],
        [not word.tokens for word in words],
    )
    region = _region(plan, partners, desk, controls.region)
    names = [[word["key"], word["text"]] for word in desk["words"] if not word["cut"]]
    timeline = Timeline.clean({**timeline, "steps": steps, "names": names})
    weights = {f"#{n}": weight for n, weight in desks.weights_by_number(desk).items()}
    edit = bare.replace(
        cross_steps=_cross(timeline, desk),
        weights=weights,
        blend=_blend(core, plan, partners, desk, region),
    )
    plan = p2p.plan(source_prompt, edit, steps=steps)
    return Reading(
        controls=replace(controls, desk=desk, region=region, timeline=timeline),
        edit=edit,
        plan=plan,
        partners=partners,
    )


def _cross(timeline: dict[str, Any], desk: dict[str, Any]) -> Any:
    """The window of cross-attention, with those of single words of the prompt."""
    own = {
        f"#{n}": tuple(timeline["words"][word["key"]])
        for n, word in enumerate(desk["words"])
        if word["key"] in timeline["words"] and not word["cut"]
    }
    return {"default_": tuple(timeline["cross"]), **own} if own else tuple(timeline["cross"])


def _partners(plan: Any) -> Partners:
    """For every target word its state and the source words it takes its maps from."""
    found: Partners = {n: ("added", ()) for n in range(len(plan.target.words))}
    for span in plan.alignment.spans:
        even = len(span.source) == len(span.target)
        for i, n in enumerate(span.target):
            found[n] = (span.kind, span.source[i : i + 1] if even else span.source)
    return found


def _removed(plan: Any) -> list[int]:
    return [n for span in plan.alignment.spans if span.kind == "removed" for n in span.source]


def _region(plan: Any, partners: Partners, desk: dict[str, Any], region: dict[str, Any]) -> dict[str, Any]:
    """The region's words for a plan; what was chosen stays with its word."""
    source = [word.text for word in plan.source.words]
    words = []
    for n, word in enumerate(desk["words"]):
        kind, theirs = partners[n]
        old = " ".join(source[s] for s in theirs) if kind == "swapped" else ""
        if not word["cut"]:
            words.append({"text": word["text"], "old": old, "key": word["key"]})
    names = desks.keys(source)
    words += [{"text": "", "old": source[n], "key": f"-{names[n]}"} for n in _removed(plan)]
    known = {word["key"] for word in words}
    kept = {name: [key for key in region[name] if key in known] for name in ("chosen", "out")}
    return Region.clean({**region, "words": words, **kept})


def _blend(core: Any, plan: Any, partners: Partners, desk: dict[str, Any], region: dict[str, Any]) -> Any:
    """The local blend that the region asks for, or None. A word brings its partner in the source along."""
    numbers = {word["key"]: n for n, word in enumerate(desk["words"])}
    names = desks.keys([word.text for word in plan.source.words])
    source: list[int] = []
    target: list[int] = []
    for key in region["chosen"]:
        if key in numbers:
            target.append(numbers[key])
            source += partners[numbers[key]][1]
        elif key[1:] in names:
            source.append(names.index(key[1:]))
    if not source and not target and not region["mask"]:
        return None
    out = [numbers[key] for key in region["out"] if key in numbers]
    return core.Blend(
        source_words=[f"#{n}" for n in sorted(set(source))],
        target_words=[f"#{n}" for n in sorted(set(target))],
        subtract_words=[f"#{n}" for n in sorted(set(out))],
        threshold=region["threshold"],
        subtract_threshold=region["threshold"],
        start=region["start"],
        soft=region["soft"],
        mask=region["mask"] or None,
        keep_pixels=region["pixels"],
    )


def of_edit(engine: Engine, source_prompt: str, edit: Any, steps: int) -> tuple[Controls, list[str]]:
    """The controls that ask for `edit`, and sentences about what they can't show.

    The other way round from `read`; the edits that the app makes come back as they were.
    """
    plan = engine.p2p.plan(source_prompt, edit, steps=steps)
    texts = [word.text for word in plan.target.words]
    keys = desks.keys(texts)
    notes = []
    weights: dict[str, float] = {}
    for name in _specific_last(edit.weights):
        for n in plan.target.find_words(name):
            weights[keys[n]] = edit.weights[name]
    if any(not desks.LOW <= w <= desks.HIGH for w in weights.values()):
        notes.append(f"Faders reach from {desks.LOW:g} to {desks.HIGH:g}; what was beyond stands at the end.")
    cross, own = edit.cross_steps, {}
    if isinstance(cross, Mapping):
        for name in _specific_last(n for n in cross if n != "default_"):
            for n in plan.target.find_words(name):
                own[keys[n]] = [cross[name].start, cross[name].end]
        cross = cross.get("default_", engine.core.Window())
    timeline = {
        "steps": steps,
        "cross": [cross.start, cross.end],
        "self": [edit.self_steps.start, edit.self_steps.end],
        "faders": [edit.weight_steps.start, edit.weight_steps.end],
        "words": own,
    }
    blend, region = edit.blend, {}
    if blend is not None:
        partners = _partners(plan)
        names = [f"-{key}" for key in desks.keys([word.text for word in plan.source.words])]
        target = {n for name in blend.target_words for n in plan.target.find_words(name)}
        source = {n for name in blend.source_words for n in plan.source.find_words(name)}
        # a chosen word brings its partners along, so words of the source may be meant by one in the target
        chosen = sorted(target | {n for n, (_, theirs) in partners.items() if source & set(theirs)})
        met = {s for n in chosen for s in partners[n][1]}
        if set(chosen) != target or met - source:
            notes.append("A region's words stand for their partners in the other prompt too.")
        region = {
            "chosen": [keys[n] for n in chosen] + [names[n] for n in sorted(source - met)],
            "out": [keys[n] for name in blend.subtract_words for n in plan.target.find_words(name)],
            "threshold": blend.threshold,
            "start": blend.start,
            "soft": blend.soft,
            "mask": blend.mask or "",
            "pixels": blend.keep_pixels,
        }
    fresh = engine.core.Edit(edit.prompt)
    extra = {n: getattr(edit, n) for n in ("kind", "self_pixels") if getattr(edit, n) != getattr(fresh, n)}
    rows = {"words": [], "weights": weights}
    controls = Controls(edit.prompt, Desk.clean(rows), Timeline.clean(timeline), Region.clean(region), extra)
    return controls, notes


def _specific_last(names: Iterable[Any]) -> list[Any]:
    """Words before phrases before numbers: the more specific one wins."""
    return sorted(
        names, key=lambda n: 10**6 if not isinstance(n, str) or n.startswith("#") else len(n.split())
    )


def chips(plan: Any) -> dict[str, Any]:
    """The alignment for the chips; words in one span that share a fate stay apart where they were kept."""
    spans = []
    source, target = plan.source.words, plan.target.words
    for span in plan.alignment.spans:
        if span.kind == "kept" or (span.kind == "swapped" and len(span.source) == len(span.target)):
            pairs = [((s,), (t,)) for s, t in zip(span.source, span.target, strict=False)]
        elif span.kind == "added":
            pairs = [((), (t,)) for t in span.target]
        elif span.kind == "removed":
            pairs = [((s,), ()) for s in span.source]
        else:
            pairs = [(span.source, span.target)]
        for theirs, ours in pairs:
            spans.append(
                {
                    "kind": span.kind,
                    "source": " ".join(source[s].text for s in theirs),
                    "target": " ".join(target[t].text for t in ours),
                    "cut": bool(ours) and not any(target[t].tokens for t in ours),
                }
            )
    shown = {t for span in plan.alignment.spans for t in span.target}
    spans += [
        {"kind": "added", "source": "", "target": word.text, "cut": not word.tokens}
        for n, word in enumerate(target)
        if n not in shown
    ]
    return {"spans": spans}


def example_controls(example: Example) -> Controls:
    """An example's edit as the page's controls."""
    names = dict.fromkeys(desks.keys(example.prompt.replace(",", " ").split()))
    weights = {name: w for word, w in example.weights.items() for name in names if name.split("/")[0] == word}
    chosen = [name for name in names if name.rsplit("/", 1)[0] in example.region]
    windows = {"cross": list(example.cross), "self": list(example.self), "steps": example.steps}
    before = example.source.casefold().replace(",", " ").split()
    new = [name for name in names if name.rsplit("/", 1)[0] not in before]
    picked = next(iter([*chosen[-1:], *weights, *new[-1:]]), None)
    return Controls.fresh(
        example.prompt,
        desk={"words": [], "weights": weights, "picked": picked},
        timeline=Timeline.clean(windows),
        region=Region.clean({"chosen": chosen}),
    )


def first_boards(example: Example) -> dict[str, dict[str, Any]]:
    """The boards that the page opens with, before the tokenizer is there: words as white space has them."""
    old, new = ([word.strip(",.") for word in text.split()] for text in (example.source, example.prompt))
    swaps = [s if len(old) == len(new) and s != t else "" for s, t in zip_longest(old, new, fillvalue="")]
    swaps = swaps[: len(new)]
    states = ["swapped" if swap else "kept" for swap in swaps]
    rows = zip(states, swaps, new, desks.keys(new), strict=True)
    spans, words = [], []
    for state, swap, word, key in rows:
        spans.append({"kind": state, "source": swap or word, "target": word, "cut": False})
        words.append({"text": word, "old": swap, "key": key})
    return {
        "chips": {"spans": spans, "notes": []},
        "desk": desks.with_words(Desk.clean(None), new, states, [False] * len(new)),
        "region": Region.clean({"words": words}),
    }
