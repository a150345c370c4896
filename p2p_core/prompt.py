"""A prompt, its words, and where their tokens stand in the text encoder's input.

Token positions come from the tokenizer's own offsets: decoded tokens are never counted or compared.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, pairwise, takewhile
from typing import Any, Literal

import numpy as np

from .errors import BadInput, UnknownWord, UnsupportedModel, shown
from .words import UNSPACED, Bounds, find_phrase, key, split

Kind = Literal["auto", "swap", "refine"]  # how `alignment.align` pairs the words of two prompts
KINDS: tuple[Kind, ...] = ("auto", "swap", "refine")

MAX_PROMPT_CHARACTERS = 4000  # text encoders read 77 tokens; a tokenizer's time grows with the text
MAX_LISTED_WORDS, MAX_LISTED_CHARACTERS = 100, 40  # in a message, and of each of them

Offsets = list[tuple[int, int]]  # of tokens: start and end in the text, in characters


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A word or the punctuation beside it: what an alignment compares."""

    text: str
    span: tuple[int, int]  # characters, end exclusive
    is_word: bool  # False: punctuation
    tokens: tuple[int, ...]  # positions in the encoder's input; empty where the prompt was truncated

    @property
    def key(self) -> str:
        """What two pieces are compared by, see `words.key`."""
        return key(self.text)


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
    clip_skip: int = field(default=0, repr=False)  # how many of the encoder's last layers are left out
    embeds: str = field(default="", repr=False)  # (S, d) as `settings.floats_text`, instead of the encoder's

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
        offsets, more = full["offset_mapping"][1:-1], _more_vectors(tokenizer)
        if more:  # a word of several vectors owns the tokens of all of them
            found = [(i, at) for t, at in zip(text_ids, offsets, strict=True) for i in (t, *more.get(t, ()))]
            text_ids, offsets = [i for i, _ in found], [at for _, at in found]
        fitting = min(len(text_ids), length - 2)
        ids = [start_mark, *text_ids[:fitting], end_mark]
        ids += [tokenizer.pad_token_id] * (length - len(ids))

        pieces, truncated_words = [], []
        for (start, stop, is_word), positions in _place_tokens(text, offsets):
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

    def truncation_note(self, which: str) -> str:
        """What to say of words that the encoder doesn't read, "" if there are none. which: prompt it is."""
        if not self.truncated_words:
            return ""
        return (
            f"The {which} prompt is longer than the model's {self.length - 2} tokens: "
            f"{', '.join(self.truncated_words)} fell off and has no effect."
        )

    @cached_property
    def key(self) -> tuple[object, ...]:
        """All that its embedding depends on: two prompts with equal keys are one to the model."""
        embeds = hashlib.blake2b(self.embeds.encode(), digest_size=16).hexdigest() if self.embeds else ""
        return (self.ids, self.clip_skip, embeds)

    @property
    def length(self) -> int:
        """S, the encoder's length in tokens."""
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """About what it takes of memory."""
        return 8 * self.length + 4 * len(self.text) + 1000 * len(self.pieces) + len(self.embeds)

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
        found = find_phrase([word.text for word in self.words], name)
        if not found:
            raise UnknownWord(
                f"The word {shown(name)} is not in the prompt {shown(self.text)}; "
                f"its words are: {self._listing()}."
            )
        return tuple(dict.fromkeys(n for i, j in found for n in range(i, j + 1)))  # occurrences may overlap

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
        words = enumerate(self.words[:MAX_LISTED_WORDS])
        listed = [f"{n} {word.text[:MAX_LISTED_CHARACTERS]}" for n, word in words]
        return ", ".join([*listed, *(["…"] if len(self.words) > MAX_LISTED_WORDS else [])]) or "none"


def _more_vectors(tokenizer: Any) -> dict[int, list[int]]:
    """By the token of a textual inversion of several vectors those of the others, as diffusers names them
    (`maybe_convert_prompt`): <cat>, <cat>_1, <cat>_2 ..."""
    known, more = tokenizer.get_added_vocab(), {}
    for name, token in known.items():
        if f"{name}_1" in known:
            following = takewhile(known.__contains__, (f"{name}_{n}" for n in count(1)))
            more[token] = [known[other] for other in following]
    return more


def _place_tokens(text: str, offsets: Offsets) -> list[tuple[tuple[int, int, bool], list[int]]]:
    """Every piece of the text, as in `Bounds`, with the positions of its tokens, counted from 1."""
    bounds = _cut_at_tokens(text, split(text), offsets)
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


def _cut_at_tokens(text: str, bounds: Bounds, offsets: Offsets) -> Bounds:
    """The same pieces; in scripts without spaces every token is one, for the tokenizer alone knows words."""
    found: Bounds = []
    for start, stop, is_word in bounds:
        cuts = []
        if UNSPACED.search(text, start, stop):
            inside = {a for a, _ in offsets if start < a < stop and UNSPACED.search(text, a - 1, a + 1)}
            cuts = sorted(a for a in inside if not any(b < a < c for b, c in offsets))
        edges = [start, *cuts, stop]
        found += [(a, b, is_word) for a, b in pairwise(edges)]
    return found


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
