"""Two pictures, one over the other, with a line between them to drag."""

from __future__ import annotations

from typing import Any, NamedTuple

from gradio.data_classes import FileData
from gradio.processing_utils import save_pil_to_cache
from PIL import Image

from .board import Board

Picture = str | Image.Image  # a file, or a preview, which leaves as JPEG


class Pair(NamedTuple):
    """What `Compare` shows. names: of the two sides. texts: what each shows, for screen readers."""

    before: Picture
    after: Picture
    names: tuple[str, str]
    texts: tuple[str, str]

    @property
    def is_preview(self) -> bool:
        """Files are final."""
        return not isinstance(self.after, str)


class Compare(Board):
    """Value: a `Pair` or None; in the page {"before", "after", "names", "texts"}, the pictures by their URLs.

    sides: what the line is between, for screen readers.
    """

    script = "compare"
    about = "Two pictures."

    def __init__(self, value: Pair | None = None, *, sides: str, **options: Any) -> None:
        super().__init__(value, attributes=f'data-sides="{sides}"', **options)

    def postprocess(self, value: Any) -> Any:
        if not isinstance(value, Pair):
            return {}
        before = self._file(value.before)
        after = before if value.after is value.before else self._file(value.after)
        return {"before": before, "after": after, "names": value.names, "texts": value.texts}

    def _file(self, picture: Picture) -> dict[str, Any]:
        """A file as Gradio serves it."""
        if isinstance(picture, str):
            return FileData(path=picture).model_dump()
        path = save_pil_to_cache(picture, cache_dir=self.GRADIO_CACHE, format="jpeg")
        return FileData(path=path).model_dump()
