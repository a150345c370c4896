"""What a tab keeps of its page in the browser's session storage, so that loading it again brings it back.

The recipe of the edit that is shown, the desk's levers, and the history's recipes with their thumbnails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .components.desk import DeskValue
from .controls import Reading
from .messages import edit_title
from .pictures import data_uri
from .sessions import Entry, Session

THUMB_PIXELS = 72
MAX_CHARACTERS = 1_500_000  # browsers give a tab about five million


def levers(desk: DeskValue) -> dict[str, Any]:
    """The desk without its words: what a recipe has only as weights."""
    return {"weights": desk.weights, "muted": desk.muted, "solo": desk.solo}


def identity(recipe: Mapping[str, Any], *, edited: bool) -> dict[str, str]:
    """Key and kind of a picture in the history. The edit of a source that is shown alone says nothing."""
    edits = recipe["edits"] if edited else recipe["edits"][:-1]
    made = json.dumps([recipe["source"], edits], sort_keys=True)
    kind = "source" if not edited else "edit" if len(edits) == 1 else "branch"
    return {"key": hashlib.sha256(made.encode()).hexdigest()[:24], "kind": kind}


def remember(session: Session, reading: Reading, recipe: dict[str, Any]) -> None:
    """The picture that the session shows goes into its history."""
    source, result, edited = session.source, session.result, session.shows_edit
    assert source is not None and result is not None
    session.remember(
        Entry(
            source=source,
            source_path=session.source_path,
            controls=reading.controls,
            title=edit_title(reading, source.steps, edited=edited),
            thumb=data_uri(result.image, THUMB_PIXELS),
            path=session.result_path,
            exact_edit=session.exact_edit,
            recipe=recipe,
            levers=levers(reading.controls.desk),
            **identity(recipe, edited=edited),
        )
    )


def save_page(session: Session, desk: DeskValue, recipe: Mapping[str, Any]) -> str:
    """The page as text. Sources, which may hold a picture, are in it once; the oldest edits go first."""
    sources, size = [recipe["source"]], len(json.dumps(recipe))
    items: list[dict[str, Any]] = []
    for entry in reversed(session.history):
        source = entry.recipe["source"]
        fresh = [] if source in sources else [source]
        item = {
            "title": entry.title,
            "thumb": entry.thumb,
            "key": entry.key,
            "kind": entry.kind,
            "levers": entry.levers,
            "recipe": {**entry.recipe, "source": len(sources) if fresh else sources.index(source)},
        }
        size += len(json.dumps([item, fresh]))
        if size > MAX_CHARACTERS:
            break
        sources += fresh
        items.append(item)
    page = {"levers": levers(desk), "sources": sources[1:], "history": items[::-1]}
    return json.dumps({**recipe, "page": page}, ensure_ascii=False)


def load_page(data: Any) -> tuple[dict[str, Any], list[Entry]]:
    """The levers and the history of a saved page; whatever isn't as `save_page` made it is left out."""
    data = data if isinstance(data, dict) else {}
    page = data.get("page")
    page = page if isinstance(page, dict) else {}
    more = page.get("sources")
    sources = [data.get("source"), *(more if isinstance(more, list) else [])]
    items = page.get("history")
    entries = []
    for item in items if isinstance(items, list) else []:
        recipe = item.get("recipe") if isinstance(item, dict) else None
        number = recipe.get("source") if isinstance(recipe, dict) else None
        if recipe is None or type(number) is not int or not 0 <= number < len(sources):
            continue
        entries.append(
            Entry(
                title=str(item.get("title", "")),
                thumb=str(item.get("thumb", "")),
                key=str(item.get("key", "")),
                kind=str(item.get("kind", "edit")),
                recipe={**recipe, "source": sources[number]},
                levers=levers(DeskValue.read(item.get("levers"))),
            )
        )
    return levers(DeskValue.read(page.get("levers"))), entries
