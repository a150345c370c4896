"""A prompt, its words, and where their tokens stand in the text encoder's input.

Token positions come from the tokenizer's own offsets: decoded tokens are never counted or compared.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .errors import BadInput, UnknownWord, UnsupportedModel, shown

Kind = Literal["auto", "swap", "refine"]  # how `alignment.align` pairs the words of two prompts
KINDS: tuple[Kind, ...] = ("auto", "swap", "refine")

MAX_PROMPT_CHARACTERS = 4000  # text encoders read 77 tokens; a tokenizer's time grows with the text
MAX_LISTED_WORDS = 100  # in a message

Offsets = list[tuple[int, int]]  # of tokens: start and end in the text, in characters
Bounds = list[tuple[int, int, bool]]  # of pieces: start, end, whether it is a word


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A word or the punctuation beside it: what an alignment compares."""

    text: str
    span: tuple[int, int]  # characters, end exclusive
    is_word: bool  # False: punctuation
    tokens: tuple[int, ...]  # positions in the encoder's input; empty where the prompt was truncated

    @property
    def key(self) -> str:
        """The text that two pieces are compared by: case doesn't matter."""
        return self.text.casefold()


@dataclass(frozen=True, kw_only=True)
class Word:
    """A run between white space without the punctuation at its ends ("burger," is the word `burger`)."""

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
    truncated_words: tuple[str, ...]  # words whose tokens, or some of them, lie past the encoder's length

    @classmethod
    def parse(cls, text: object, tokenizer: Any) -> Prompt:
        """Tokenize `text` to the tokenizer's `model_max_length` and find its words.

        Raises `BadInput` for what is not text or too long, `UnsupportedModel` for a tokenizer without
        offsets.
        """
        if not isinstance(text, str):
            raise BadInput(f"A prompt is text; expected a str, got {type(text).__name__} ({shown(text)}).")
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise BadInput(f"A prompt has at most {MAX_PROMPT_CHARACTERS} characters; got {len(text)}.")
        text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates can't be encoded
        if not getattr(tokenizer, "is_fast", False):
            raise UnsupportedModel(
                "Words are found by the tokenizer's offsets; expected a fast tokenizer, "
                f"got {type(tokenizer).__name__}."
            )
        length = int(tokenizer.model_max_length)
        # Not truncated here: the tokens past the limit tell which words are lost.
        full = tokenizer(text, return_offsets_mapping=True, truncation=False, verbose=False)
        start_mark, *text_ids, end_mark = full["input_ids"]
        fitting = min(len(text_ids), length - 2)
        ids = [start_mark, *text_ids[:fitting], end_mark]
        ids += [tokenizer.pad_token_id] * (length - len(ids))

        pieces, truncated_words = [], []
        for (start, stop, is_word), positions in _place_tokens(text, full["offset_mapping"][1:-1]):
            tokens = tuple(p for p in positions if p <= fitting)
            pieces.append(Piece(text=text[start:stop], span=(start, stop), is_word=is_word, tokens=tokens))
            if is_word and len(tokens) < len(positions):
                truncated_words.append(text[start:stop])
        return cls(
            text=text,
            ids=tuple(ids),
            end=fitting + 1,
            pieces=tuple(pieces),
            truncated_words=tuple(truncated_words),
        )

    @property
    def length(self) -> int:
        """S, the encoder's length in tokens."""
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """About what it takes of memory."""
        return 8 * self.length + 4 * len(self.text) + 1000 * len(self.pieces)

    @cached_property
    def encoded_pieces(self) -> tuple[Piece, ...]:
        """The pieces up to the last that has a token: those that the encoder reads."""
        last = max((n for n, p in enumerate(self.pieces) if p.tokens), default=-1)
        return self.pieces[: last + 1]

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words in reading order; their index is the word's number."""
        return tuple(Word(text=p.text, span=p.span, tokens=p.tokens) for p in self.pieces if p.is_word)

    def find_words(self, name: str | int) -> tuple[int, ...]:
        """Numbers of the words that `name` means.

        `name` is a word (every occurrence, any case), a phrase of words that stand side by side, or a
        number: an int or "#3", counted from 0. Raises `UnknownWord`, which lists the words there are.
        """
        if isinstance(name, str) and re.fullmatch(r"#\d{1,9}", name.strip(), re.ASCII):
            name = int(name.strip()[1:])
        if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
            return (self._check_number(int(name)),)
        if not isinstance(name, str):
            raise UnknownWord(f"A word is named by its text or its number; got {shown(name)}.")
        phrase = [name[start:stop].casefold() for start, stop, is_word in _split(name) if is_word]
        keys = [word.text.casefold() for word in self.words]
        n = len(phrase)
        starts = [i for i in range(len(keys) - n + 1) if keys[i : i + n] == phrase] if n else []
        if not starts:
            raise UnknownWord(
                f"The word {shown(name)} is not in the prompt {shown(self.text)}; "
                f"its words are: {self._listing()}."
            )
        return tuple(dict.fromkeys(i + j for i in starts for j in range(n)))  # occurrences may overlap

    def find(self, name: str | int) -> tuple[int, ...]:
        """Token positions of a word, phrase or word number. Empty only where the prompt was truncated."""
        return tuple(t for n in self.find_words(name) for t in self.words[n].tokens)

    def _check_number(self, number: int) -> int:
        if 0 <= number < len(self.words):
            return number
        raise UnknownWord(
            f"Word number {shown(number)} is not in the prompt; "
            f"expected 0 to {len(self.words) - 1}: {self._listing()}."
            if self.words
            else f"Word number {shown(number)} is not in the prompt, which has no words."
        )

    def _listing(self) -> str:
        listed = [f"{n} {w.text}" for n, w in enumerate(self.words[:MAX_LISTED_WORDS])]
        return ", ".join([*listed, *(["…"] if len(self.words) > MAX_LISTED_WORDS else [])]) or "none"


def _place_tokens(text: str, offsets: Offsets) -> list[tuple[tuple[int, int, bool], list[int]]]:
    """Every piece of the text, as in `Bounds`, with the positions of its tokens, counted from 1."""
    bounds = _split(text)
    owners = _owners(offsets, bounds)
    # What is white space here but has a token becomes a piece too, so that it can be aligned.
    orphans = {span for span, owner in zip(offsets, owners, strict=True) if owner is None}
    if orphans:
        bounds = sorted({*bounds, *((start, stop, False) for start, stop in orphans)})
        owners = _owners(offsets, bounds)
    positions: list[list[int]] = [[] for _ in bounds]
    for position, owner in enumerate(owners, start=1):
        if owner is not None:
            positions[owner].append(position)
    return list(zip(bounds, positions, strict=True))


def _split(text: str) -> Bounds:
    """Bounds of the pieces: runs between white space, the punctuation at their ends apart."""
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


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words of a text, in their order: of `Prompt.words`, without a tokenizer."""
    return [(start, stop) for start, stop, is_word in _split(text) if is_word]


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def _owners(offsets: Offsets, bounds: Bounds) -> list[int | None]:
    """The index of each token's piece: the one that holds its first character that isn't white space.

    Some tokenizers count the space before a word to its token, and several tokens can share one
    character, so a token is placed by its offsets alone and never by its order.
    """
    ends = [stop for _, stop, _ in bounds]
    owners: list[int | None] = []
    for start, stop in offsets:
        index = bisect_right(ends, start)  # the first piece that ends after the token's start
        inside = index < len(bounds) and bounds[index][0] < max(stop, start + 1)
        owners.append(index if inside else None)
    return owners
