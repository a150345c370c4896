"""Settings that find themselves: the timeline's windows and the region follow what the prompt changes."""

from __future__ import annotations

from dataclasses import replace

from p2p_core import Edit

from .components.desk import word_keys
from .controls import Controls
from .engine import Engine
from .sessions import Session


def with_suggestion(engine: Engine, session: Session, controls: Controls) -> Controls:
    """The controls with what is suggested for their prompt, where the boards leave it to us.

    The last suggestion is kept: a fader that is dragged asks for the same one many times a second.
    """
    timeline, region, source = controls.timeline, controls.region, session.source
    if source is None or not controls.prompt.strip() or not (timeline.auto or region.auto):
        return controls
    key = (source.key, controls.prompt)
    if session.suggestion is None or session.suggestion[0] != key:
        session.suggestion = key, engine.p2p.suggest(source, controls.prompt)
    edit = session.suggestion[1]
    return following(engine, controls, edit, windows=timeline.auto, place=region.auto and not region.mask)


def following(
    engine: Engine, controls: Controls, edit: Edit, *, windows: bool = True, place: bool = True
) -> Controls:
    """The controls with a suggested edit's windows, and its region."""
    timeline, region = controls.timeline, controls.region
    if windows:
        cross, self_ = ([window.start, window.end] for window in (edit.cross_steps, edit.self_steps))
        timeline = timeline.replace(cross=cross, self=self_, words={})
    if place:
        keys = word_keys([word.text for word in engine.p2p.prompt(controls.prompt).words])
        blend = edit.blend
        region = region.replace(chosen=[keys[int(n)] for n in blend.target_words] if blend else [], out=[])
        if blend:
            region = region.replace(threshold=blend.threshold, sharp=blend.refine)
    return replace(controls, timeline=timeline, region=region)
