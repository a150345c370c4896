"""Alignments written by hand, for the literal reference: which source word each target word reads.

Works for prompts of plain words separated by single spaces; tokens are counted by tokenizing word by word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from reference.side_by_side import Blended, Controls

Group = tuple[list[int], list[int]]  # source words -> target words


def spans(tokenizer: Any, prompt: str) -> tuple[list[list[int]], int]:
    """Token positions of each word, and the position of the end mark."""
    positions, at = [], 1
    for word in prompt.split():
        count = len(tokenizer(word).input_ids) - 2
        positions.append(list(range(at, at + count)))
        at += count
    return positions, at


def columns(
    tokenizer: Any, source: str, target: str, groups: list[Group]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A (S, T) and n (T)."""
    S = tokenizer.model_max_length
    s, s_end = spans(tokenizer, source)
    t, t_end = spans(tokenizer, target)
    A = torch.zeros(S, S)
    A[0, 0] = A[s_end, t_end] = 1
    for j in range(S):
        if j > t_end and j > s_end:
            A[j, j] = 1
    for from_words, to_words in groups:
        rows = [p for word in from_words for p in s[word]]
        cols = [p for word in to_words for p in t[word]]
        if len(rows) == len(cols):
            for i, j in zip(rows, cols, strict=True):
                A[i, j] = 1
        else:
            for j in cols:
                A[rows, j] = 1 / len(rows)
    return A, A.sum(0) == 0


def controls(
    tokenizer: Any,
    source: str,
    target: str,
    groups: list[Group],
    steps: int,
    *,
    cross: tuple[int, int] = (0, 0),
    windows: dict[int, tuple[int, int]] | None = None,
    self_steps: tuple[int, int] = (0, 0),
    self_pixels: float = 256,
    weights: dict[int, float] | None = None,
    weight_steps: tuple[int, int] | None = None,
    blend: tuple[list[int], list[int], float, int, list[int], float] | None = None,
    share: bool = False,
    amount: float = 1.0,
) -> Controls:
    """Everything in whole steps and word numbers. blend: source words, target words, threshold, first step,
    subtracted target words and their threshold."""
    A, n = columns(tokenizer, source, target, groups)
    s, _ = spans(tokenizer, source)
    t, _ = spans(tokenizer, target)
    a, w = torch.zeros(steps, len(n)), torch.ones(steps, len(n))
    a[cross[0] : cross[1]] = 1
    for word, (lo, hi) in (windows or {}).items():
        a[:, t[word]] = 0
        a[lo:hi, t[word]] = 1
    lo, hi = weight_steps or (0, steps)
    for word, c in (weights or {}).items():
        w[lo:hi, t[word]] = c
    blended = None
    if blend is not None:
        words, words_, threshold, first, subtract, subtract_threshold = blend
        blended = Blended(
            [p for word in words for p in s[word]],
            [p for word in words_ for p in t[word]],
            threshold,
            first,
            [p for word in subtract for p in t[word]],
            subtract_threshold,
        )
    return Controls(A, n, a, w, set(range(*self_steps)), self_pixels, blended, share, amount)


def embed(pipe: Any, prompt: str) -> torch.Tensor:
    """The text encoder's output as diffusers' own pipeline makes it."""
    with torch.no_grad():
        return pipe.encode_prompt(prompt, pipe.unet.device, 1, False)[0]


def embed_two(
    pipe: Any, source: str, target: str, size: tuple[int, int]
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """SDXL's conditions as diffusers' own pipeline makes them, for pictures of (height, width).

    Embeddings of no negative prompt, the source and the target; pooled text and time ids of four rows.
    """
    device, dtype = pipe.unet.device, pipe.unet.dtype
    with torch.no_grad():
        one, negative, pooled, negative_pooled = pipe.encode_prompt(source, device=device)
        two, _, pooled_two, _ = pipe.encode_prompt(target, device=device)
    ids = torch.tensor([[*size, 0, 0, *size]], dtype=dtype, device=device).expand(4, -1)
    text_embeds = torch.cat([negative_pooled, negative_pooled, pooled, pooled_two])
    return (negative, one, two), {"text_embeds": text_embeds, "time_ids": ids}


def loop_over_pixels(
    M: np.ndarray, M_star: np.ndarray, A: np.ndarray, n: np.ndarray, a: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """The edited map, one pixel and one token at a time (paper, section 3.2). M, M* (N, S), (N, T)."""
    N, T = M_star.shape
    edited = np.zeros_like(M_star)
    for p in range(N):
        for j in range(T):
            if n[j]:
                injected = M_star[p, j]
            else:
                injected = 0.0
                for i in range(M.shape[1]):
                    injected += M[p, i] * A[i, j]
            edited[p, j] = w[j] * (a[j] * injected + (1 - a[j]) * M_star[p, j])
    return edited
