"""Sentences for the page: what a run did, what an edit is, why a control changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from p2p_core import has_weights

from .components.line import line, megabytes, seconds
from .components.timeline import TimelineValue
from .controls import Reading

if TYPE_CHECKING:
    from p2p_core import Plan, Result, Source

NO_SOURCE = "There is no source picture yet. Press Generate first."
PAGE_FREED = (
    "This page was left alone for long, and what it held was freed. Load it again: its last edit comes back."
)

ENDED = "The server is being stopped. Load this page again in a while: its last edit comes back."


def waiting_text(ahead: int, each: float | None) -> str:
    """How many runs are ahead, and about how long they take. each: seconds of one, if it is known."""
    runs = "one run is" if ahead == 1 else f"{ahead} runs are"
    about = "" if each is None else f", about {seconds(ahead * each)}"
    return f"waiting for your turn \u2014 {runs} ahead of yours{about}"


def source_memory(source: Source) -> str:
    """Where a source's recorded attention lies and how much it is."""
    if not source.tiers:
        return f"source held as latents only, {megabytes(source.nbytes)}"
    return f"source in {source.where}, {megabytes(source.nbytes)}"


def source_tab(source: Source) -> str:
    """Which tab of the source card the source came from."""
    return "words" if source.inversion is None else "picture"


def result_line(result: Result) -> dict[str, Any]:
    """The honest line about a finished edit."""
    source = result.source
    tab = {"source": source_tab(source)}
    if result.plan.changes_nothing:
        text = f" for {source.steps} steps — {source_memory(source)}"
        return line("done", f"*{seconds(source.seconds)}", text) | tab | {"fold": 1}
    parts = [
        f"*{seconds(result.seconds)}",
        " — recomputed ",
        f"*{result.steps_computed}",
        f" of {result.steps_total} steps, {result.steps_reused} reused — {source_memory(source)}",
    ]
    parts += [f" — {note}" for note in source.notes]
    if result.mask is not None:
        parts.append(f" — region covers {float(result.mask.mean()):.0%} of the picture")
    return line("done", *parts, edited=True) | tab | {"fold": 1}


def inversion_line(source: Source) -> dict[str, Any]:
    """The line about an inversion: what it took, and how well the picture comes back."""
    report: Any = source.inversion
    parts = [f"*{seconds(source.seconds)}", " \u2014 comes back at ", f"*{report.psnr:.1f} dB"]
    parts.append(f"; the autoencoder alone gives {report.psnr_ceiling:.1f} dB")
    if report.psnr < report.psnr_ceiling - 0.5:
        parts.append(", so the inversion loses something: try another method")
    parts.append(f" \u2014 {source_memory(source)}")
    return line("done", *parts) | {"source": source_tab(source), "fold": 1}


def edit_title(reading: Reading, steps: int, *, edited: bool = True) -> str:
    """A picture's title in the history: an edit's prompt, and what else the controls say; or the source's."""
    controls = reading.controls
    if not edited:
        return f"source: {controls.prompt}"
    desk, timeline, region = controls.desk, controls.timeline, controls.region
    parts = []
    for word in desk.words:
        if word.key in desk.muted:
            parts.append(f"{word.text} muted")
        elif word.key in desk.solo:
            parts.append(f"{word.text} solo")
        elif word.key in desk.weights and not word.cut:
            parts.append(f"{word.text} {desk.weights[word.key]:.2f}")
    for window, name in ((timeline.cross, "layout"), (timeline.self, "shape")):
        parts.append(f"{name} {window_text(window, steps)}")
    parts += _of_its_own(timeline)
    if desk.mode != "gain" and reading.edit.weights:
        parts.append(f"faders as {desk.mode}")
    if timeline.faders != [0, 1]:
        parts.append(f"faders {window_text(timeline.faders, steps)}")
    texts = {word.key: word.text for word in desk.words}
    parts += [f"{texts[k]} {window_text(w, steps)}" for k, w in timeline.words.items() if k in texts]
    if region.chosen:
        parts.append(f"region {' '.join(key.lstrip('-').rsplit('/', 1)[0] for key in region.chosen)}")
    if region.mask:
        parts.append("painted region")
    return f"{controls.prompt} \u2014 {', '.join(parts)}"


def _of_its_own(timeline: TimelineValue) -> Iterator[str]:
    """What an edit has that isn't the source's."""
    if timeline.amount != 1:
        yield f"amount {timeline.amount:.2f}"
    if timeline.guidance is not None:
        yield f"guidance {timeline.guidance:g}"
    if timeline.negative:
        yield f"without {timeline.negative}"


def window_text(window: Sequence[float], steps: int) -> str:
    """A window in steps, as the timeline rounds it."""
    start, end = (int(f * steps + 0.5 + 1e-9) for f in window)
    return f"{start}\u2013{end}" if end > start else "off"


def notes_of(reading: Reading, result: Result | None = None) -> list[str]:
    """All there is to say about an edit, and about its result once it is there."""
    return [*reading.plan.notes, *idle_controls(reading), *(idle_region(result) if result else ())]


def idle_controls(reading: Reading) -> list[str]:
    """Why controls that are off their defaults change nothing, as far as that shows without a run."""
    region, timeline = reading.controls.region, reading.controls.timeline
    texts = {word.key: word.text or word.old for word in region.words}
    notes = [
        f"\u201c{texts.get(key, key)}\u201d is both in the region and left out: its place stays the source."
        for key in region.chosen
        if key in region.out
    ]
    if region.out and not region.chosen and not region.mask:
        out = ", ".join(f"\u201c{texts.get(key, key)}\u201d" for key in region.out)
        notes.append(
            f"Leaving out {out} changes nothing because there is no region: choose a word, or paint it."
        )
    notes += [
        f"The window of \u201c{texts[key]}\u201d changes nothing because it is that of the layout."
        for key, window in timeline.words.items()
        if window == timeline.cross and key in texts
    ]
    return notes


def idle_region(result: Result) -> list[str]:
    """Why a region changes nothing, once it is known where it lies."""
    if result.mask is None or result.mask.max() > 0:
        return []
    return ["This changes nothing because the region covers no part of the picture: lower its threshold."]


def chips_value(plan: Plan, notes: Sequence[str]) -> dict[str, Any]:
    """The alignment for the chips; words of one span that are there in both prompts get a chip each."""
    spans = []
    source, target = plan.source.words, plan.target.words
    for span in plan.alignment.spans:
        pairs: list[tuple[Sequence[int], Sequence[int]]] = [(span.source, span.target)]
        if span.kind == "kept" or (span.kind == "swapped" and len(span.source) == len(span.target)):
            pairs = [((s,), (t,)) for s, t in zip(span.source, span.target, strict=False)]
        elif span.kind == "added":
            pairs = [((), (t,)) for t in span.target]
        elif span.kind == "removed":
            pairs = [((s,), ()) for s in span.source]
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
    return {"spans": spans, "notes": [*notes], "weighted": has_weights(plan.target.text)}
