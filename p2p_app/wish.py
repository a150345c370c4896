"""What the page asks for: every handler gets one `Wish`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from .components.desk import DeskValue
from .components.examples import ExamplesValue
from .components.explore import ExploreValue
from .components.guide import GuideValue
from .components.history import HistoryValue
from .components.look import LookValue
from .components.region import RegionValue
from .components.timeline import TimelineValue
from .controls import Controls
from .sessions import Session


class Values(TypedDict, total=False):
    """Values of the page's components, by their names. Each handler gets those that `wiring` names.

    Numbers and texts of Gradio's own components can be None.
    """

    prompt: str
    desk: DeskValue
    timeline: TimelineValue
    region: RegionValue
    source_prompt: str
    seed: Any  # numbers as they came: the engine refuses what isn't whole, in a sentence
    steps: Any
    guidance: Any
    negative: str | None
    examples: ExamplesValue
    history: HistoryValue
    guide: GuideValue
    look: LookValue
    explore: ExploreValue
    maps_view: str
    maps_layers: str
    painter: str | None
    yours_picture: str | None
    yours_prompt: str | None
    yours_method: str
    yours_fit: str
    yours_x: float
    yours_y: float
    yours_examples: ExamplesValue
    recipe_json: str | None
    bring: str | None
    storage: str | None


@dataclass(frozen=True)
class Wish:
    """Who asks, when by the page's clock, and the values of the components that matter."""

    session: Session
    clock: float
    values: Values

    @property
    def controls(self) -> Controls:
        """The page's controls, with what no control shows."""
        seen = self.session.controls
        return Controls(
            self.values["prompt"] or "",
            self.values["desk"],
            self.values["timeline"],
            self.values["region"],
            seen.extra if seen else {},
        )
