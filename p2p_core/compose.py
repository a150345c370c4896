"""An edit of an edit, exactly: the edited map of a step as a sum of terms.

    sum_k M_k mix_k  take  +  M* diag(keep)      M_k = softmax(Q_k K_k^T)

The source's map is a sum of terms itself, so multiplying each by `take` from the right, and adding the
target's own map times diag(keep), gives a record of the same form: the edit can be a source.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from .attention import AttentionRecord, Mix
from .plan import StepPlan


def compose(
    source: AttentionRecord, target: AttentionRecord, step: StepPlan, mixes: dict[bytes, Mix]
) -> AttentionRecord:
    """The record of an edit's step, from its source's record and from what the target's own row recorded.

    mixes: made before, by digest; new ones are added, so that layers and steps with the same one share it.
    """
    take, keep = torch.from_numpy(step.take.copy()), torch.from_numpy(step.keep.copy())
    record = AttentionRecord(self_=target.self_)
    for layer, target_terms in target.cross.items():
        terms = []
        if step.take.any():
            for term in source.cross[layer]:
                terms.append(replace(term, mix=_mix(mixes, step, b"take", take, term.mix)))
        if step.keep.any() or not terms:  # A term that is all zero would only take memory.
            terms += [replace(term, mix=_mix(mixes, step, b"keep", keep)) for term in target_terms]
        record.cross[layer] = tuple(terms)
    return record


def _mix(
    mixes: dict[bytes, Mix], step: StepPlan, part: bytes, matrix: Tensor, before: Mix | None = None
) -> Mix:
    """before @ take (S, T), or diag(keep) (T, T)."""
    before_digest = b"" if before is None else before.digest
    digest = hashlib.blake2b(part + step.digest + before_digest, digest_size=16).digest()
    if digest not in mixes:
        made = matrix.diag() if part == b"keep" else matrix if before is None else before.matrix @ matrix
        mixes[digest] = Mix(made, digest)
    return mixes[digest]
