"""The alignment of two prompts: which source tokens a target token reads its attention map from.

It is the function A of Prompt-to-Prompt (Hertz et al. 2023), section 3.2, for prompts of any lengths and
words of any number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from .errors import BadInput, shown
from .prompt import KINDS, Kind, Piece, Prompt

SpanKind = Literal["kept", "swapped", "added", "removed"]
Pair = tuple[list[int], list[int]]  # numbers of source pieces and of the target pieces that stand for them


@dataclass(frozen=True, kw_only=True)
class Span:
    """Words of the source and the words that stand for them in the target, either of which may be none."""

    kind: SpanKind
    source: tuple[int, ...]  # word numbers in the source prompt
    target: tuple[int, ...]  # word numbers in the target prompt


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Which source columns a target column reads.

    `matrix` is (S, T) float32, rows are source tokens; `new` is (T,) bool. A column j has either
    `new[j]` and a column of zeros, or a column that sums to 1.
    """

    matrix: npt.NDArray[np.float32] = field(repr=False)
    new: npt.NDArray[np.bool_] = field(repr=False)
    spans: tuple[Span, ...]


def align(source: Prompt, target: Prompt, kind: Kind = "auto") -> Alignment:
    """Align two prompts of any lengths.

    "auto": a longest common subsequence of words anchors the rest; between two anchors a run of words on
    both sides is a swap. "refine": such a run is removed and added instead. "swap": word i takes word i's
    columns, which demands equal word counts. Raises `BadInput`.
    """
    _check(source, target, kind)
    pairs = list(_pairs(source, target, kind))
    A = _matrix(source, target, pairs)
    return Alignment(matrix=A, new=A.sum(0) == 0, spans=tuple(_spans(source, target, pairs)))


def _check(source: Prompt, target: Prompt, kind: Kind) -> None:
    if kind not in KINDS:
        raise BadInput(f"kind is one of {', '.join(KINDS)}; got {shown(kind)}.")
    if source.length != target.length:
        raise BadInput(
            f"Both prompts must come from one tokenizer; got lengths {source.length} and {target.length}."
        )
    if kind == "swap" and len(source.words) != len(target.words):
        raise BadInput(
            'kind="swap" exchanges words one by one and needs as many words in both prompts; '
            f"the source has {len(source.words)}, the target {len(target.words)}. "
            'kind="auto" takes prompts of any lengths.'
        )


def _pairs(source: Prompt, target: Prompt, kind: Kind) -> Iterator[Pair]:
    """Every piece that the encoder reads, once, beside what stands for it in the other prompt."""
    s, t = source.encoded_pieces, target.encoded_pieces
    anchors = [] if kind == "swap" else _common_subsequence([p.key for p in s], [p.key for p in t])
    i = j = 0
    for next_i, next_j in anchors:
        yield from _run_pairs(s, t, range(i, next_i), range(j, next_j), kind)
        yield [next_i], [next_j]
        i, j = next_i + 1, next_j + 1
    yield from _run_pairs(s, t, range(i, len(s)), range(j, len(t)), kind)


def _run_pairs(
    source: Sequence[Piece], target: Sequence[Piece], source_run: range, target_run: range, kind: Kind
) -> Iterator[Pair]:
    """The pieces between two anchors: words stand for words, punctuation for punctuation."""
    for is_word in (True, False):
        s = [i for i in source_run if source[i].is_word == is_word]
        t = [j for j in target_run if target[j].is_word == is_word]
        if kind != "refine" and len(s) == len(t):
            yield from (([i], [j]) for i, j in zip(s, t, strict=True))  # word by word, first to first
        elif kind != "refine" and is_word and s and t:
            yield s, t
        else:
            if s:
                yield s, []
            if t:
                yield [], t


def _common_subsequence(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """A heaviest common subsequence as index pairs; ties go to the earliest match.

    A word weighs as much as it is long, because long words are rare: "an origami chinchilla on a table" keeps
    the chinchilla of "a chinchilla", not its article.
    """
    length = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of a[i:], b[j:]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            same = a[i] == b[j]
            skipped = max(length[i + 1][j], length[i][j + 1])
            length[i][j] = max(skipped, length[i + 1][j + 1] + len(a[i])) if same else skipped
    pairs, j = [], 0
    for i, word in enumerate(a):  # the earliest source word wins a tie, and takes its earliest match
        for k in range(j, len(b)):
            if word == b[k] and len(word) + length[i + 1][k + 1] == length[i][j]:
                pairs.append((i, k))
                j = k + 1
                break
    return pairs


def _matrix(source: Prompt, target: Prompt, pairs: list[Pair]) -> npt.NDArray[np.float32]:
    """A, (S, T): a column of as many tokens reads one each, else the mean of all of them.

    The public code gives each of t tokens sum / t, which changes the word's total weight. Where the
    source word was truncated there is nothing to read and the target's tokens stay new.
    """
    A = np.zeros((source.length, target.length), np.float32)
    for s, t in pairs:
        rows = [token for i in s for token in source.pieces[i].tokens]
        columns = [token for j in t for token in target.pieces[j].tokens]
        if len(rows) == len(columns):
            A[rows, columns] = 1
        elif rows:
            A[np.ix_(rows, columns)] = 1 / len(rows)
    A[0, 0] = 1  # start mark
    A[source.end, target.end] = 1  # end mark
    padding = np.arange(max(source.end, target.end) + 1, target.length)  # that is padding in both
    A[padding, padding] = 1
    return A


def _spans(source: Prompt, target: Prompt, pairs: list[Pair]) -> Iterator[Span]:
    """The pairs of words, in reading order."""
    source_numbers, target_numbers = _word_numbers(source), _word_numbers(target)
    for s, t in pairs:
        if (source.pieces[s[0]] if s else target.pieces[t[0]]).is_word:
            same = [source.pieces[i].key for i in s] == [target.pieces[j].key for j in t]
            yield Span(
                kind="kept" if same else "swapped" if s and t else "removed" if s else "added",
                source=tuple(source_numbers[i] for i in s),
                target=tuple(target_numbers[j] for j in t),
            )


def _word_numbers(prompt: Prompt) -> list[int]:
    """The word number of each piece (for punctuation: of the next word)."""
    numbers, n = [], 0
    for piece in prompt.pieces:
        numbers.append(n)
        n += piece.is_word
    return numbers
