"""A byte-level BPE tokenizer in CLIP's format, learned from the world's own captions.

Every byte is in its vocabulary, so unknown words fall to pieces without harm.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import pre_tokenizers

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
    those words stay a few tokens each.
    """
    pieces = {piece: [*piece] for parts in IN_PIECES.values() for piece in parts[:-1]}
    ends = {parts[-1]: _letters(parts[-1]) for parts in IN_PIECES.values()}
    words = {word: _letters(word) for word in counts if word not in IN_PIECES}
    merges: list[tuple[str, str]] = []
    for group in ([*pieces.values(), *ends.values()], [*words.values()]):
        weights = [1] * len(group) if merges == [] else [counts[word] for word in words]
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
    return merges


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
