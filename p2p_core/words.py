"""The words of a text: where they stand, and when two of them are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

Bounds = list[tuple[int, int, bool]]  # of pieces: start, end, whether it is a word

SEPARATORS = re.compile("[,;/|\uff0c\uff1b\uff0f\uff5c\u3001]+")  # and their full-width twins
HYPHENS = re.compile("[-\u2010\u2011]")
# Scripts that write no spaces: Thai and Lao, Burmese, Khmer, kana, bopomofo, Han.
UNSPACED = re.compile(
    "[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u312f\u31a0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07\u00b4`"), "'")


def key(word: str) -> str:
    """What words are compared by: case, width, composition, invisible characters and the kind of apostrophe
    don't matter (NFKC and casefold)."""
    visible = "".join(c for c in word.translate(APOSTROPHES) if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def split(text: str) -> Bounds:
    """Bounds of the pieces: runs between white space, the punctuation at their ends apart, and what separates
    two words without a space ("1girl,red hair"; not "1,000")."""
    pieces: Bounds = []
    for run in re.finditer(r"\S+", text):
        start, stop = run.span()
        a = start
        for sign in SEPARATORS.finditer(text, start, stop):
            b, c = sign.span()
            beside = text[b - 1 : b], text[c : c + 1]
            if start < b and c < stop and all(map(str.isalnum, beside)) and not all(map(str.isdigit, beside)):
                pieces += [*_stripped(text, a, b), (b, c, False)]
                a = c
        pieces += _stripped(text, a, stop)
    return pieces


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words of a text, in their order: those of `Prompt.words`, but for scripts without
    spaces, whose words the tokenizer alone knows."""
    return [(start, stop) for start, stop, is_word in split(text) if is_word]


def find_phrase(words: Sequence[str], name: str) -> list[tuple[int, int]]:
    """(first, last) numbers of the words that `name` means, a word or some that stand side by side.

    "close-up" and "close up" are the same; in scripts without spaces several words are one name.
    """
    parts = [*_parts([name[start:stop] for start, stop in word_spans(name)])]
    wanted, text = "".join(part for part, *_ in parts).strip(), ""
    starts, ends = {}, {}
    for part, number, first, last in _parts(words):
        if first:
            starts[len(text) + part.startswith(" ")] = number
        text += part
        if last:
            ends[len(text)] = number
    at, found = text.find(wanted) if wanted else -1, []
    while at >= 0:
        if at in starts and at + len(wanted) in ends:
            found.append((starts[at], ends[at + len(wanted)]))
        at = text.find(wanted, at + 1)
    return found


def _parts(words: Sequence[str]) -> Iterator[tuple[str, int, bool, bool]]:
    """(key with the space before it, word number, whether it begins, whether it ends the word) of each part
    between hyphens."""
    before = ""
    for number, word in enumerate(words):
        parts = [part for part in HYPHENS.split(word) if part] or [word]
        for n, part in enumerate(parts):
            glued = n == 0 and UNSPACED.search(before[-1:]) and UNSPACED.search(word[:1])
            yield ("" if glued else " ") + key(part), number, n == 0, n == len(parts) - 1
        before = word


def _stripped(text: str, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
    """A run as punctuation, a word and punctuation, as far as there is each."""
    a, b = start, stop
    while a < b and _is_punctuation(text[a]):
        a += 1
    while b > a and _is_punctuation(text[b - 1]):
        b -= 1
    yield from (part for part in ((start, a, False), (a, b, True), (b, stop, False)) if part[0] < part[1])


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")
