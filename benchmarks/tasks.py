"""The fixed list of edits of the ground-truth benchmark, each with its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from p2p_core import Blend, Edit
from storybook.captions import IN_PIECES, caption
from storybook.scenes import (
    ANIMALS,
    ATTRIBUTES,
    COLORS,
    DEGREES,
    LEAST,
    PLACES,
    SUBJECTS,
    Scene,
)

# What an edit changes. The first three swap a word, the others add one or a phrase.
KINDS = ("subject", "color", "place", "time", "season", "weather", "sky", "style", "degree")
LOCAL = ("subject", "color")  # that should leave all but the subject alone: where a local blend makes sense
SOURCES = 32


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Windows of injection, and the local blend."""

    cross: float = 0.0
    self_: float = 0.0
    threshold: float | None = None  # of the blend; None: no blend
    start: float = 0.2
    subtract: float = 0.4  # of a new place's blend, which leaves the subject out

    def __str__(self) -> str:
        text = f"{self.cross:g} / {self.self_:g}"
        return text if self.threshold is None else f"{text} / {self.threshold:g} from {self.start:g}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One edit: the scenes before and after, and the layout of the drawing in which both are known."""

    number: int  # of its source
    kind: str
    word: str  # what the target has and the source has not
    source: Scene
    target: Scene
    layout: int

    @property
    def local(self) -> bool:
        """Whether all but the subject should stay."""
        return self.kind in LOCAL or self.word == "fluffy"

    @property
    def blended(self) -> bool:
        """Whether a local blend makes sense: at the subject, or everywhere but there for a new place."""
        return self.local or self.kind == "place"

    @property
    def in_pieces(self) -> bool:
        """Whether a swapped word is made of several tokens."""
        return self.kind == "subject" and bool({self.source.subject, self.target.subject} & set(IN_PIECES))

    @property
    def pieces(self) -> str:
        """Which of two swapped subjects' words are made of several tokens."""
        found = [name for name in ("source", "target") if getattr(self, name).subject in IN_PIECES]
        return (
            {"source": "the old", "target": "the new"}[found[0]]
            if len(found) == 1
            else ("both" if found else "none")
        )

    def edit(self, setting: Setting) -> Edit:
        blend = None
        if setting.threshold is not None and self.kind == "place":
            blend = Blend(
                source_words=(self.source.place,),
                target_words=(self.target.place,),
                threshold=setting.threshold,
                start=setting.start,
                subtract_words=(self.target.subject,),
                subtract_threshold=setting.subtract,
            )
        elif setting.threshold is not None:
            blend = Blend(
                source_words=(self.source.subject,),
                target_words=(self.target.subject,),
                threshold=setting.threshold,
                start=setting.start,
            )
        return Edit(caption(self.target), cross_steps=setting.cross, self_steps=setting.self_, blend=blend)


Combination = tuple[str, str, str]  # subject, colour, place


def combination(scene: Scene) -> Combination:
    return scene.subject, scene.color, scene.place


def source_scene(rng: np.random.Generator, number: int, taken: frozenset[Combination] = frozenset()) -> Scene:
    """A combination never trained on, in summer and clear weather, so that there is something to add.

    taken: combinations to stay away from.
    """
    while True:
        scene = Scene(
            subject=SUBJECTS[number % len(SUBJECTS)],  # every subject as often
            color=str(rng.choice(COLORS)),
            place=str(rng.choice(PLACES)),
            time=str(rng.choice(("day", "day", "sunset", "night"))),
        )
        if scene.held_out and combination(scene) not in taken:
            return scene


def another(rng: np.random.Generator, values: tuple[str, ...], old: str) -> str:
    return str(rng.choice([v for v in values if v != old]))


def edits_of(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[str, str, Scene]]:
    """(kind, new word, target scene) of a source: two other subjects, and one edit of every other kind."""
    single = tuple(s for s in SUBJECTS if s not in IN_PIECES)
    several = tuple(s for s in SUBJECTS if s in IN_PIECES)
    for subjects in (single, several):
        word = another(rng, subjects, scene.subject)
        yield "subject", word, scene.but(subject=word)
    for kind in ("color", "place", "season", "weather", "sky", "style"):
        word = another(rng, ATTRIBUTES[kind], getattr(scene, kind))
        yield kind, word, scene.but(**{kind: word})
    if scene.time == "day":
        word = str(rng.choice(("sunset", "night")))
        yield "time", word, scene.but(time=word)
    words = ["blossoming", "crowded"]
    if scene.subject in ANIMALS:
        words += ["fluffy", "fluffy"]
    if scene.time == "night":
        words += ["starry"]
    word = str(rng.choice(words))
    yield "degree", word, scene.but(**{word: 0.8})


def by_source(todo: Sequence[Task]) -> Iterator[list[Task]]:
    groups: dict[int, list[Task]] = {}
    for task in todo:
        groups.setdefault(task.number, []).append(task)
    yield from groups.values()


@cache
def listed() -> frozenset[Combination]:
    """The combinations of the list's sources, which settings are never tuned on."""
    return frozenset(combination(task.source) for task in tasks())


def tasks(sources: int = SOURCES, seed: int = 0) -> list[Task]:
    """The list: some nine edits of each of `sources` scenes.

    Another seed gives scenes for tuning: none of their combinations is in the list.
    """
    found = []
    for number in range(sources):
        rng = np.random.default_rng([seed, number])
        scene = source_scene(rng, number, listed() if seed else frozenset())
        layout = int(rng.integers(1 << 40))
        for kind, word, target in edits_of(scene, rng):
            found.append(
                Task(number=number, kind=kind, word=word, source=scene, target=target, layout=layout)
            )
    return found


MAPPED = {  # the words that the list's sources have not
    "time": ("sunset", "night"),
    "season": ("autumn", "winter", "spring"),
    "weather": ("snowy", "foggy", "rainy"),
    "sky": ("rainbow",),
    "degree": ("starry", "blossoming", "crowded", "fluffy"),
}


def map_scenes(count: int, seed: int = 0) -> Iterator[tuple[str, Scene, int]]:
    """(kind of word, scene, layout): the list's sources with each of the words `MAPPED`, `count` times."""
    sources = [group[0] for group in by_source(tasks(seed=seed))]
    for kind, words in MAPPED.items():
        for n, word in enumerate(words):
            able = [t for t in sources if word != "fluffy" or t.source.subject in ANIMALS]
            for i in range(count):
                task = able[(7 * n + i) % len(able)]
                changes = {word: 0.8} if kind in ("weather", "degree") else {kind: word}
                if word == "starry":
                    changes["time"] = "night"
                yield kind, task.source.but(**changes), task.layout


def fader_scenes(word: str, count: int, seed: int = 0) -> list[Scene]:
    """Scenes whose prompt has a word of degree."""
    rng = np.random.default_rng([seed, 1000 + DEGREES.index(word)])
    found: list[Scene] = []
    while len(found) < count:
        scene = source_scene(rng, int(rng.integers(len(SUBJECTS))))
        if word == "fluffy" and scene.subject not in ANIMALS:
            continue
        if word == "starry":
            scene = scene.but(time="night")
        found.append(scene.but(**{word: (LEAST + 1) / 2}))
    return found
