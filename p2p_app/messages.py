"""Sentences and lists for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from . import pictures
from .components.widgets import line, megabytes, seconds
from .examples import Example
from .sessions import Session


def listed(examples: tuple[Example, ...]) -> list[dict[str, str]]:
    return [
        {"title": example.title, "hint": example.hint, "src": pictures.thumb_of(example.picture)}
        for example in examples
    ]


def held(source: Any) -> str:
    """Where a source's recorded attention lies and how much it is."""
    if source.where == "latents only":
        return f"source held as latents only, {megabytes(source.nbytes)}"
    return f"source in {source.where}, {megabytes(source.nbytes)}"


def live(source: Any) -> str:
    """Which tab of the source card the source came from."""
    return "words" if source.inversion is None else "picture"


def told(result: Any) -> dict[str, Any]:
    """The honest line about a finished edit."""
    source, said = result.source, {"source": live(result.source)}
    if result.plan.changes_nothing:
        text = f" for {source.steps} steps — {held(source)}"
        return line("done", f"*{seconds(source.seconds)}", text) | said
    parts = [
        f"*{seconds(result.seconds)}",
        " — recomputed ",
        f"*{result.steps_computed}",
        f" of {result.steps_total} steps, {result.steps_reused} reused — {held(result.source)}",
    ]
    if result.mask is not None:
        parts.append(f" — region covers {float(result.mask.mean()):.0%} of the picture")
    return line("done", *parts, edited=True) | said


def titled(reading: Any, steps: int) -> str:
    """An edit's title in the history: its prompt, and what else the controls say."""
    controls = reading.controls
    desk, timeline, region = controls.desk, controls.timeline, controls.region
    parts = []
    for word in desk["words"]:
        key = word["key"]
        if key in desk["muted"]:
            parts.append(f"{word['text']} muted")
        elif key in desk["solo"]:
            parts.append(f"{word['text']} solo")
        elif key in desk["weights"] and not word["cut"]:
            parts.append(f"{word['text']} {desk['weights'][key]:.2f}")
    for lane, name in (("cross", "layout"), ("self", "shape")):
        parts.append(f"{name} {ran(timeline[lane], steps)}")
    if timeline["faders"] != [0, 1]:
        parts.append(f"faders {ran(timeline['faders'], steps)}")
    texts = {word["key"]: word["text"] for word in desk["words"]}
    parts += [f"{texts[k]} {ran(own, steps)}" for k, own in timeline["words"].items() if k in texts]
    if region["chosen"]:
        parts.append(f"region {' '.join(key.lstrip('-').rsplit('/', 1)[0] for key in region['chosen'])}")
    if region["mask"]:
        parts.append("painted region")
    return f"{controls.prompt} \u2014 {', '.join(parts)}"


def ran(window: Sequence[float], steps: int) -> str:
    """A window in steps, as the timeline rounds it."""
    start, end = (int(f * steps + 0.5 + 1e-9) for f in window)
    return f"{start}\u2013{end}" if end > start else "off"


def idle_controls(reading: Any) -> list[str]:
    """Why controls that are off their defaults change nothing, as far as that shows without a run."""
    controls = reading.controls
    region, timeline = controls.region, controls.timeline
    texts = {word["key"]: word["text"] or word["old"] for word in region["words"]}
    notes = [
        f"\u201c{texts.get(key, key)}\u201d is both in the region and left out: its place stays the source."
        for key in region["chosen"]
        if key in region["out"]
    ]
    if region["out"] and not region["chosen"] and not region["mask"]:
        out = ", ".join(f"\u201c{texts.get(key, key)}\u201d" for key in region["out"])
        notes.append(
            f"Leaving out {out} changes nothing because there is no region: choose a word, or paint it."
        )
    for key, own in timeline["words"].items():
        if own == timeline["cross"] and key in texts:
            notes.append(
                f"The window of \u201c{texts[key]}\u201d changes nothing because it is that of the layout."
            )
    return notes


def idle_region(result: Any) -> list[str]:
    """Why a region changes nothing, once it is known where it lies."""
    if result.mask is None or result.mask.max() > 0:
        return []
    return ["This changes nothing because the region covers no part of the picture: lower its threshold."]


def shelf(session: Session) -> dict[str, Any]:
    items = [{"src": entry.thumb, "title": entry.title} for entry in session.history]
    return {"items": items, "current": session.current, "clicked": None}


def settings_of(source: Any) -> dict[str, Any]:
    """The source card's controls as the source was made: from words, or from a picture."""
    settings = {
        "steps": source.steps,
        "guidance": source.guidance_scale,
        "negative": source.negative_prompt,
    }
    if source.inversion is not None:
        described = source if source.origin is None else source.origin[0]
        return {
            **settings,
            "yours_prompt": described.prompt.text,
            "source_tabs": gr.update(selected="yours"),
        }
    return {
        **settings,
        "source_prompt": source.prompt.text,
        "seed": source.seed,
        "source_tabs": gr.update(selected="words"),
    }


def inverted(source: Any) -> dict[str, Any]:
    """The line about an inversion: what it took, and how well the picture comes back."""
    found = source.inversion
    parts = [f"*{seconds(source.seconds)}", " \u2014 comes back at ", f"*{found.psnr:.1f} dB"]
    parts.append(f"; the autoencoder alone gives {found.psnr_ceiling:.1f} dB")
    if found.psnr < found.psnr_ceiling - 0.5:
        parts.append(", so the inversion loses something: try another method")
    parts.append(f" \u2014 {held(source)}")
    return line("done", *parts) | {"source": live(source)}
