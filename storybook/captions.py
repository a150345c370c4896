"""Captions: the grammar of the world's prompts."""

from __future__ import annotations

import numpy as np

from .scenes import DEGREES, Scene

PLACE = {
    "field": "in a grassy field",
    "beach": "on a beach",
    "desert": "in a desert",
    "hill": "on a snowy hill",
    "street": "on a street",
    "forest": "in a forest",
}
TIME = {"day": "", "sunset": "at sunset", "night": "at night"}
STYLE = {
    "illustration": "",
    "sketch": "a pencil sketch of",
    "watercolor": "a watercolor of",
    "pixel": "pixel art of",
}
EXTRA_WORDS = (
    "a an the of and with in on at under over by near photo picture painting drawing image sky sun moon star "
    "small big little bright dark rain wind flower river lake mountain bird fish horse bear teddy basket "
    "apple winter summer spring autumn morning noon day very slightly light heavy"
)  # known to the tokenizer though never drawn


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def caption(
    scene: Scene,
    rng: np.random.Generator | None = None,
    *,
    color: bool = True,
    place: bool = True,
) -> str:
    """The caption of a scene. With `rng` the order varies; without, it is the plain form.

    color, place: leave these words out, so that the model also learns prompts without them.
    """
    thing = f"{scene.color} {scene.subject}" if color else scene.subject
    head = " ".join(filter(None, (STYLE[scene.style], article(thing), thing)))
    parts = [head, PLACE[scene.place] if place else "", TIME[scene.time]]
    degrees = [name for name in DEGREES if getattr(scene, name) > 0]
    if rng is not None:
        rng.shuffle(degrees)
        if parts[2] and rng.random() < 0.15:  # "at night, a red house on a beach"
            parts = [f"{parts[2]}, {parts[0]}", parts[1]]
    return ", ".join([" ".join(filter(None, parts)), *degrees])


def training_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption as trained on: some without the colour or the place, none at all one time in ten."""
    if rng.random() < 0.1:
        return ""
    return caption(scene, rng, color=rng.random() >= 0.1, place=rng.random() >= 0.06)
