"""One-click examples: data only. Each runs as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

STEPS = 12


@dataclass(frozen=True, kw_only=True)
class Example:
    """A source, and an edit of it.

    weights: word -> fader. region: words that the edit is confined to. cross, self: injection windows.
    picture: name of a picture to invert in assets/pictures, which `source` describes; else one is generated.
    """

    title: str
    hint: str
    source: str
    seed: int
    prompt: str
    weights: Mapping[str, float] = field(default_factory=dict)
    region: tuple[str, ...] = ()
    cross: tuple[float, float] = (0.0, 0.8)
    self: tuple[float, float] = (0.0, 0.4)
    steps: int = STEPS
    picture: str = ""


STORYBOOK = (
    Example(
        title="house → castle",
        hint="swap a subject",
        source="a red house on a snowy hill",
        seed=11,
        prompt="a red castle on a snowy hill",
        cross=(0.0, 0.3),
        self=(0.0, 0.1),
    ),
    Example(
        title="red → blue",
        hint="swap a colour",
        source="a red car on a street",
        seed=1,
        prompt="a blue car on a street",
    ),
    Example(
        title="hill → desert",
        hint="swap the place",
        source="a red house on a hill",
        seed=1,
        prompt="a red house in a desert",
        cross=(0.0, 0.6),
        self=(0.0, 0.2),
    ),
    Example(
        title="+ at night",
        hint="add a phrase",
        source="a red car on a street",
        seed=1,
        prompt="a red car on a street at night",
        self=(0.0, 0.3),
    ),
    Example(
        title="watercolor",
        hint="change the style",
        source="a yellow lighthouse on a beach",
        seed=1,
        prompt="a watercolor of a yellow lighthouse on a beach",
        cross=(0.0, 0.5),
        self=(0.0, 0.2),
    ),
    Example(
        title="more fog",
        hint="a fader up",
        source="a blue mushroom in a forest, foggy",
        seed=1,
        prompt="a blue mushroom in a forest, foggy",
        weights={"foggy": 1.6},
        cross=(0.0, 1.0),
        self=(0.0, 0.3),
    ),
    Example(
        title="no blossom",
        hint="a fader down",
        source="a pink tree in a blossoming field",
        seed=1,
        prompt="a pink tree in a blossoming field",
        weights={"blossoming": 0.0},
        cross=(0.0, 1.0),
        self=(0.0, 0.3),
    ),
    Example(
        title="only the boat",
        hint="edit one region",
        source="a red boat on a beach",
        seed=1,
        prompt="a yellow boat on a beach",
        region=("yellow", "boat"),
    ),
)

# Pictures of the bundled world that its model was never trained on (`storybook.pictures`).
YOURS = (
    Example(
        title="house → castle",
        hint="swap a subject",
        picture="house",
        source="a red house in a field",
        seed=0,
        prompt="a red castle in a field",
        cross=(0.0, 0.1),
        self=(0.0, 0.0),
        region=("castle",),
    ),
    Example(
        title="blue → yellow",
        hint="swap a colour",
        picture="boat",
        source="a blue boat on a beach",
        seed=0,
        prompt="a yellow boat on a beach",
        region=("yellow", "boat"),
    ),
    Example(
        title="+ at sunset",
        hint="add a phrase",
        picture="rabbit",
        source="a white rabbit in a field",
        seed=0,
        prompt="a white rabbit in a field at sunset",
        self=(0.0, 0.3),
    ),
    Example(
        title="+ foggy",
        hint="add a word",
        picture="balloon",
        source="a green balloon in a desert",
        seed=0,
        prompt="a green balloon in a desert, foggy",
        self=(0.0, 0.3),
    ),
)

# For other models, from the paper: they run with what the model makes of them.
PAPER = (
    Example(
        title="bear → dog",
        hint="swap a subject",
        source="a photo of a teddy bear riding a bicycle",
        seed=8,
        prompt="a photo of a dog riding a bicycle",
        steps=50,
    ),
    Example(
        title="+ snowy",
        hint="add a word",
        source="a photo of a house on a mountain",
        seed=3,
        prompt="a photo of a snowy house on a mountain",
        steps=50,
    ),
    Example(
        title="at fall",
        hint="add a phrase",
        source="a photo of a house on a mountain",
        seed=3,
        prompt="a photo of a house on a mountain at fall",
        steps=50,
    ),
    Example(
        title="watercolour",
        hint="change the style",
        source="a photo of a house on a mountain",
        seed=3,
        prompt="a watercolor painting of a house on a mountain",
        steps=50,
    ),
    Example(
        title="more blossom",
        hint="a fader up",
        source="a photo of a blossom tree in a field",
        seed=4,
        prompt="a photo of a blossom tree in a field",
        weights={"blossom": 2.0},
        steps=50,
    ),
    Example(
        title="squirrel → lion",
        hint="edit one region",
        source="a squirrel eating a burger",
        seed=8,
        prompt="a lion eating a burger",
        region=("lion",),
        steps=50,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the first-run walk: what its button says, why to press it, what to see afterwards."""

    title: str
    text: str
    after: str
    example: str


WALK = (
    Step(
        title="1  Swap a word",
        text="One word of the prompt becomes another; the picture keeps its layout.",
        after="Drag the line on the picture to compare: the layout is the same, small things change along.",
        example="red → blue",
    ),
    Step(
        title="2  Add a phrase",
        text="Say more about the picture, and it gets that too.",
        after="The new words are green. They look where they like; the others look where they looked before.",
        example="+ at night",
    ),
    Step(
        title="3  Turn a word up",
        text="Every word has a fader: how strongly it counts.",
        after="Move any fader on the desk, above or below zero, and the picture follows.",
        example="more fog",
    ),
)
PAPER_WALK = ("bear → dog", "at fall", "more blossom")


def with_steps(examples: tuple[Example, ...], steps: int | None) -> tuple[Example, ...]:
    """The examples with so many steps each; None: with their own."""
    return examples if steps is None else tuple(replace(example, steps=steps) for example in examples)


def examples_for(bundled: bool, steps: int | None = None) -> tuple[Example, ...]:
    """The bundled model's examples or the paper's."""
    return with_steps(STORYBOOK if bundled else PAPER, steps)
