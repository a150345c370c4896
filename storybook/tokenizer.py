"""A byte-level BPE tokenizer in CLIP's format, learned from the world's own captions.

Every byte is in its vocabulary, so unknown words fall to pieces without harm.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence, Set
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import EXTRA_WORDS, IN_PIECES, caption
from .scenes import sample

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def word_counts(seed: int = 0, captions: int = 4000) -> Counter[str]:
    """How often each word stands in sampled captions; extra words count as one in a hundred captions."""
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for _ in range(captions):
        counts.update(re.findall(r"[a-z]+|[^\sa-z]+", caption(sample(rng), rng)))
    counts.update({word: captions // 100 for word in EXTRA_WORDS.split()})
    return counts


def learn_merges(counts: Counter[str], limit: int = 1200) -> list[tuple[str, str]]:
    """Byte-pair merges, the most frequent pair first, until every word is one token or `limit`.

    The pieces of `IN_PIECES` come before all words, so that no other merge joins letters across their bounds:
    those words stay a few tokens each. What `kept_apart` gives stands between, so that only they have them.
    """
    first = {piece: [*piece] for parts in IN_PIECES.values() for piece in parts[:-1]}
    last = {parts[-1]: _letters(parts[-1]) for parts in IN_PIECES.values()}
    words = {word: _letters(word) for word in counts if word not in IN_PIECES}
    merges: list[tuple[str, str]] = []
    pieces = [*first.values(), *last.values()]
    _learn(merges, pieces, [1] * len(pieces), limit)
    apart = kept_apart(merges, set(words))
    merges += apart
    _learn(merges, [*words.values()], [counts[word] for word in words], limit + len(apart))
    return merges


def kept_apart(merges: Sequence[tuple[str, str]], words: Set[str]) -> list[tuple[str, str]]:
    """Merges that take the last piece of a word of `IN_PIECES` out of every other word.

    The "ing" of "blossoming" would bring blossoms with "sleeping": there it joins the letter before it to a
    token of which the model has learned nothing. A piece that is a word itself ("house") keeps what it says.
    merges: those of the pieces; by the time these follow, a word of `IN_PIECES` has its pieces already.
    """
    found = []
    for *before, end in IN_PIECES.values():
        if end not in words:
            fronts = [*ascii_lowercase, *("".join(m) for m in merges if not m[1].endswith("</w>"))]
            found += [(front, end + "</w>") for front in dict.fromkeys(fronts) if front != before[-1]]
    return found


def _learn(merges: list[tuple[str, str]], group: list[list[str]], weights: Sequence[int], limit: int) -> None:
    """Add to the merges until each of the group is one token; the group's letters are joined in place."""
    for merge in merges:
        for parts in group:
            _join(parts, merge)
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, weight in zip(group, weights, strict=True):
            for pair in pairwise(parts):
                pairs[pair] += weight
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for parts in group:
            _join(parts, best)


def _letters(word: str) -> list[str]:
    """A word's letters, the last one marked as its end."""
    return [*word[:-1], word[-1] + "</w>"]


def _join(parts: list[str], pair: tuple[str, str]) -> None:
    i = 0
    while i < len(parts) - 1:
        if (parts[i], parts[i + 1]) == pair:
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        i += 1


def build(folder: Path, seed: int = 0) -> int:
    """Write vocab.json, merges.txt and the configs. Returns the size of the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(word_counts(seed))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges), START, END]
    vocab: dict[str, int] = {}
    for token in tokens:
        vocab.setdefault(token, len(vocab))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
        **special,
    }
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    return len(vocab)


@torch.no_grad()
def carry_over(folder: Path, seed: int = 0) -> int:
    """Build the tokenizer anew under a text encoder that was trained with an older one.

    Each token that stays keeps what was learned of it; a new one begins like a letter, of which nothing was
    learned. Raises `ValueError` if a word of the captions would no longer be the tokens it was. Returns the
    size of the vocabulary.
    """
    old = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    with TemporaryDirectory() as aside:
        size = build(Path(aside), seed)
        new = CLIPTokenizer.from_pretrained(aside)
        known = [*word_counts(seed), *IN_PIECES]
        if changed := [word for word in known if old.tokenize(word) != new.tokenize(word)]:
            raise ValueError(
                f"The text encoder knows these words by other tokens and must be trained anew: {changed}."
            )
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        table, rows = encoder.get_input_embeddings().weight, old.get_vocab()
        tokens = sorted(new.get_vocab(), key=new.get_vocab().__getitem__)
        carried = [table[rows.get(token, rows[token[0]])] for token in tokens]
        encoder.resize_token_embeddings(size)
        encoder.get_input_embeddings().weight.copy_(torch.stack(carried))
        encoder.config.bos_token_id, encoder.config.eos_token_id = new.bos_token_id, new.eos_token_id
        encoder.config.pad_token_id = new.pad_token_id
        encoder.save_pretrained(folder / "text_encoder")
        shutil.rmtree(folder / "tokenizer")  # an older tokenizer.json would go before the new files
        shutil.copytree(aside, folder / "tokenizer")
    return size
