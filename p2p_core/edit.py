"""What a user asks for: `Edit`, `Blend`, `Window`. Neither torch nor a tokenizer is needed to make one."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from .errors import BadInput, shown
from .images.mask import mask_array, mask_text
from .prompt import KINDS, Kind
from .settings import check_clip_skip, check_guidance_scale, check_lora_scale, floats_text
from .weights import MAX_NUMBER, Name, check_weights, is_name, number, read_weights, weights_of_words
from .window import Window
from .words import word_spans

DEFAULT = "default_"  # in `Edit.cross_steps`: the words that have no window of their own
WEIGHTS_MODES = ("gain", "share")  # of `Edit.weights_mode`
VARIANTS = ("strict", "balanced", "free", "a hint")  # of `PromptToPrompt.variants`
_RUN_SETTINGS: dict[str, Callable[[Any], object]] = {
    "guidance_scale": check_guidance_scale,
    "lora_scale": check_lora_scale,
    "clip_skip": check_clip_skip,
    "prompt_embeds": floats_text,
}


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Local blend (Prompt-to-Prompt, local editing): the source stays as it is outside a region.

    The region is where the maps of `source_words` in the source or of `target_words` in the target exceed
    `threshold` of their maximum, and `mask`, which is drawn by hand; minus where the maps of
    `subtract_words` (of the target prompt) exceed `subtract_threshold`. The blend starts with step
    round(start * N).

    mask: text of `mask_text`, scaled to the latents' size; or an array (h, w) in 0..1.
    soft: width of the region's edge, over which it fades, as a fraction of the picture's side.
    refine: sharpen the words' maps by the source's self-attention before they are summed, see `refine`; the
        paper has none of it. The thresholds are then shares of a map's range, not of its maximum.
    quantile: the thresholds are quantiles of a map (LEDITS++, Brack et al. 2024), so that a region of 0.8 is
        a fifth of the picture however flat the map is.
    keep_pixels: copy the pixels outside the region from the source, so that they don't go through the
        autoencoder (a real picture's are changed by it). The latents are the same either way.

    Raises `BadInput`.
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
    refine: bool = False
    quantile: bool = False

    def __post_init__(self) -> None:
        for name in ("source_words", "target_words", "subtract_words"):
            object.__setattr__(self, name, _names(getattr(self, name), name))
        if self.mask is not None:
            if not isinstance(self.mask, str):
                object.__setattr__(self, "mask", mask_text(self.mask))
            mask_array(self.mask)
        elif not self.source_words and not self.target_words:
            raise BadInput("A blend needs a word in source_words or target_words, or a mask; got none.")
        for name in ("keep_pixels", "refine", "quantile"):
            if not isinstance(getattr(self, name), bool):
                raise BadInput(f"A blend's {name} is true or false; got {shown(getattr(self, name))}.")
        for name in ("threshold", "start", "subtract_threshold", "soft"):
            value = number(getattr(self, name))
            if value is None or not 0 <= value <= 1:
                raise BadInput(f"A blend's {name} is a number from 0 to 1; got {shown(getattr(self, name))}.")
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Blend) else NotImplemented

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a word number is written as "#3"."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: [_name_text(w) for w in v] if isinstance(v, tuple) else v for k, v in values.items()}


@dataclass(frozen=True)
class Edit:
    """One edit of a source picture: the target prompt, and in which steps the source's attention is injected.

    prompt: the target prompt.
    cross_steps: window of cross-attention injection: a fraction, a pair, a `Window`, or a dict with
        "default_" (missing: the whole run) and a window for each word or phrase of the target prompt that
        has one of its own.
    self_steps: window of self-attention injection.
    self_pixels: largest self-attention grid (h * w) that is injected; None: a quarter of the latents'
        pixels, at least 256; math.inf: all.
    kind: "auto", "swap" or "refine", see `align`.
    weights: word, phrase or word number of the target prompt -> factor of its attention columns
        (re-weighting). The paper uses -2 to 2; here any finite number will do.
    weight_steps: window of the weights; the paper gives no limit, so the whole run.
    blend: local blend, or None.
    weights_mode: "gain", the paper's, or "share": the edited map is divided by its rows' sums, see `share`.
    amount: 0 is the source and 1 the edit. Between them each cross-attention layer gives amount times what it
        gives in the edit, and 1 - amount times what it gave in the source.
    negative_prompt, guidance_scale, lora_scale, clip_skip: the target's own; None: the source's.
    prompt_embeds: what the prompt is read as, see `PromptToPrompt.generate`; None: what the model reads.
    notes: why it is as it is, for people, see `suggest`; no part of what is asked for.

    Raises `BadInput`.
    """

    prompt: str
    cross_steps: Any = 0.8
    self_steps: Any = 0.4
    self_pixels: float | None = None
    kind: Kind = "auto"
    weight_steps: Any = 1.0
    weights: Mapping[Name, float] = field(default_factory=dict)
    blend: Blend | None = None
    weights_mode: Literal["gain", "share"] = "gain"
    amount: float = 1.0
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    lora_scale: float | None = None
    clip_skip: int | None = None
    prompt_embeds: Any = None
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise BadInput(
                f"A prompt is text; expected a str, got {type(self.prompt).__name__} ({shown(self.prompt)})."
            )
        put = object.__setattr__
        put(self, "cross_steps", _cross_windows(self.cross_steps))
        put(self, "self_steps", Window.of(self.self_steps, "self_steps"))
        put(self, "weight_steps", Window.of(self.weight_steps, "weight_steps"))
        _check_pixels(self.self_pixels)
        if self.kind not in KINDS:
            raise BadInput(f"kind is one of {', '.join(KINDS)}; got {shown(self.kind)}.")
        put(self, "weights", check_weights(self.weights))
        if self.weights_mode not in WEIGHTS_MODES:
            raise BadInput(f"weights_mode is gain or share; got {shown(self.weights_mode)}.")
        amount = number(self.amount)
        if amount is None or not 0 <= amount <= 1:
            raise BadInput(f"An edit's amount is a number from 0 to 1; got {shown(self.amount)}.")
        put(self, "amount", amount)
        if self.negative_prompt is not None and not isinstance(self.negative_prompt, str):
            raise BadInput(f"negative_prompt is text, or None; got {shown(self.negative_prompt)}.")
        for name, check in _RUN_SETTINGS.items():
            if getattr(self, name) is not None:
                put(self, name, check(getattr(self, name)))
        if isinstance(self.blend, Mapping):
            put(self, "blend", _from_fields(Blend, self.blend, "blend"))
        elif self.blend is not None and not isinstance(self.blend, Blend):
            raise BadInput(f"blend is a Blend or None; got {shown(self.blend)}.")

    def __eq__(self, other: object) -> bool:
        """By what is asked for: a word number may be written as "#3"."""
        return self.to_json() == other.to_json() if isinstance(other, Edit) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:  # mapping proxies don't pickle
        return Edit.from_json, (self.to_json(),)

    def replace(self, **changes: Any) -> Edit:
        """A copy with some fields changed. Raises `BadInput`."""
        unknown = set(changes) - {f.name for f in fields(self)}
        if unknown:
            raise BadInput(f"An edit has no {shown(min(unknown))}; it has {_field_names(Edit)}.")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a word number is written as "#3"."""
        windows = self.cross_steps
        if isinstance(windows, Window):
            cross_steps: object = windows.to_json()
        else:
            cross_steps = {_name_text(name): window.to_json() for name, window in windows.items()}
        return {
            "prompt": self.prompt,
            "cross_steps": cross_steps,
            "self_steps": self.self_steps.to_json(),
            "self_pixels": "all" if self.self_pixels == math.inf else self.self_pixels,
            "kind": self.kind,
            "weight_steps": self.weight_steps.to_json(),
            "weights": {_name_text(name): weight for name, weight in self.weights.items()},
            "blend": None if self.blend is None else self.blend.to_dict(),
            "weights_mode": self.weights_mode,
            "amount": self.amount,
            **{name: getattr(self, name) for name in ("negative_prompt", *_RUN_SETTINGS)},
        }

    @property
    def run_settings(self) -> tuple[str | None, float | None, float | None]:
        """What all steps of a run share: negative prompt, guidance scale, LoRA scale. None: the source's."""
        return self.negative_prompt, self.guidance_scale, self.lora_scale

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_weighted(cls, text: str, **settings: Any) -> Edit:
        """From a prompt with weights written into it, such as "a (red:1.3) house", as `weights` reads them.

        settings: other fields; a word in `weights` goes before what is written. Raises `BadInput`.
        """
        prompt, factors = read_weights(text)
        weights = weights_of_words(prompt, word_spans(prompt), factors)
        return cls(prompt, **{**settings, "weights": {**weights, **settings.get("weights", {})}})

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Edit:
        """From JSON text or the object it holds. Raises `BadInput`."""
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
        edit: Edit = _from_fields(cls, data, "edit")
        return edit


def check_edit(value: object) -> Edit:
    """`value` itself. Raises `BadInput` for what is not an `Edit`."""
    if isinstance(value, Edit):
        return value
    raise BadInput(f"Expected an Edit; got {type(value).__name__} ({shown(value)}).")


def check_edits(value: object) -> list[Edit]:
    """The edits in an iterable. Raises `BadInput`."""
    if isinstance(value, (Edit, str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise BadInput(f"Expected a list of Edits; got {type(value).__name__} ({shown(value)}).")
    return [check_edit(edit) for edit in value]


def _names(words: object, field_name: str) -> tuple[Name, ...]:
    """The words of a blend's field, of which one may stand without a list."""
    if isinstance(words, (str, int)) and is_name(words):
        return (words,)
    if not isinstance(words, (list, tuple)) or not all(is_name(word) for word in words):
        raise BadInput(f"{field_name} is a list of words, phrases or word numbers; got {shown(words)}.")
    return tuple(words)


def _name_text(name: Name) -> str:
    return name if isinstance(name, str) else f"#{name}"


def _cross_windows(value: object) -> Window | Mapping[Name, Window]:
    if not isinstance(value, Mapping):
        return Window.of(value, "cross_steps")
    windows = {}
    for name, window in value.items():
        if not is_name(name):
            raise BadInput(f"cross_steps names words by text or number; got {shown(name)}.")
        windows[name] = Window.of(window, f"cross_steps[{shown(name)}]")
    return MappingProxyType(windows)


def _check_pixels(pixels: Any) -> None:
    """`Edit.self_pixels`: unlike other numbers it may be infinite."""
    real = isinstance(pixels, numbers.Real) and not isinstance(pixels, bool)
    if pixels is not None and not (real and (0 <= pixels < MAX_NUMBER or pixels == math.inf)):
        raise BadInput(f"self_pixels is a number of pixels of at least 0, or None; got {shown(pixels)}.")


def _field_names(cls: type[Any]) -> str:
    return ", ".join(f.name for f in fields(cls))


def _from_fields(cls: type[Any], data: Mapping[str, Any], what: str) -> Any:
    names = [f.name for f in fields(cls)]
    unknown = [name for name in data if name not in names]
    if unknown:
        raise BadInput(f"Unknown field {shown(unknown[0])} in the {what}; expected {', '.join(names)}.")
    if cls is Edit and "prompt" not in data:
        raise BadInput('An edit needs at least "prompt"; got none.')
    return cls(**data)
