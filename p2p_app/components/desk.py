"""The desk: one vertical fader a word. Values stay with their word when the prompt changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from .board import Board
from .values import (
    MAX_ITEMS,
    MAX_KEY_LENGTH,
    Flag,
    Key,
    Label,
    Value,
    check,
    choice,
    models,
    number,
    text,
    texts,
)

MIN_WEIGHT, MAX_WEIGHT = -2.0, 2.0
MAX_STORED_FADERS = 64


class Word(Value):
    """A word of the edit prompt.

    key: in lower case and its occurrence, "red/0". state: how it aligns with the source. cut: it is past the
    model's length limit.
    """

    text: Label = ""
    key: Key = ""
    state: Annotated[str, choice("kept", "swapped", "added")] = "kept"
    cut: Flag = False


def _weights(value: Any) -> dict[str, float]:
    listed = list(value.items() if isinstance(value, dict) else ())[-MAX_STORED_FADERS:]
    found = {
        text(key, MAX_KEY_LENGTH): round(number(weight, MIN_WEIGHT, MAX_WEIGHT, 1.0), 2)
        for key, weight in listed
        if isinstance(key, str)
    }
    return {key: weight for key, weight in found.items() if weight != 1}


def _picked(value: Any, info: ValidationInfo) -> str | None:
    return next((word.key for word in info.data["words"] if word.key == value), None)


Words = Annotated[list[Word], check(lambda v: models(Word, v, MAX_ITEMS, ("text", "key")))]
Keys = Annotated[list[str], check(texts, most=MAX_STORED_FADERS, longest=MAX_KEY_LENGTH)]


class DeskValue(Value):
    """weights: key of a word -> -2..2, only of faders that are off 1, also those of words that have left the
    prompt, so that they come back with their word. muted, solo: keys; a muted word, and every word beside a
    solo one, counts as 0 wherever its fader stands. mode: `Edit.weights_mode`. picked: the word whose maps
    are shown.
    """

    words: Words = Field(default_factory=list)
    weights: Annotated[dict[str, float], BeforeValidator(_weights)] = Field(default_factory=dict)
    muted: Keys = Field(default_factory=list)
    solo: Keys = Field(default_factory=list)
    mode: Annotated[str, choice("gain", "share")] = "gain"
    picked: Annotated[str | None, BeforeValidator(_picked)] = None


class Desk(Board):
    """The faders."""

    script = "desk"
    about = (
        "Faders: {words: [{text, key, state, cut}], weights: {key: -2..2}, muted: [key], solo: [key], "
        'mode: "gain" or "share", picked: key or null}.'
    )
    value_type = DeskValue


def word_keys(words: Sequence[str]) -> list[str]:
    """A key for every word: its text in lower case and which occurrence it is."""
    count: dict[str, int] = {}
    keys = []
    for word in words:
        folded = word.casefold()
        keys.append(f"{folded}/{count.get(folded, 0)}")
        count[folded] = count.get(folded, 0) + 1
    return keys


def with_words(
    desk: DeskValue, words: Sequence[str], states: Sequence[str], cut: Sequence[bool]
) -> DeskValue:
    """The desk for new words; each fader stays with its word and occurrence."""
    rows = [
        {"text": text, "key": key, "state": state, "cut": off}
        for text, key, state, off in zip(words, word_keys(words), states, cut, strict=True)
    ]
    return desk.replace(words=rows)


def silent_words(desk: DeskValue) -> set[str]:
    """Keys of the words that a mute or a solo silences. A comma carries no meaning, and isn't silenced."""
    solo = set(desk.solo) & {word.key for word in desk.words}
    return {
        word.key
        for word in desk.words
        if (word.key in desk.muted or (solo and word.key not in solo)) and any(map(str.isalnum, word.text))
    }


def weights_by_number(desk: DeskValue) -> dict[int, float]:
    """Word number -> weight, for the words of the prompt that don't count as 1."""
    silent = silent_words(desk)
    weights = [0.0 if word.key in silent else desk.weights.get(word.key, 1.0) for word in desk.words]
    return {n: w for n, w in enumerate(weights) if w != 1 and not desk.words[n].cut}
