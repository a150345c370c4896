"""The region: words outside of which the picture stays the source (local blend)."""

from __future__ import annotations

from typing import Any

from .board import Board, number, texts

THRESHOLD = 0.3


class Region(Board):
    """Value: {"words": [{"text", "old", "key"}], "chosen": [key], "threshold": 0..1, "show": bool}.

    Keys are the desk's, "castle/0"; a word that stands only in the source has the key "-house/0".
    """

    script = "region"
    about = "Region of the edit: {words: [{text, old, key}], chosen: [key], threshold: 0..1, show: bool}."

    @staticmethod
    def clean(value: Any) -> dict[str, Any]:
        value = value if isinstance(value, dict) else {}
        words = []
        listed = value.get("words")
        for word in listed[:128] if isinstance(listed, list) else []:
            if isinstance(word, dict) and isinstance(word.get("key"), str):
                text, old = word.get("text"), word.get("old")
                words.append(
                    {
                        "text": text[:200] if isinstance(text, str) else "",
                        "old": old[:200] if isinstance(old, str) else "",
                        "key": word["key"][:220],
                    }
                )
        return {
            "words": words,
            "chosen": texts(value.get("chosen"), most=32, longest=220),
            "threshold": round(number(value.get("threshold"), 0.0, 1.0, THRESHOLD), 2),
            "show": value.get("show") is True,
        }


def toggled(region: dict[str, Any], key: str) -> dict[str, Any]:
    """The region with the word `key` put in, or taken out."""
    chosen = region["chosen"]
    chosen = [k for k in chosen if k != key] if key in chosen else [*chosen, key]
    return {**region, "chosen": chosen}
