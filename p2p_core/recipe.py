"""The recipe inside a picture: model, source settings and edits, as JSON in its metadata.

A PNG has it in a text chunk, JPEG and WebP in the user comment of their EXIF data. The source of a real
picture holds the picture too, so that a recipe is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from .edit import Edit
from .errors import BadInput, shown
from .images.decode import check_size

CHUNK = "p2p"
VERSION = 1
_SOURCE_FIELDS = {
    "prompt", "seed", "steps", "guidance_scale", "negative_prompt", "height", "width", "sampler", "latents",
    "clip_skip", "prompt_embeds", "lora_scale",
}  # fmt: skip
_PICTURE_FIELDS = {"method", "picture", "fit", "center"}
_ASCII = b"ASCII\0\0\0"  # before a user comment of EXIF
_MAX_EXIF_BYTES = 65_533  # of a JPEG, which has it in one segment
_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a picture was made: its source, then `edits` one after the other (usually one).

    source: the arguments of `generate`; with "picture" (PNG in base64) those of `invert`.
    `PromptToPrompt.source_of` makes it again. weights: digest of the model's; scheduler: its settings. Where
    they are another's, a source that is made again says so in its notes.
    """

    model: str
    source: dict[str, Any]
    edits: tuple[Edit, ...]
    weights: str = ""
    scheduler: dict[str, Any] = field(default_factory=dict)

    @property
    def edit(self) -> Edit:
        """The last edit."""
        return self.edits[-1]

    def to_dict(self) -> dict[str, Any]:
        edits = [edit.to_dict() for edit in self.edits]
        made_by = {"model": self.model, "weights": self.weights, "scheduler": self.scheduler}
        return {"p2p": VERSION, **made_by, "source": self.source, "edits": edits}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def differences(self, weights: str, scheduler: Mapping[str, Any]) -> tuple[str, ...]:
        """Sentences on what a model with these weights and scheduler's settings would make otherwise."""
        notes = []
        if self.weights and self.weights != weights:
            notes.append("This was made by other weights than the model's here, or in another dtype.")
        for name, value in self.scheduler.items():
            if name in scheduler and scheduler[name] != value:
                notes.append(
                    f"This was made with a scheduler whose {name} is {shown(value)}; "
                    f"here it is {shown(scheduler[name])}."
                )
        return tuple(notes)


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """A diffusers scheduler's name and settings, as plain data for a recipe."""
    settings = json.loads(json.dumps(dict(scheduler.config), default=str))
    plain = {name: value for name, value in settings.items() if not name.startswith("_")}
    return {"name": type(scheduler).__name__, **plain}


def public_name(model: str) -> str:
    """A model's name for recipes: of a folder or a file the last part alone, because where it lies is its
    owner's business."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.exists() else model


def write_picture(path: str | Path, image: Image.Image, recipe: Recipe) -> Path:
    """Write a picture with its recipe as PNG, JPEG or WebP, by its suffix. Returns the path.

    Raises `BadInput` for another suffix, and for a recipe that a JPEG has no room for.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(CHUNK, recipe.to_json())
        image.save(path, format="PNG", pnginfo=info)
        return path
    if suffix not in (".jpg", ".jpeg", ".webp"):
        raise BadInput(f"A picture's name ends in .png, .jpg, .jpeg or .webp; got {shown(path.name)}.")
    exif = Image.Exif()
    comment = _ASCII + json.dumps(recipe.to_dict()).encode("ascii")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    if suffix != ".webp" and len(exif.tobytes()) > _MAX_EXIF_BYTES:
        raise BadInput(
            f"A JPEG has room for a recipe of {_MAX_EXIF_BYTES:,} bytes, and this has {len(comment):,}; "
            f"expected a name that ends in .png or .webp; got {shown(path.name)}."
        )
    image.save(path, format="WEBP" if suffix == ".webp" else "JPEG", quality=_QUALITY, exif=exif)
    return path


def load_recipe(source: str | Path | Mapping[str, Any]) -> Recipe:
    """The recipe in a picture that `save` wrote, in a JSON file, or in the object it holds.

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
    scheduler = data.get("scheduler", {})
    if set(settings) - fields or not isinstance(settings.get("prompt"), str):
        raise BadInput(f"A recipe's source has {', '.join(sorted(fields))}; got {shown(settings)}.")
    if not isinstance(settings.get("picture", ""), str):
        raise BadInput(f"A recipe's picture is a PNG in base64; got {shown(settings['picture'])}.")
    return Recipe(
        model=str(data.get("model", "")),
        source=dict(settings),
        edits=tuple(Edit.from_json(edit) for edit in edits),
        weights=str(data.get("weights", "")),
        scheduler=dict(scheduler) if isinstance(scheduler, Mapping) else {},
    )


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        with Image.open(path) as image:
            text = image.info.get(CHUNK) or _comment(image)
            if text is None and image.format == "PNG":  # Other programs write texts behind the pixels.
                check_size(image.size, path.name)
                image.load()
                text = image.info.get(CHUNK)
    except (OSError, ValueError, RecursionError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path.name} can't be read as a picture or JSON recipe ({error}).") from None
    if text is None:
        raise BadInput(f"{path.name} holds no recipe; expected a picture saved by p2p.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"The recipe in {path.name} is not JSON.") from None


def _comment(image: Image.Image) -> bytes | None:
    """The user comment of a picture's EXIF data, where JPEG and WebP have a recipe."""
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII + b'{"p2p"'):
        return None
    return comment.removeprefix(_ASCII)
