"""What a user asks for: `Edit`, `Blend`, `Window`. Knows neither torch nor the tokenizer."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from .errors import BadInput, shown
from .images.mask import mask_array, mask_text
from .prompt import KINDS, Kind

DEFAULT = "default_"


def _number(value: object) -> float | None:
    """A finite float, or None. Text and booleans are no numbers here."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


@dataclass(frozen=True)
class Window:
    """A stretch of the run as fractions of its steps: covers round(start N) <= i < round(end N)."""

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        start, end = _number(self.start), _number(self.end)
        if start is None or end is None or not 0 <= start <= end <= 1:
            raise BadInput(
                "A window is a fraction, or a pair (start, end) with 0 <= start <= end <= 1; "
                f"got ({shown(self.start)}, {shown(self.end)})."
            )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)

    @classmethod
    def of(cls, value: object, what: str = "A window") -> Window:
        """From a fraction f, which means (0, f), or a pair. Raises `BadInput`."""
        if isinstance(value, Window):
            return value
        try:
            if isinstance(value, (list, tuple)) and len(value) == 2:
                return cls(value[0], value[1])
            fraction = _number(value)
            if fraction is not None:
                return cls(0.0, fraction)
        except BadInput:
            pass
        raise BadInput(
            f"{what} is a fraction of the steps, or a pair (start, end), with 0 <= start <= end <= 1; "
            f"got {shown(value)}."
        )

    def steps(self, total: int) -> range:
        """The steps covered, 0 the noisiest. Halves round up."""
        return range(step_at(self.start, total), step_at(self.end, total))

    def to_json(self) -> Any:
        return self.end if self.start == 0 else [self.start, self.end]


def step_at(fraction: float, total: int) -> int:
    """round(fraction * total), halves up. (Python's round goes to even, and int() loses 0.58 * 50.)"""
    return math.floor(round(fraction * total, 9) + 0.5)


Name = str | int


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Local blend (Prompt-to-Prompt, local editing): keep the source outside a region.

    The region is the union of where `source_words` look in the source and `target_words` in the target,
    above `threshold` of their maximum, and of `mask`, which is drawn by hand; less where `subtract_words`
    (of the target prompt) look above `subtract_threshold`. It holds from step round(start * N) on.

    mask: text of `masks.mask_text`, scaled to the latents' size; an array (h, w) in 0..1 is taken too.
    soft: how wide the region's edge fades, as a fraction of the picture's side; 0: not at all.
    keep_pixels: outside the region the source's own pixels; a real picture's, and not what the autoencoder
        makes of them. The latents are the same either way.
    """

    source_words: tuple[Name, ...] = ()
    target_words: tuple[Name, ...] = ()
    threshold: float = 0.3
    start: float = 0.2
    subtract_words: tuple[Name, ...] = ()
    subtract_threshold: float = 0.3
    mask: str | None = None
    soft: float = 0.0
    keep_pixels: bool = False

    def __post_init__(self) -> None:
        for name in ("source_words", "target_words", "subtract_words"):
            words = getattr(self, name)
            if isinstance(words, (str, int)) and not isinstance(words, bool):
                words = (words,)
            if not isinstance(words, (list, tuple)) or not all(_is_name(w) for w in words):
                raise BadInput(f"{name} is a list of words, phrases or word numbers; got {shown(words)}.")
            object.__setattr__(self, name, tuple(words))
        if self.mask is not None:
            if not isinstance(self.mask, str):
                object.__setattr__(self, "mask", mask_text(self.mask))
            mask_array(self.mask)
        elif not self.source_words and not self.target_words:
            raise BadInput("A blend needs a word in source_words or target_words, or a mask; got none.")
        if not isinstance(self.keep_pixels, bool):
            raise BadInput(f"A blend's keep_pixels is true or false; got {shown(self.keep_pixels)}.")
        for name in ("threshold", "start", "subtract_threshold", "soft"):
            value = _number(getattr(self, name))
            if value is None or not 0 <= value <= 1:
                raise BadInput(f"A blend's {name} is a number from 0 to 1; got {shown(getattr(self, name))}.")
            object.__setattr__(self, name, value)


def _is_name(word: object) -> bool:
    return isinstance(word, (str, numbers.Integral)) and not isinstance(word, bool)


@dataclass(frozen=True)
class Edit:
    """One edit of a source picture, by the target prompt and how firmly the source holds.

    prompt: the target prompt.
    cross_steps: window of cross-attention injection: a fraction, a pair, or a dict with "default_"
        (missing: the whole run) and words or phrases of the target prompt with their own windows.
    self_steps: window of self-attention injection.
    self_pixels: largest self-attention grid (h * w) injected; None: a quarter of the latent's pixels,
        at least 256; math.inf: all.
    kind: "auto", "swap" or "refine", see `words.align`.
    weights: faders: word, phrase or word number of the target prompt -> factor of its columns. The paper
        uses [-2, 2]; the API takes any finite number.
    weight_steps: when the faders hold; the paper gives no limit, so the whole run.
    blend: local blend, or None.

    Raises a `P2PError` that says what was expected. JSON both ways.
    """

    prompt: str
    cross_steps: Any = 0.8
    self_steps: Any = 0.4
    self_pixels: float | None = None
    kind: Kind = "auto"
    weight_steps: Any = 1.0
    weights: Mapping[Name, float] = field(default_factory=dict)
    blend: Blend | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise BadInput(
                f"A prompt is text; expected a str, got {type(self.prompt).__name__} ({shown(self.prompt)})."
            )
        put = object.__setattr__
        if isinstance(self.cross_steps, Mapping):
            windows = {}
            for name, value in self.cross_steps.items():
                if not _is_name(name):
                    raise BadInput(f"cross_steps names words by text or number; got {shown(name)}.")
                windows[name] = Window.of(value, f"cross_steps[{shown(name)}]")
            put(self, "cross_steps", MappingProxyType(windows))
        else:
            put(self, "cross_steps", Window.of(self.cross_steps, "cross_steps"))
        put(self, "self_steps", Window.of(self.self_steps, "self_steps"))
        put(self, "weight_steps", Window.of(self.weight_steps, "weight_steps"))
        if self.self_pixels is not None:
            pixels = self.self_pixels
            real = isinstance(pixels, numbers.Real) and not isinstance(pixels, bool)
            if not real or math.isnan(pixels) or pixels < 0:
                raise BadInput(
                    f"self_pixels is a number of pixels of at least 0, or None; got {shown(pixels)}."
                )
        if self.kind not in KINDS:
            raise BadInput(f"kind is one of {', '.join(KINDS)}; got {shown(self.kind)}.")
        if not isinstance(self.weights, Mapping):
            raise BadInput(f"weights maps words to numbers; got {shown(self.weights)}.")
        weights = {}
        for name, value in self.weights.items():
            weight = _number(value)
            if not _is_name(name):
                raise BadInput(f"weights names words by text or number; got {shown(name)}.")
            if weight is None:
                raise BadInput(f"The weight of {shown(name)} must be a finite number; got {shown(value)}.")
            weights[name] = weight
        put(self, "weights", MappingProxyType(weights))
        if isinstance(self.blend, Mapping):
            put(self, "blend", _from_fields(Blend, self.blend, "blend"))
        elif self.blend is not None and not isinstance(self.blend, Blend):
            raise BadInput(f"blend is a Blend or None; got {shown(self.blend)}.")

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:  # mapping proxies don't pickle
        return Edit.from_json, (self.to_json(),)

    def replace(self, **changes: Any) -> Edit:
        """A copy with some fields changed."""
        unknown = set(changes) - {f.name for f in fields(self)}
        if unknown:
            raise BadInput(f"An edit has no {shown(sorted(unknown)[0])}; it has {_field_names(Edit)}.")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fit for JSON; word numbers are written "#3"."""
        cross: Any = self.cross_steps
        if isinstance(cross, Window):
            cross = cross.to_json()
        else:
            cross = {_written(name): window.to_json() for name, window in cross.items()}
        pixels = self.self_pixels
        blend = None
        if self.blend is not None:
            blend = {f.name: getattr(self.blend, f.name) for f in fields(Blend)}
            blend = {k: [_written(w) for w in v] if isinstance(v, tuple) else v for k, v in blend.items()}
        return {
            "prompt": self.prompt,
            "cross_steps": cross,
            "self_steps": self.self_steps.to_json(),
            "self_pixels": "all" if pixels == math.inf else pixels,
            "kind": self.kind,
            "weight_steps": self.weight_steps.to_json(),
            "weights": {_written(name): weight for name, weight in self.weights.items()},
            "blend": blend,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Edit:
        """From JSON text or the object it holds. Raises `BadInput`, or the error of the field at fault."""
        data: Any = text
        if isinstance(text, (str, bytes)):
            try:
                data = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"An edit is a JSON object; this is not JSON ({error}).") from None
        if not isinstance(data, Mapping):
            raise BadInput(f'An edit is a JSON object with at least "prompt"; got {shown(data)}.')
        data = dict(data)
        if data.get("self_pixels") == "all":
            data["self_pixels"] = math.inf
        return _from_fields(cls, data, "edit")


def _written(name: Name) -> str:
    return name if isinstance(name, str) else f"#{name}"


def _field_names(cls: type) -> str:
    return ", ".join(f.name for f in fields(cls))


def _from_fields(cls: Any, data: Mapping[str, Any], what: str) -> Any:
    unknown = [name for name in data if name not in {f.name for f in fields(cls)}]
    if unknown:
        raise BadInput(f"Unknown field {shown(unknown[0])} in the {what}; expected {_field_names(cls)}.")
    if cls is Edit and "prompt" not in data:
        raise BadInput('An edit needs at least "prompt"; got none.')
    return cls(**data)
