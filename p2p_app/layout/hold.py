"""The cards of boards: the side with the maps and the history, the desk, and what holds the source."""

from __future__ import annotations

from dataclasses import dataclass

from ..components.desk import Desk, DeskValue
from ..components.history import History
from ..components.look import Look
from ..components.region import Region, RegionValue
from ..components.timeline import Timeline, TimelineValue
from .parts import Parts, card, title


@dataclass(frozen=True, kw_only=True)
class HoldCards:
    look: Look
    history: History
    desk: Desk
    timeline: Timeline
    region: Region


def side_card() -> Parts:
    with card("side"):
        look = Look(elem_id="look")
        title("History", "history-title")
        history = History(elem_id="history")
    return {"look": look, "history": history}


def desk_card(desk: DeskValue) -> Parts:
    with card("desk-card"):
        return {"desk": Desk(desk, elem_id="desk")}


def hold_card(steps: int, region: RegionValue, rows: int) -> Parts:
    with card("hold"):
        one_row = "" if rows > 1 else "data-one-row"  # a negative prompt would say nothing to it
        timeline = Timeline(TimelineValue(steps=steps), attributes=one_row, elem_id="timeline")
        return {"timeline": timeline, "region": Region(region, elem_id="region")}
