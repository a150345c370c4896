"""Settings that find themselves: how far an edit should hold on to the source, and where it may change it.

What is swapped or added is known from the alignment, and where each old word looks from the source's records,
so no UNet call is needed. A word whose map is compact is a thing or says something of one, and the edit is
confined to it (Prompt-to-Prompt, local editing); a wide one is the scene. The holds were fitted on the tuning
scenes of `benchmarks.edits_tuning`, where they are the best of their kind or within a percent of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .alignment import Span, align
from .edit import VARIANTS, Blend, Edit
from .engine import Engine
from .prompt import Prompt
from .source import Source

MAX_COMPACT_SHARE = 0.22  # of the picture where a thing's map is above half its range; places begin at 0.29
BLEND_THRESHOLD = 0.4
# Words that say nothing by themselves. A phrase that holds one stands apart from the word behind it.
FUNCTION_WORDS = frozenset(
    "a an the of in on at with without and or to for from by near over under behind is are its".split()
)
Change = Literal["thing", "modifier", "scene", "addition", "weights"]
Hold = tuple[float, float]  # windows of cross- and self-attention injection

# From the tightest to the loosest; `suggest` takes the second.
HOLDS: dict[Change, tuple[Hold, Hold, Hold, Hold]] = {
    "thing": ((0.3, 0.4), (0.1, 0.2), (0.0, 0.1), (0.0, 0.0)),
    "modifier": ((1.0, 0.6), (0.9, 0.4), (0.5, 0.2), (0.1, 0.0)),
    "scene": ((1.0, 0.4), (0.5, 0.4), (0.3, 0.2), (0.1, 0.0)),
    "addition": ((0.3, 0.4), (0.1, 0.1), (0.0, 0.1), (0.0, 0.0)),
    "weights": ((1.0, 0.8), (1.0, 0.3), (0.6, 0.2), (0.3, 0.0)),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One change between two prompts. source, target: numbers of the words whose place it may change; none of
    either: all of the picture."""

    kind: Change
    reason: str
    source: tuple[int, ...] = ()
    target: tuple[int, ...] = ()


SAME_WORDS = Finding(kind="weights", reason="The words are the same: what weights change keeps its place.")


class Suggesters(Engine):
    """An engine that finds settings for a change of the prompt."""

    def suggest(self, source: Source, prompt: str) -> Edit:
        """An edit of the source to this prompt, its windows and region chosen by the kind of change.

        Its `notes` say why. Where several words change, the loosest hold counts, and there is a region only
        if every change has its place. Runs no model. Raises `BadInput`.
        """
        return self.variants(source, prompt)[VARIANTS.index("balanced")]

    def variants(self, source: Source, prompt: str) -> list[Edit]:
        """Four edits to this prompt, from "strict", near the source, over "balanced", which `suggest` gives,
        and "free" to "a hint" of it: the first of their `notes`."""
        return _variants(self.check_source(source), self.prompt(prompt))


def _variants(source: Source, prompt: Prompt) -> list[Edit]:
    findings = list(_findings(source, prompt)) or [SAME_WORDS]
    reasons = tuple(found.reason for found in findings)
    blend = None
    if all(found.source for found in findings):
        blend = Blend(
            source_words=tuple(dict.fromkeys(n for found in findings for n in found.source)),
            target_words=tuple(dict.fromkeys(n for found in findings for n in found.target)),
            threshold=BLEND_THRESHOLD,
        )
    edits = []
    for number, name in enumerate(VARIANTS):
        holds = [HOLDS[found.kind][number] for found in findings]
        edits.append(
            Edit(
                prompt.text,
                cross_steps=min(cross for cross, _ in holds),
                self_steps=min(self_ for _, self_ in holds),
                blend=blend,
                notes=(name, *reasons),
            )
        )
    return edits


def _findings(source: Source, target: Prompt) -> Iterator[Finding]:
    """What changes from the source's prompt to the target's, in reading order."""
    spans = align(source.prompt, target).spans
    for number, span in enumerate(spans):
        if span.kind == "kept":
            continue
        behind = spans[number + 1] if number + 1 < len(spans) else None
        noun = behind if behind is not None and behind.kind == "kept" else None
        prompt, numbers = (target, span.target) if span.target else (source.prompt, span.source)
        yield _finding(source, span, noun, [prompt.words[n].text for n in numbers])


def _finding(source: Source, span: Span, noun: Span | None, words: list[str]) -> Finding:
    """noun: the kept word right behind the changed ones, which they may say something of."""
    said = " ".join(words)
    attached = noun is not None and not FUNCTION_WORDS & {word.casefold() for word in words}
    if noun is not None and attached and _is_compact(source, noun.source):
        name = source.prompt.words[noun.source[0]].text
        of = f'"{said}" is said of "{name}"'
        if span.kind == "swapped":
            reason = f"{of}: its shape is held long, and only its place may change."
            return Finding(kind="modifier", reason=reason, source=noun.source, target=noun.target)
        reason = f"{of}: only its place may change."
        return Finding(kind="addition", reason=reason, source=noun.source, target=noun.target)
    if span.kind == "swapped":
        old = " ".join(source.prompt.words[n].text for n in span.source)
        if _is_compact(source, span.source):
            reason = f'"{old}" is a thing in one place: only there the picture may change, its shape too.'
            return Finding(kind="thing", reason=reason, source=span.source, target=span.target)
        return Finding(kind="scene", reason=f'"{old}" is all over the picture: no region, a long hold.')
    verb = "is new" if span.kind == "added" else "is gone"
    return Finding(kind="addition", reason=f'"{said}" {verb}: the picture may change everywhere, a little.')


def _is_compact(source: Source, words: tuple[int, ...]) -> bool:
    """Whether the words look at one small part of the picture; those that the encoder doesn't read do not."""
    seen = [n for n in words if source.prompt.words[n].tokens]
    if not seen:
        return False
    attention = np.mean([source.attention(n) for n in seen], axis=0)
    low, high = attention.min(), attention.max()
    return bool((attention > (low + high) / 2).mean() <= MAX_COMPACT_SHARE)
