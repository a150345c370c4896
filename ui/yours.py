"""Your picture: upload, describe, invert, and see how well it comes back before it is edited."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import pictures
from .telling import held, settings_of
from .widgets import line, seconds

METHODS = {  # as the page says them -> the engine's name, UNet rows a step, what it is like
    "direct": ("direct", 2.0, "exact, and quick: the picture itself is the source"),
    "null-text": ("null_text", 32.0, "exact, and the guidance follows the picture: slow"),
    "negative prompt": ("negative_prompt", 3.0, "quick and close"),
    "DDIM": ("ddim", 3.0, "the paper's first way: drifts away from the picture"),
}
HINT = (
    "Name everything that you want to edit: the thing, its colour, the place, the weather. "
    "What the description leaves out can't be turned or swapped."
)


def costs(a_step: float | None, steps: int) -> str:
    """The methods and about how long each takes here."""
    if a_step is None:
        return ""
    parts = [f"{name} {seconds(max(0.1, rows * steps * a_step / 2))}" for name, (_, rows, _) in METHODS.items()]
    return "about " + ", ".join(parts)


def report(source: Any) -> dict[str, Any]:
    """The line about an inversion."""
    found = source.inversion
    parts = [f"*{seconds(source.seconds)}", " — comes back at ", f"*{found.psnr:.1f} dB"]
    if found.psnr_vae < 98:
        parts.append(f", {found.psnr_vae:.1f} dB beside what the autoencoder alone keeps")
    parts.append(f" (the autoencoder alone: {found.psnr_ceiling:.1f} dB) — {held(source)}")
    return line("done", *parts)


class YoursHandlers:
    """Handlers of the tab. Mixed into the runs."""

    def described(self: Any, method: str, steps: int) -> Any:
        """What a method costs, as it is chosen."""
        text = METHODS.get(method, METHODS["direct"])[2]
        cost = costs(self.a_step, int(steps) if steps else 30)
        yield {"yours_note": f"{text}. {cost}"}

    def invert(self: Any, wish: dict[str, Any], clock: float, request: gr.Request) -> Any:
        """A picture becomes the source; the edit prompt begins as its description."""
        session = self.sessions.get(request.session_hash)
        if not wish["yours_picture"]:
            yield {"line": line("error", "There is no picture yet. Drop one, paste it, or take it with the camera.")}
            return
        text = (wish["yours_prompt"] or "").strip()
        if not text:
            yield {"line": line("error", f"Describe the picture first. {HINT}")}
            return
        method = METHODS.get(wish["yours_method"], METHODS["direct"])[0]
        yield {"line": line("busy", "to noise and back …")}
        states = self.engine.p2p.inverting(
            wish["yours_picture"],
            text,
            method=method,
            steps=wish["steps"],
            guidance_scale=wish["guidance"],
            negative_prompt=wish["negative"] or "",
            fit="pad" if wish["yours_fit"] == "pad" else "crop",
            center=(wish["yours_x"], wish["yours_y"]),
        )
        source = yield from self._run(session, states, clock, "inverting", None)
        if source is None:
            return
        before = session.sources()
        session.source, session.result, session.edited, session.exact = source, None, None, None
        session.source_path = pictures.shown(source.image, session.path("source.png"))
        self.sessions.trim(session, before)
        original = pictures.shown(source.inversion.picture, session.path("original.png"))
        session.controls = session.controls.__class__.fresh(text)
        yield {
            "yours_compare": gr.update(value=(original, session.source_path), visible=True),
            "picture": (session.source_path, session.source_path),
            "look": {},
            "prompt": text,
            **{k: v for k, v in settings_of(source).items() if k not in ("seed",)},
        }
        yield from self.run_edit(session, clock)
        yield {"line": report(source)}
