"""Text <-> words <-> token positions, and the alignment of two prompts.

Nothing here knows of models beyond the tokenizer's call, and nothing counts decoded characters: token
positions come from the tokenizer's own offsets.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .errors import BadEdit, BadPrompt, UnknownWord, UnsupportedModel, shown

Kind = Literal["auto", "swap", "refine"]
KINDS: tuple[Kind, ...] = ("auto", "swap", "refine")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A word's core or the punctuation around it: what the alignment compares."""

    text: str
    span: tuple[int, int]  # characters, end exclusive
    core: bool  # False: punctuation
    tokens: tuple[int, ...]  # positions in the encoder's input; empty where the prompt was cut

    @property
    def key(self) -> str:
        """What two pieces are compared by: case doesn't matter."""
        return self.text.casefold()


@dataclass(frozen=True, kw_only=True)
class Word:
    """The core of a run between white space ("burger," is the word `burger`)."""

    text: str
    span: tuple[int, int]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt and where its words stand among the text encoder's input tokens."""

    text: str
    ids: tuple[int, ...] = field(repr=False)  # S token ids: start mark, text, end mark, padding
    end: int  # position of the end mark
    pieces: tuple[Piece, ...] = field(repr=False)
    cut: tuple[str, ...]  # words that fell off the end, wholly or in part

    @classmethod
    def parse(cls, text: object, tokenizer: Any) -> Prompt:
        """Tokenize `text` to the tokenizer's `model_max_length` and find its words.

        Raises `BadPrompt` for what is not text, `UnsupportedModel` for a tokenizer without offsets.
        """
        if not isinstance(text, str):
            raise BadPrompt(f"A prompt is text; expected a str, got {type(text).__name__} ({shown(text)}).")
        text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates can't be encoded
        if not getattr(tokenizer, "is_fast", False):
            raise UnsupportedModel(
                "Words are found by the tokenizer's offsets; expected a fast tokenizer, "
                f"got {type(tokenizer).__name__}."
            )
        length = int(tokenizer.model_max_length)
        # Not truncated here: the tokens past the limit tell which words fall off.
        full = tokenizer(text, return_offsets_mapping=True, truncation=False, verbose=False)
        ids, offsets = list(full["input_ids"]), list(full["offset_mapping"])
        body = len(ids) - 2  # without start and end mark
        kept = min(body, length - 2)
        end_id = ids[-1]
        ids = [*ids[: kept + 1], end_id]
        ids += [tokenizer.pad_token_id] * (length - len(ids))

        bounds = _split(text)
        spans = offsets[1 : body + 1]
        homes = _homes(spans, bounds)
        # What the tokenizer reads and we take for white space is a piece too, so that it can be aligned.
        strays = {spans[i] for i, home in enumerate(homes) if home is None}
        if strays:
            bounds = sorted({*bounds, *((start, stop, False) for start, stop in strays)})
            homes = _homes(spans, bounds)
        tokens: list[list[int]] = [[] for _ in bounds]
        for i, home in enumerate(homes):
            if home is not None:
                tokens[home].append(i + 1)
        pieces, cut = [], []
        for (start, stop, core), positions in zip(bounds, tokens, strict=True):
            fits = tuple(p for p in positions if p <= kept)
            pieces.append(Piece(text=text[start:stop], span=(start, stop), core=core, tokens=fits))
            if core and len(fits) < len(positions):
                cut.append(text[start:stop])
        return cls(text=text, ids=tuple(ids), end=kept + 1, pieces=tuple(pieces), cut=tuple(cut))

    @property
    def length(self) -> int:
        """S, the encoder's length in tokens."""
        return len(self.ids)

    @cached_property
    def seen(self) -> tuple[Piece, ...]:
        """The pieces up to the last that the encoder sees: what an alignment is about."""
        last = max((n for n, p in enumerate(self.pieces) if p.tokens), default=-1)
        return self.pieces[: last + 1]

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words in reading order; their index is the word's number."""
        return tuple(Word(text=p.text, span=p.span, tokens=p.tokens) for p in self.pieces if p.core)

    def find_words(self, name: str | int) -> tuple[int, ...]:
        """Numbers of the words that `name` means.

        `name` is a word (every occurrence, any case), a phrase of words that stand side by side, or a
        number: an int or "#3", counted from 0. Raises `UnknownWord`, which lists the words there are.
        """
        words = self.words
        if isinstance(name, str) and re.fullmatch(r"#\d+", name.strip(), re.ASCII):
            name = int(name.strip()[1:])
        if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
            if 0 <= name < len(words):
                return (int(name),)
            raise UnknownWord(
                f"Word number {name} is not in the prompt; expected 0 to {len(words) - 1}: {self._listing()}."
                if words
                else f"Word number {name} is not in the prompt, which has no words."
            )
        if not isinstance(name, str):
            raise UnknownWord(f"A word is named by its text or its number; got {shown(name)}.")
        wanted = [name[a:b].casefold() for a, b, core in _split(name) if core]
        found: list[int] = []
        for i in range(len(words) - len(wanted) + 1 if wanted else 0):
            if [w.text.casefold() for w in words[i : i + len(wanted)]] == wanted:
                found += [n for n in range(i, i + len(wanted)) if n not in found]
        if not found:
            raise UnknownWord(
                f"The word {shown(name)} is not in the prompt {shown(self.text)}; "
                f"its words are: {self._listing()}."
            )
        return tuple(found)

    def find(self, name: str | int) -> tuple[int, ...]:
        """Token positions of a word, phrase or word number. Empty only where the prompt was cut."""
        return tuple(t for n in self.find_words(name) for t in self.words[n].tokens)

    def _listing(self) -> str:
        return ", ".join(f"{n} {w.text}" for n, w in enumerate(self.words)) or "none"


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def _split(text: str) -> list[tuple[int, int, bool]]:
    """(start, stop, is core) of every piece: runs between white space, punctuation taken off their ends."""
    pieces = []
    for run in re.finditer(r"\S+", text):
        start, stop = run.span()
        a, b = start, stop
        while a < b and _is_punctuation(text[a]):
            a += 1
        while b > a and _is_punctuation(text[b - 1]):
            b -= 1
        parts = ((start, a, False), (a, b, True), (b, stop, False))
        pieces += [part for part in parts if part[0] < part[1]]
    return pieces


def _homes(offsets: list[tuple[int, int]], bounds: list[tuple[int, int, bool]]) -> list[int | None]:
    """The piece each token belongs to: the one that holds its first character that isn't white space.

    Some tokenizers count the space before a word to its token, and several tokens can share one
    character, so a token is placed by its offsets alone and never by its order.
    """
    ends = [b for _, b, _ in bounds]
    homes: list[int | None] = []
    for start, stop in offsets:
        number = bisect_right(ends, start)  # the first piece that ends after the token's start
        inside = number < len(bounds) and bounds[number][0] < max(stop, start + 1)
        homes.append(number if inside else None)
    return homes


SpanKind = Literal["kept", "swapped", "added", "removed"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A run of words that share a fate: what the app draws as one chip."""

    kind: SpanKind
    source: tuple[int, ...]  # word numbers in the source prompt
    target: tuple[int, ...]  # word numbers in the target prompt


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Which source columns a target column reads (Prompt-to-Prompt, section 3.2, the function A).

    `matrix` is (S, T) float32, rows are source tokens; `new` is (T,) bool. A column j has either
    `new[j]` and a column of zeros, or a column that sums to 1.
    """

    matrix: np.ndarray = field(repr=False)
    new: np.ndarray = field(repr=False)
    spans: tuple[Span, ...]


def align(source: Prompt, target: Prompt, kind: Kind = "auto") -> Alignment:
    """Align two prompts of any lengths.

    "auto": a longest common subsequence of words anchors the rest; between two anchors a run of words on
    both sides is a swap. "refine": such a run is removed and added instead. "swap": word i takes word i's
    columns, which demands equal word counts. Raises `BadEdit`.
    """
    if kind not in KINDS:
        raise BadEdit(f"kind is one of {', '.join(KINDS)}; got {shown(kind)}.")
    S, T = source.length, target.length
    if S != T:
        raise BadEdit(f"Both prompts must come from one tokenizer; got lengths {S} and {T}.")
    A = np.zeros((S, T), np.float32)
    if kind == "swap":
        if len(source.words) != len(target.words):
            raise BadEdit(
                'kind="swap" exchanges words one by one and needs as many words in both prompts; '
                f"the source has {len(source.words)}, the target {len(target.words)}. "
                'kind="auto" takes prompts of any lengths.'
            )
        anchors: list[tuple[int, int]] = []
    else:
        anchors = _common([p.key for p in source.seen], [p.key for p in target.seen])

    word_of_source = _word_numbers(source)
    word_of_target = _word_numbers(target)
    spans: list[Span] = []
    i = j = 0
    for next_i, next_j in [*anchors, (len(source.seen), len(target.seen))]:
        _align_run(A, source, target, range(i, next_i), range(j, next_j), kind, spans)
        if next_i < len(source.seen):
            _read(A, source.pieces[next_i].tokens, target.pieces[next_j].tokens)
            if source.pieces[next_i].core:
                spans.append(
                    Span(kind="kept", source=(word_of_source[next_i],), target=(word_of_target[next_j],))
                )
        i, j = next_i + 1, next_j + 1

    A[0, 0] = 1  # start mark
    A[:, target.end] = 0
    A[source.end, target.end] = 1  # end mark
    for p in range(max(source.end, target.end) + 1, T):  # padding that is padding in both
        A[p, p] = 1
    return Alignment(matrix=A, new=A.sum(0) == 0, spans=tuple(spans))


def _common(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """A longest common subsequence as index pairs; ties go to the earliest match."""
    length = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of a[i:], b[j:]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            same = a[i] == b[j]
            length[i][j] = length[i + 1][j + 1] + 1 if same else max(length[i + 1][j], length[i][j + 1])
    pairs, j = [], 0
    for i, word in enumerate(a):  # the earliest source word wins a tie, and takes its earliest match
        for k in range(j, len(b)):
            if word == b[k] and 1 + length[i + 1][k + 1] == length[i][j]:
                pairs.append((i, k))
                j = k + 1
                break
    return pairs


def _word_numbers(prompt: Prompt) -> list[int]:
    """The word number of each piece (for punctuation: of the next word)."""
    numbers, n = [], 0
    for piece in prompt.pieces:
        numbers.append(n)
        n += piece.core
    return numbers


def _align_run(
    A: np.ndarray, source: Prompt, target: Prompt, run: range, run_: range, kind: Kind, spans: list[Span]
) -> None:
    """What stands between two anchors: words swap with words, punctuation with punctuation."""
    for core in (True, False):
        s = [i for i in run if source.pieces[i].core == core]
        t = [j for j in run_ if target.pieces[j].core == core]
        pairs: list[tuple[list[int], list[int]]]
        if kind == "refine" or not s or not t:
            pairs = []
        elif len(s) == len(t):
            pairs = [([i], [j]) for i, j in zip(s, t, strict=True)]  # word by word, first to first
        else:
            pairs = [(s, t)] if core else []
        for group, group_ in pairs:
            tokens = tuple(p for i in group for p in source.pieces[i].tokens)
            tokens_ = tuple(p for j in group_ for p in target.pieces[j].tokens)
            _read(A, tokens, tokens_)
        if core:
            spans += _run_spans(source, target, s, t, pairs)


def _run_spans(
    source: Prompt, target: Prompt, s: list[int], t: list[int], pairs: list[tuple[list[int], list[int]]]
) -> list[Span]:
    number, number_ = _word_numbers(source), _word_numbers(target)
    if pairs:
        return [
            Span(
                kind="kept" if _same(source, target, group, group_) else "swapped",
                source=tuple(number[i] for i in group),
                target=tuple(number_[j] for j in group_),
            )
            for group, group_ in pairs
        ]
    spans = []
    if s:
        spans.append(Span(kind="removed", source=tuple(number[i] for i in s), target=()))
    if t:
        spans.append(Span(kind="added", source=(), target=tuple(number_[j] for j in t)))
    return spans


def _same(source: Prompt, target: Prompt, s: list[int], t: list[int]) -> bool:
    return [source.pieces[i].key for i in s] == [target.pieces[j].key for j in t]


def _read(A: np.ndarray, s: tuple[int, ...], t: tuple[int, ...]) -> None:
    """Target tokens t read source tokens s: one to one, else each the mean of them all.

    The public code gives each of t tokens sum / t, which changes the word's total weight. Where the
    source word fell off the length limit there is nothing to read and t stays new.
    """
    if len(s) == len(t):
        A[list(s), list(t)] = 1
    elif s:
        for column in t:
            A[list(s), column] = 1 / len(s)
