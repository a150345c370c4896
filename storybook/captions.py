"""Captions: the grammar of the world's prompts."""

from __future__ import annotations

import numpy as np

from .scenes import Scene

PLACE = {
    "field": ("in", "field"),
    "beach": ("on", "beach"),
    "desert": ("in", "desert"),
    "hill": ("on", "hill"),
    "street": ("on", "street"),
    "forest": ("in", "forest"),
}
TIME = {"day": "", "sunset": "at sunset", "night": "at night"}
SEASON = {"summer": "", "autumn": "in autumn", "winter": "in winter", "spring": "in spring"}
SKY = {"open": "", "rainbow": "with a rainbow"}
STYLE = {
    "illustration": "",
    "sketch": "a pencil sketch of",
    "watercolor": "a watercolor of",
    "pixel": "pixel art of",
}
OF_PLACES = ("snowy", "foggy", "rainy", "blossoming", "crowded")  # said of the place or at the end
EXTRA_WORDS = (
    "a an the of and with in on at under over by near photo picture painting drawing image sky sun moon star "
    "small big little bright dark rain wind flower river lake mountain bird fish horse teddy basket grassy "
    "apple summer spring morning noon day very slightly light heavy hat bicycle flower snow clear sunny"
)  # known to the tokenizer though seldom or never drawn
# Words made of several tokens, so that they are met in earnest: in training, in edits, in maps.
IN_PIECES = {
    "lighthouse": ("light", "house"),
    "butterfly": ("butter", "fly"),
    "mushroom": ("mush", "room"),
    "hippopotamus": ("hippo", "pot", "amus"),
    "blossoming": ("blossom", "ing"),
}


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def named(words: str) -> str:
    """With its article: "an orange dog"."""
    return f"{article(words)} {words}"


def caption(
    scene: Scene,
    rng: np.random.Generator | None = None,
    *,
    color: bool = True,
    place: bool = True,
) -> str:
    """The caption of a scene. With `rng` the wording varies; without, it is the plain form.

    Plain: "a fluffy red cat on a snowy hill at night in winter, starry, with a rainbow": one word of degree
    before the place, the others at the end. color, place: leave these words out, so that the model also
    learns prompts without them.
    """

    def chance(share: float) -> bool:
        return rng is not None and bool(rng.random() < share)

    def degree(name: str) -> str:
        """The word of degree; in one caption of three with how much of it there is."""
        amount = getattr(scene, name)
        if chance(0.35):
            return f"slightly {name}" if amount < 0.5 else f"very {name}" if amount > 0.75 else name
        return name

    there = [name for name in OF_PLACES if getattr(scene, name)]
    if rng is not None:
        rng.shuffle(there)
    before = 1 if there and place and not chance(0.4) else 0
    adjectives, trailing = [[degree(name) for name in part] for part in (there[:before], there[before:])]
    time = TIME[scene.time]
    if scene.starry and chance(0.4):
        time = f"on {named(degree('starry') + ' night')}"
    elif scene.starry:
        trailing.append(degree("starry"))
    season, sky = SEASON[scene.season], SKY[scene.sky]
    thing = [*([degree("fluffy")] if scene.fluffy else []), *([scene.color] if color else []), scene.subject]
    preposition, noun = PLACE[scene.place]
    what, where = named(" ".join(thing)), named(" ".join([*adjectives, noun]))

    start = ""
    if time and chance(0.15):
        start, time = time, ""
    elif season and chance(0.2):
        start, season = season, ""
    if not place:
        head = what
    elif chance(0.12):
        head = f"{where} with {what}"
    else:
        head = f"{what} {preposition} {where}"
    head = " ".join(filter(None, (STYLE[scene.style], head, time, season)))
    return ", ".join(filter(None, (start, head, *trailing, sky)))


def training_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption as trained on: some without the colour or the place, none at all one time in ten."""
    if rng.random() < 0.1:
        return ""
    return caption(scene, rng, color=rng.random() >= 0.08, place=rng.random() >= 0.06)
