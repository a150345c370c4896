"""How long a source's records stay, and what becomes of a source that is copied or pickled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from .errors import P2PError


@dataclass(frozen=True, kw_only=True)
class Detached:
    """In the engine's place where there is none: of a source that was unpickled."""

    model_name: str
    fingerprint: str

    def hold(self, source: object) -> None:
        """Nothing is recorded of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by copy and pickle
            raise AttributeError(name)
        raise P2PError("This source was unpickled and has no model: p2p.load_source(source) gives it one.")


class Lifetime:
    """Base of `Source`. What is recorded of it is freed with the last object of its key, or after a `with`.

    A copy shares it; pickled, a source loses its engine, and `PromptToPrompt.load_source` gives it another.
    """

    engine: Any

    def __post_init__(self) -> None:
        self.engine.hold(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.forget(self)

    def __copy__(self) -> Self:
        return replace(self)  # type: ignore[type-var]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self.engine)] = self.engine
        parts = {f.name: copy.deepcopy(getattr(self, f.name), memo) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**parts)

    def __getstate__(self) -> Mapping[str, Any]:
        engine = self.engine
        model = Detached(model_name=engine.model_name, fingerprint=engine.fingerprint)
        return {**vars(self), "engine": model}
