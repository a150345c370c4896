"""Weights of words: what they may be, and how people write them into a prompt.

    (word) 1.1    (word:1.3) 1.3    [word] 1/1.1    word+ 1.1    word++ 1.21    word-- 0.81

Signs hold for the word or the bracket before them: (two words)++ is 1.21. What is nested multiplies. Letters
are \\( \\) \\[ \\], and a bracket without its partner or without a word in it.
"""

from __future__ import annotations

import numbers
import re
import sys
from bisect import bisect_left
from collections.abc import Mapping
from types import MappingProxyType

from .errors import BadInput, shown
from .words import UNSPACED, key

Name = str | int  # a word, a phrase or a word number of a prompt, see `Prompt.find_words`
MAX_NUMBER, MAX_FLOAT = 10**9, sys.float_info.max  # of words and pixels; of factors
MORE, LESS = 1.1, 0.9  # of a plus, which a round bracket is too, and of a minus
MAX_SIGNS = 100  # that count, because more are no float
_MARK = re.compile(
    r"""\\(?P<letter>[()\[\]\\])
    |(?P<open>[(\[])
    |:\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)
    |(?P<close>[)\]])
    |(?<=[\w)\]])(?P<signs>\++|-{2,})(?![\w+-])
    |.""",
    re.DOTALL | re.VERBOSE,
)
_SCHEDULE = re.compile(r"\[[^][()]*(:\s*(?:\d+\.?\d*|\.\d+)\s*|\|[^][()]*)\]")


def has_weights(text: str) -> bool:
    """Whether weights are written into a prompt."""
    marks = list(_MARK.finditer(text))
    return bool(_brackets(text, marks)) or any(mark["signs"] for mark in marks)


def read_weights(text: str) -> tuple[str, list[float]]:
    """The prompt without its weights, and the weight of each of its characters.

    Raises `BadInput` for [one:other:0.5] and [one|other], which change the prompt on the way.
    """
    if schedule := _SCHEDULE.search(text):
        raise BadInput(
            f"{shown(schedule[0])} changes the prompt during the run; expected weights, such as (word:1.3). "
            "A word's window in cross_steps says in which steps the source holds it."
        )
    marks = list(_MARK.finditer(text))
    partners = _brackets(text, marks)
    closing = set(partners.values())
    factors = [1.0]  # of the brackets that are open, each with those around it
    letters, weights = "", list[float]()
    for n, mark in enumerate(marks):
        signs = _signs(mark)
        if n in partners:
            factors.append(factors[-1] * _bracket(marks, partners[n]))
        elif n in closing:
            factors.pop()
        elif signs is not None and n - 1 in closing:
            continue  # the bracket's, which has it already
        elif signs is not None:
            start = next(i for i in range(len(letters), -1, -1) if i == 0 or letters[i - 1].isspace())
            weights[start:] = [weight * signs for weight in weights[start:]]
        else:
            piece = mark["letter"] or mark[0]
            letters += piece
            weights += [factors[-1]] * len(piece)
    return letters, weights


def weights_of_words(text: str, spans: list[tuple[int, int]], weights: list[float]) -> dict[Name, float]:
    """The weights other than 1 of a text's words, by the word; by its number where it has others elsewhere.

    spans: of the words. weights: of the text's characters. Raises `BadInput` for one of a part of a word.
    """
    first: dict[str, str] = {}  # each word as it is written first
    by_word: dict[str, set[float]] = {}
    for start, stop in spans:
        word, factors = text[start:stop], set(weights[start:stop])
        if len(factors) > 1:
            raise BadInput(f"A weight holds for a whole word; got one for a part of {shown(word)}.")
        first.setdefault(key(word), word)
        by_word.setdefault(key(word), set()).update(factors)
    found: dict[Name, float] = {}
    for n, (start, stop) in enumerate(spans):
        word = key(text[start:stop])
        if weights[start] != 1:
            if len(by_word[word]) > 1 and UNSPACED.search(text):
                raise BadInput(
                    f"{shown(first[word])} is there with other weights; expected one for all of them."
                )
            found[first[word] if len(by_word[word]) == 1 else f"#{n}"] = weights[start]
    return found


def check_weights(value: object) -> Mapping[Name, float]:
    """`Edit.weights`, read-only. Raises `BadInput`."""
    if not isinstance(value, Mapping):
        raise BadInput(f"weights maps words to numbers; got {shown(value)}.")
    weights = {}
    for name, factor in value.items():
        weight = number(factor)
        if not is_name(name):
            raise BadInput(f"weights names words by text or number; got {shown(name)}.")
        if weight is None:
            raise BadInput(f"The weight of {shown(name)} must be a finite number; got {shown(factor)}.")
        weights[name] = weight
    return MappingProxyType(weights)


def number(value: object) -> float | None:
    """A finite float, or None. Text and booleans are no numbers here."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if real and abs(value) <= MAX_FLOAT else None  # type: ignore


def is_name(word: object) -> bool:
    if isinstance(word, numbers.Integral) and not isinstance(word, bool):
        return abs(int(word)) < MAX_NUMBER
    return isinstance(word, str)


def _signs(mark: re.Match[str]) -> float | None:
    """The factor that signs stand for."""
    signs = mark["signs"]
    return (MORE if signs[0] == "+" else LESS) ** min(len(signs), MAX_SIGNS) if signs else None


def _bracket(marks: list[re.Match[str]], close: int) -> float:
    """The factor of the bracket that the mark of this number closes."""
    written = marks[close]["number"]
    signs = _signs(marks[close + 1]) if close + 1 < len(marks) else None
    usual = 1 / MORE if marks[close][0] == "]" else MORE
    return (float(written) if written else usual if signs is None else 1.0) * (
        1.0 if signs is None else signs
    )


def _brackets(text: str, marks: list[re.Match[str]]) -> dict[int, int]:
    """Numbers of the marks that open a bracket with a word in it -> of those that close it."""
    words = [match.start() for match in re.finditer(r"\w", text)]
    open_: dict[str, list[int]] = {"(": [], "[": []}
    partners = {}
    for n, mark in enumerate(marks):
        if mark["open"]:
            open_[mark[0]].append(n)
        elif mark["close"] or mark["number"]:
            mine, other = (open_["["], open_["("]) if mark[0] == "]" else (open_["("], open_["["])
            if not mine:
                continue
            first = mine.pop()
            while other and other[-1] > first:
                other.pop()
            if bisect_left(words, marks[first].end()) < bisect_left(words, mark.start()):
                partners[first] = n
    return partners
