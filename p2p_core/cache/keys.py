"""Names for what is cached: digests of all that it depends on."""

from __future__ import annotations

import hashlib

from torch import Tensor


def key_of(*parts: object) -> str:
    """A digest of numbers, texts, bytes, and tensors by their content."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        value = bytes_of(part) if isinstance(part, Tensor) else part
        digest.update(value if isinstance(value, bytes) else repr(value).encode())
    return digest.hexdigest()


def bytes_of(x: Tensor) -> bytes:
    """A tensor's content, the same in every precision that holds it exactly."""
    return x.detach().float().cpu().numpy().tobytes()
