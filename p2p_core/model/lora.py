"""How strong a pipeline's LoRAs are for the time of one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Scalings = list[tuple[dict[str, float], dict[str, float]]]  # each layer's, and what it is at a scale of 1


class LoraScale:
    """Multiplies what the pipeline's owner gave its adapters, and puts it back.

    diffusers' `scale_lora_layers` divides again afterwards, which is no way back from 0.
    """

    def __init__(self) -> None:
        self.scale = 1.0
        self._scalings: Scalings | None = None

    @contextmanager
    def at(self, parts: Iterable[Any], scale: float) -> Iterator[None]:
        """Every LoRA of some modules at `scale` times its strength, whatever it is at outside."""
        if scale == self.scale:
            yield
            return
        before, outer = self.scale, self._scalings
        self._scalings = scalings = _scalings(parts) if outer is None else outer
        try:
            self._put(scalings, scale)
            yield
        finally:
            self._put(scalings, before)
            self._scalings = outer

    def _put(self, scalings: Scalings, scale: float) -> None:
        self.scale = scale
        for now, whole in scalings:
            now.update({name: factor * scale for name, factor in whole.items()})


def _scalings(parts: Iterable[Any]) -> Scalings:
    found = (getattr(module, "scaling", None) for part in parts for module in part.modules())
    return [(scaling, dict(scaling)) for scaling in found if isinstance(scaling, dict)]
