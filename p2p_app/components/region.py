"""The region: where the edit may change the picture (local blend)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .board import Board
from .values import MAX_ITEMS, MAX_KEY_LENGTH, Flag, Key, Label, Value, check, fraction, models, text, texts

DEFAULT_THRESHOLD = 0.3
DEFAULT_START = 0.2
MAX_MASK_LENGTH = 100_000
MAX_WORDS = 32


class RegionWord(Value):
    """A word that can be put in. key: the desk's; a word that stands only in the source has "-house/0"."""

    text: Label = ""
    old: Label = ""
    key: Key = ""


def _mask(value: Any) -> str:
    return text(value) if isinstance(value, str) and len(value) <= MAX_MASK_LENGTH else ""


Keys = Annotated[list[str], check(texts, most=MAX_WORDS, longest=MAX_KEY_LENGTH)]


Words = Annotated[list[RegionWord], check(lambda v: models(RegionWord, v, MAX_ITEMS, ("key",)))]


class RegionValue(Value):
    """chosen: keys of the words where the edit may change the picture. out: those whose own place is taken
    out. mask: what is painted, as `p2p_core.mask_text` makes it, or "". pixels: `Blend.keep_pixels`.
    show: draw the region over the picture. auto: the words follow what the prompt changes. sharp:
    `Blend.refine`. ask: what the page asks the place of, any words.
    """

    words: Words = Field(default_factory=list)
    chosen: Keys = Field(default_factory=list)
    out: Keys = Field(default_factory=list)
    threshold: Annotated[float, fraction(DEFAULT_THRESHOLD)] = DEFAULT_THRESHOLD
    start: Annotated[float, fraction(DEFAULT_START)] = DEFAULT_START
    soft: Annotated[float, fraction(0.0, high=0.5)] = 0.0
    mask: Annotated[str, BeforeValidator(_mask)] = ""
    pixels: Flag = False
    show: Flag = False
    auto: Flag = False
    sharp: Flag = False
    ask: Label = ""


class Region(Board):
    """The words and knobs of the region."""

    script = "region"
    about = (
        "Region of the edit: {words: [{text, old, key}], chosen: [key], out: [key], threshold: 0..1, "
        "start: 0..1, soft: 0..0.5, mask: text, pixels: bool, show: bool, auto: bool, sharp: bool}."
    )
    value_type = RegionValue


def toggled(region: RegionValue, key: str) -> RegionValue:
    """The region with the word `key` put in, or taken out."""
    chosen = region.chosen
    chosen = [k for k in chosen if k != key] if key in chosen else [*chosen, key]
    return region.replace(chosen=chosen, out=[k for k in region.out if k != key])
