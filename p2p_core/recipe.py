"""The recipe inside a picture: model, source settings and edits, as JSON in a PNG text chunk.

The source of a real picture holds the picture too, so that a recipe is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from .edit import Edit
from .errors import BadInput, shown
from .images.decode import check_size

CHUNK = "p2p"
VERSION = 1
_SOURCE_FIELDS = {
    "prompt", "seed", "steps", "guidance_scale", "negative_prompt", "height", "width", "sampler",
}  # fmt: skip
_PICTURE_FIELDS = {"method", "picture", "fit", "center"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a picture was made: its source, then `edits` one after the other (usually one).

    source: the arguments of `generate`; with "picture" (PNG in base64) those of `invert`.
    `PromptToPrompt.source_of` makes it again.
    """

    model: str
    source: dict[str, Any]
    edits: tuple[Edit, ...]

    @property
    def edit(self) -> Edit:
        """The last edit."""
        return self.edits[-1]

    def to_dict(self) -> dict[str, Any]:
        edits = [edit.to_dict() for edit in self.edits]
        return {"p2p": VERSION, "model": self.model, "source": self.source, "edits": edits}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)


def public_name(model: str) -> str:
    """A model's name for recipes: of a folder or a file the last part alone, because where it lies is its
    owner's business."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.exists() else model


def write_png(path: str | Path, image: Image.Image, recipe: Recipe) -> Path:
    """Write a picture with its recipe as PNG. Returns the path. Raises `BadInput` for another suffix."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise BadInput(f"A recipe is kept in a PNG, so the name ends in .png; got {shown(path.name)}.")
    info = PngImagePlugin.PngInfo()
    info.add_itxt(CHUNK, recipe.to_json())
    image.save(path, format="PNG", pnginfo=info)
    return path


def load_recipe(source: str | Path | Mapping[str, Any]) -> Recipe:
    """The recipe in a PNG that `save` wrote, in a JSON file, or in the object it holds.

    Raises `BadInput` for files that hold none; the edit's own error if it is not valid.
    """
    data: Any = source
    if isinstance(source, (str, Path)):
        data = _read(Path(source))
    edits = data.get("edits") if isinstance(data, Mapping) else None
    settings = data.get("source") if isinstance(data, Mapping) else None
    if not isinstance(edits, list) or not edits or not isinstance(settings, Mapping):
        raise BadInput(f'A recipe has "model", "source" and "edits"; got {shown(data)}.')
    version = data.get(CHUNK, VERSION)
    if version != VERSION:
        raise BadInput(f"This recipe is of version {shown(version)}; expected {VERSION}, the one known here.")
    fields = _SOURCE_FIELDS | (_PICTURE_FIELDS if "picture" in settings else set())
    if set(settings) - fields or not isinstance(settings.get("prompt"), str):
        raise BadInput(f"A recipe's source has {', '.join(sorted(fields))}; got {shown(settings)}.")
    if not isinstance(settings.get("picture", ""), str):
        raise BadInput(f"A recipe's picture is a PNG in base64; got {shown(settings['picture'])}.")
    return Recipe(
        model=str(data.get("model", "")),
        source=dict(settings),
        edits=tuple(Edit.from_json(edit) for edit in edits),
    )


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        with Image.open(path) as image:
            text = image.info.get(CHUNK)
            if text is None:  # Other programs write texts behind the pixels.
                check_size(image.size, path.name)
                image.load()
                text = image.info.get(CHUNK)
    except (OSError, ValueError, RecursionError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path.name} can't be read as a PNG or JSON recipe ({error}).") from None
    if text is None:
        raise BadInput(f"{path.name} holds no recipe; expected a PNG saved by p2p.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"The recipe in {path.name} is not JSON.") from None
