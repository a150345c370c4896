"""Sources in files: `source.save(path)` and `p2p.load_source(path)`, and those that were unpickled.

A file is safetensors: every tensor, once, and the rest as JSON in its metadata. Prompts and plans are in it
by their texts and edits, and are made again by the model that it is loaded for.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .attention import AttentionRecord
from .cache.keys import key_of
from .edit import Edit, check_edit
from .editing import Editor
from .errors import BadInput, P2PError, shown
from .lifetime import Detached
from .plan import Plan, make_plan
from .prompt import Prompt
from .recipe import Recipe
from .source import Source
from .steps import Steps, StepState

META = "p2p_source"
VERSION = 2
Tensors = dict[str, Tensor]
Records = dict[int, AttentionRecord]  # by step
BROKEN = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ImportError)


class Savers(Editor):
    """An engine whose sources can be kept in files."""

    @property
    def fingerprint(self) -> str:
        """Tells the model's weights from others, in any process."""
        return self.model.fingerprint

    def plan(
        self, source_prompt: str | Prompt, edit: Edit, *, steps: int = 50, origin: Plan | None = None
    ) -> Plan:
        """What `edit` would do to a source of `source_prompt`, without running the model.

        origin: the plan that made the source, where it is an edit.
        """
        check_edit(edit)
        self.model.texts.check_unconditional(edit.negative_prompt)
        source = source_prompt if isinstance(source_prompt, Prompt) else self.prompt(source_prompt)
        embeds = edit.prompt_embeds
        if embeds is None and edit.prompt == source.text:
            embeds = source.embeds
        skipped = source.clip_skip if edit.clip_skip is None else edit.clip_skip
        target = self.prompt(edit.prompt, clip_skip=skipped, prompt_embeds=embeds)
        return make_plan(source, target, edit, steps, origin)

    def save_source(self, source: Source, path: str | Path, *, records: bool = False) -> Path:
        """See `Source.save`."""
        path = Path(path).expanduser()
        if path.suffix != ".safetensors":
            raise BadInput(f"A source is kept in a .safetensors file; got {shown(path.name)}.")
        held: Records = {}
        with self.lock:
            for i in range(source.steps if records else 0):
                if (record := self.cache.get(source.key, i)) is not None:
                    held[i] = record
        writer = _Writer()
        model = {"model_name": self.model_name, "fingerprint": self.fingerprint}
        data = {
            "version": VERSION,
            "model": model,
            "source": writer.plain(source),
            "records": writer.plain(held),
        }
        aside = path.with_name(f"{path.name}.tmp")
        try:
            aside.write_bytes(save(writer.tensors, {META: json.dumps(data)}))
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise BadInput(f"{path} can't be written ({error.strerror or error}).") from None
        return path

    def with_differences(self, steps: Steps[Source], recipe: Recipe) -> Generator[StepState, None, Source]:
        """The run of a recipe's source, whose notes say where this model isn't the recipe's."""
        yield from steps
        source = steps.result
        notes = recipe.differences(self.fingerprint, source.scheduler)
        return dataclasses.replace(source, notes=(*source.notes, *notes))

    def load_source(self, saved: str | Path | Source) -> Source:
        """A source that `Source.save` wrote, or one that was unpickled, as a source of this model.

        Its edits are those that it had. Raises `BadInput` for a file that holds none, and for a source of
        other weights, or of the same in another dtype, which would give another picture.
        """
        if isinstance(saved, Source):
            source, records = saved, Records()
        elif isinstance(saved, (str, Path)):
            source, records = self._read(Path(saved).expanduser())
        else:
            raise BadInput(f"Expected the path of a saved source, or a Source; got {shown(saved)}.")
        if source.engine.fingerprint != self.fingerprint:
            raise BadInput(
                f"This source was made by {shown(source.engine.model_name)} with other weights, or in another"
                f" dtype, than those of {shown(self.model_name)} in {self.dtype} here."
            )
        bound = self._bound(source)
        for i, record in records.items():
            cross = {
                layer: tuple(
                    dataclasses.replace(term, text=term.text.replace(source.key, "")) for term in terms
                )
                for layer, terms in record.cross.items()
            }
            record = dataclasses.replace(record, cross=cross).map(lambda x: x.to(self.device))
            with self.lock:
                self.cache.keep(bound.key, i, record)
        return bound

    def _bound(self, source: Source) -> Source:
        """The same source, of this engine."""
        check_tokens(self.prompt(source.prompt.text), source.prompt.ids)
        origin = source.origin
        bound: Source = dataclasses.replace(
            _on_device(source, self.device),
            engine=self,
            key=key_of(id(self.model), source.key, source.latents),
            origin=origin and (self._bound(origin[0]), origin[1]),
        )
        return bound

    def _read(self, path: Path) -> tuple[Source, Records]:
        try:
            with safe_open(path, framework="pt") as file:
                data = json.loads((file.metadata() or {})[META])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if data["version"] != VERSION:
                raise BadInput(f"{path.name} is of version {shown(data['version'])}; expected {VERSION}.")
            reader = _Reader(tensors, self, Detached(**data["model"]))
            source, records = reader.made(data["source"]), reader.made(data["records"])
            if not isinstance(source, Source):
                raise TypeError(source)
        except P2PError:
            raise
        except OSError as error:
            raise BadInput(f"{path} can't be read ({error.strerror or error}).") from None
        except BROKEN as error:
            raise BadInput(f"{path.name} holds no source that p2p saved ({type(error).__name__}).") from None
        return source, records


def check_tokens(prompt: Prompt, ids: Sequence[int]) -> None:
    """Raises `BadInput` if a prompt was saved with other tokens."""
    if prompt.ids != tuple(ids):
        raise BadInput(f"This model reads {shown(prompt.text)} as other tokens than the source's model did.")


def _on_device(value: Any, device: torch.device) -> Any:
    """A dataclass whose tensors, and those of the dataclasses in it, lie on a device."""
    changed = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if isinstance(part, Tensor):
            changed[field.name] = part.to(device)
        elif field.name == "solver" and part is not None:
            changed[field.name] = _on_device(part, device)
    return dataclasses.replace(value, **changed)


class _Writer:
    """Values as JSON has them, and the tensors among them by number."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}
        self._numbers: dict[
            int, tuple[str, Tensor]
        ] = {}  # of a tensor that comes twice; alive, so that ids hold

    def plain(self, value: Any) -> Any:
        """A value of which `_Reader.made` makes the same again."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Tensor):
            return {"tensor": self._number(value)}
        if isinstance(value, np.ndarray):
            return {"array": self._number(torch.from_numpy(value))}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, Image.Image):
            value.save(png := io.BytesIO(), format="PNG")
            return {"image": base64.b64encode(png.getvalue()).decode()}
        if isinstance(value, Prompt):
            return {"prompt": [value.text, value.clip_skip, value.embeds, *value.ids]}
        if isinstance(value, Edit):
            return {"edit": value.to_dict()}
        if isinstance(value, Plan):
            parts = (value.source, value.edit, len(value.steps), value.origin)
            return {"plan": [self.plain(part) for part in parts]}
        if isinstance(value, dict):
            return {"dict": [[self.plain(k), self.plain(v)] for k, v in value.items()]}
        if isinstance(value, (tuple, list)):
            return {type(value).__name__: [self.plain(part) for part in value]}
        kind, fields = (
            type(value),
            (field.name for field in dataclasses.fields(value) if field.name != "engine"),
        )
        return {"class": [kind.__module__, kind.__name__, {f: self.plain(getattr(value, f)) for f in fields}]}

    def _number(self, tensor: Tensor) -> str:
        name, _ = self._numbers.setdefault(id(tensor), (str(len(self._numbers)), tensor))
        if name not in self.tensors:
            self.tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name


class _Reader:
    """What `_Writer` wrote, made again for an engine. Raises what broken data happen to raise."""

    def __init__(self, tensors: Tensors, engine: Savers, model: Detached) -> None:
        self._engine, self._model = engine, model
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "tensor": tensors.__getitem__,
            "array": lambda name: tensors[name].numpy(),
            "bytes": bytes.fromhex,
            "image": lambda text: Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"),
            "prompt": self._read_prompt,
            "edit": Edit.from_json,
            "plan": self._read_plan,
            "dict": lambda pairs: {self.made(k): self.made(v) for k, v in pairs},
            "tuple": lambda parts: tuple(map(self.made, parts)),
            "list": lambda parts: [*map(self.made, parts)],
            "class": self._object,
        }

    def made(self, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        ((kind, inside),) = plain.items()
        return self._kinds[kind](inside)

    def _read_prompt(self, parts: list[Any]) -> Prompt:
        text, clip_skip, embeds, *ids = parts
        prompt = self._engine.prompt(text, clip_skip=clip_skip, prompt_embeds=embeds)
        check_tokens(prompt, ids)
        return prompt

    def _read_plan(self, parts: list[Any]) -> Plan:
        prompt, edit, steps, origin = map(self.made, parts)
        return self._engine.plan(prompt, edit, steps=steps, origin=origin)

    def _object(self, parts: list[Any]) -> Any:
        module, name, fields = parts
        kind = getattr(import_module(module), name) if module.startswith("p2p_core.") else None
        if not dataclasses.is_dataclass(kind):
            raise TypeError(name)
        made = {field: self.made(value) for field, value in fields.items()}
        return kind(**made, **({"engine": self._model} if kind is Source else {}))  # type: ignore[operator]
