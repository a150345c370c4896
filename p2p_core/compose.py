"""An edit of an edit, exactly: the edited map of a step as a sum of terms.

    sum_k M_k mix_k  take  +  M* diag(keep)      M_k = softmax(Q_k K_k^T)

The source's map is a sum of terms itself, so multiplying each by `take` from the right, and adding the
target's own map times diag(keep), gives a record of the same form: the edit can be a source. Where a
word is, its map says even if its weight was 0 or below: a record keeps that map beside the one that acts.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from .attention import AttentionRecord, Mix
from .step_plan import Floats, StepPlan


def compose(
    source: AttentionRecord, target: AttentionRecord, step: StepPlan, mixes: dict[bytes, Mix]
) -> AttentionRecord:
    """The record of an edit's step, from its source's record and from what the target's own row recorded.

    mixes: made before, by digest; new ones are added, so that layers and steps with the same one share it.
    """
    record = AttentionRecord(self_=target.self_)
    for layer, target_terms in target.cross.items():
        terms = []
        if step.take_of_maps.any():
            terms += [replace(term, mix=_taken(mixes, step, term.mix)) for term in source.cross[layer]]
        if step.keep_of_maps.any() or not terms:  # A term that is all zero would only take memory.
            terms += [replace(term, mix=_kept(mixes, step)) for term in target_terms]
        record.cross[layer] = tuple(terms)
    return record


def _taken(mixes: dict[bytes, Mix], step: StepPlan, before: Mix | None) -> Mix:
    """before @ take, (S, T)."""
    digest = _name(b"take" + step.digest + (b"" if before is None else before.digest))
    if digest not in mixes:
        take, of_maps = _tensor(step.take), _tensor(step.take_of_maps)
        if before is not None:
            take, of_maps = before.matrix @ take, before.of_maps @ of_maps
        mixes[digest] = Mix(take, digest, of_maps)
    return mixes[digest]


def _kept(mixes: dict[bytes, Mix], step: StepPlan) -> Mix:
    """diag(keep), (T, T)."""
    digest = _name(b"keep" + step.digest)
    if digest not in mixes:
        mixes[digest] = Mix(_tensor(step.keep).diag(), digest, _tensor(step.keep_of_maps).diag())
    return mixes[digest]


def _name(parts: bytes) -> bytes:
    return hashlib.blake2b(parts, digest_size=16).digest()


def _tensor(x: Floats) -> Tensor:
    return torch.from_numpy(x.copy())
