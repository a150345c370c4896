"""Sentences and lists for the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import pictures
from .examples import Example
from .sessions import Session
from .widgets import line, megabytes, seconds


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
