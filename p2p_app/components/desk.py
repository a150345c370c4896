"""The desk: one vertical fader a word. Values stay with their word when the prompt changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .board import Board, number, texts

LOW, HIGH = -2.0, 2.0
MOST_WORDS = 128
MOST_REMEMBERED = 64


class Desk(Board):
    """Value: {"words": [{"text", "key", "state", "cut"}], "weights": {key: -2..2}, "muted": [key],
    "solo": [key], "picked": key or None}.

    A key is the word in lower case and its occurrence, "red/0". `weights` holds only faders that are off 1,
    also those of words that have left the prompt, so that they come back with their word. A muted word, and
    every word beside a solo one, counts as 0 wherever its fader stands.
    """

    script = "desk"
    about = (
        "Faders: {words: [{text, key, state, cut}], weights: {key: -2..2}, muted: [key], solo: [key], "
        "picked: key or null}."
    )

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        words = []
        listed = value.get("words")
        for word in listed[:MOST_WORDS] if isinstance(listed, list) else []:
            if isinstance(word, dict) and all(isinstance(word.get(name), str) for name in ("text", "key")):
                state = word.get("state")
                words.append(
                    {
                        "text": word["text"][:200],
                        "key": word["key"][:220],
                        "state": state if state in ("kept", "swapped", "added") else "kept",
                        "cut": word.get("cut") is True,
                    }
                )
        weights: dict[str, float] = {}
        given = value.get("weights")
        for key, weight in list(given.items() if isinstance(given, dict) else ())[-MOST_REMEMBERED:]:
            weight = round(number(weight, LOW, HIGH, 1.0), 2)
            if isinstance(key, str) and weight != 1:
                weights[key[:220]] = weight
        picked = value.get("picked")
        keys = {word["key"] for word in words}
        return {
            "words": words,
            "weights": weights,
            "muted": texts(value.get("muted"), most=MOST_REMEMBERED, longest=220),
            "solo": texts(value.get("solo"), most=MOST_REMEMBERED, longest=220),
            "picked": picked if isinstance(picked, str) and picked in keys else None,
        }


def keys(words: Sequence[str]) -> list[str]:
    """A key for every word: its text in lower case and which occurrence it is."""
    seen: dict[str, int] = {}
    result = []
    for word in words:
        folded = word.casefold()
        result.append(f"{folded}/{seen.get(folded, 0)}")
        seen[folded] = seen.get(folded, 0) + 1
    return result


def with_words(
    desk: dict[str, Any], words: Sequence[str], states: Sequence[str], cut: Sequence[bool]
) -> dict[str, Any]:
    """The desk for new words; each fader stays with its word and occurrence."""
    rows = [
        {"text": text, "key": key, "state": state, "cut": off}
        for text, key, state, off in zip(words, keys(words), states, cut, strict=True)
    ]
    return Desk.clean({**desk, "words": rows})


def weights_by_number(desk: dict[str, Any]) -> dict[int, float]:
    """Word number -> weight, for the words of the prompt that don't count as 1.

    A solo word silences every other word that carries meaning, which a comma doesn't.
    """
    weights, found = desk["weights"], {}
    solo = {key for key in desk["solo"] if any(word["key"] == key for word in desk["words"])}
    for n, word in enumerate(desk["words"]):
        weight = weights.get(word["key"], 1.0)
        silent = word["key"] in desk["muted"] or (solo and word["key"] not in solo)
        if silent and any(c.isalnum() for c in word["text"]):
            weight = 0.0
        if weight != 1 and not word["cut"]:
            found[n] = weight
    return found
