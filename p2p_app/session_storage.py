"""What a tab keeps of its page in its own session storage, so that loading it again brings it back.

The recipe of the edit that is shown, the desk's levers, and the history's recipes with their thumbnails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .components.desk import Desk
from .sessions import Entry, Session

LARGEST = 1_500_000  # characters; browsers give a tab about five million
LEVERS = ("weights", "muted", "solo")


def levers(desk: Mapping[str, Any]) -> dict[str, Any]:
    """The desk without its words: what a recipe has only as weights."""
    return {name: desk[name] for name in LEVERS}


def kept(session: Session, recipe: Mapping[str, Any]) -> str:
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
            "levers": entry.levers,
            "recipe": {**entry.recipe, "source": len(sources) if fresh else sources.index(source)},
        }
        size += len(json.dumps([item, fresh]))
        if size > LARGEST:
            break
        sources += fresh
        items.append(item)
    page = {"levers": levers(session.controls.desk), "sources": sources[1:], "history": items[::-1]}
    return json.dumps({**recipe, "page": page}, ensure_ascii=False)


def remembered(data: Any) -> tuple[dict[str, Any], list[Entry]]:
    """The levers and the history of a kept page; whatever isn't as `kept` made it is left out."""
    data = data if isinstance(data, dict) else {}
    page = data.get("page")
    page = page if isinstance(page, dict) else {}
    more = page.get("sources")
    sources = [data.get("source"), *(more if isinstance(more, list) else [])]
    items = page.get("history")
    found = []
    for item in items if isinstance(items, list) else []:
        recipe = item.get("recipe") if isinstance(item, dict) else None
        number = recipe.get("source") if isinstance(recipe, dict) else None
        if type(number) is not int or not 0 <= number < len(sources):
            continue
        title, thumb, key = (str(item.get(name, "")) for name in ("title", "thumb", "key"))
        of = levers(Desk.clean(item.get("levers")))
        whole = {**recipe, "source": sources[number]}
        found.append(Entry(title=title, thumb=thumb, key=key, recipe=whole, levers=of))
    return levers(Desk.clean(page.get("levers"))), found
