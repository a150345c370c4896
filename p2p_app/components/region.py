"""The region: where the edit may change the picture (local blend)."""

from __future__ import annotations

from typing import Any

from .board import Board, number, texts

THRESHOLD = 0.3
START = 0.2
LONGEST_MASK = 100_000


class Region(Board):
    """Value: {"words": [{"text", "old", "key"}], "chosen": [key], "out": [key], "threshold": 0..1,
    "start": 0..1, "soft": 0..0.5, "mask": text, "pixels": bool, "show": bool}.

    Keys are the desk's, "castle/0"; a word that stands only in the source has the key "-house/0". out: words
    whose own place is taken out. mask: what is painted, as `p2p_core.mask_text` makes it, or "".
    pixels: `Blend.keep_pixels`.
    """

    script = "region"
    about = (
        "Region of the edit: {words: [{text, old, key}], chosen: [key], out: [key], threshold: 0..1, "
        "start: 0..1, soft: 0..0.5, mask: text, pixels: bool, show: bool}."
    )

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
        mask = value.get("mask")
        return {
            "words": words,
            "chosen": texts(value.get("chosen"), most=32, longest=220),
            "out": texts(value.get("out"), most=32, longest=220),
            "threshold": round(number(value.get("threshold"), 0.0, 1.0, THRESHOLD), 2),
            "start": round(number(value.get("start"), 0.0, 1.0, START), 2),
            "soft": round(number(value.get("soft"), 0.0, 0.5, 0.0), 2),
            "mask": mask if isinstance(mask, str) and len(mask) <= LONGEST_MASK else "",
            "pixels": value.get("pixels") is True,
            "show": value.get("show") is True,
        }


def toggled(region: dict[str, Any], key: str) -> dict[str, Any]:
    """The region with the word `key` put in, or taken out."""
    chosen = region["chosen"]
    chosen = [k for k in chosen if k != key] if key in chosen else [*chosen, key]
    return {**region, "chosen": chosen, "out": [k for k in region["out"] if k != key]}
