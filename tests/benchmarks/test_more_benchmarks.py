"""The benchmarks of regions, faders and the first touch: what they choose, average and say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import faders, jump, regions
from p2p_core import Edit


def test_the_threshold_of_a_map_is_the_best_of_other_scenes() -> None:
    tried = [
        {"of": "subject", "way": way, "threshold": t, "iou": 1 - abs(t - best)}
        for way, best in (("the word's map", 0.35), ("the word's map, sharpened", 0.5))
        for t in regions.THRESHOLDS
    ]
    assert regions.chosen_map(tried, "subject", "the word's map") == 0.35
    assert regions.chosen_map(tried, "subject", "the word's map, sharpened") == 0.5


def test_the_threshold_of_a_blend_is_the_highest_that_shows_most() -> None:
    shown = {0.3: 1.0, 0.4: 1.0, 0.5: 1.0, 0.6: 0.9}
    tried = [{"refine": True, "threshold": t, "shown": share} for t, share in shown.items()]
    assert regions.chosen_blend(tried, True) == 0.5


def test_a_blend_is_the_tasks_own_with_other_maps() -> None:
    from benchmarks.tasks import Setting, tasks

    task = next(t for t in tasks(1) if t.kind == "subject")
    plain, sharp = (regions.blended(task, Setting(cross=0.2), refine, 0.5) for refine in (False, True))
    assert plain.blend is not None and sharp.blend is not None
    assert (plain.blend.refine, sharp.blend.refine, sharp.blend.threshold) == (False, True, 0.5)
    assert Edit.from_json({**sharp.to_dict(), "blend": {**sharp.blend.to_dict(), "refine": False}}) == plain


@pytest.mark.parametrize("part", faders.KEYS)
def test_means_are_by_word_and_of_all(part: str) -> None:
    keys = faders.KEYS[part]
    rows = [
        {keys[0]: word, "mode": "gain", "spearman": value, "psnr up": np.nan if value else 20.0}
        for word, value in (("foggy", 1.0), ("snowy", 0.0))
    ]
    found = faders.means(rows, keys)
    assert [row[keys[0]] for row in found] == ["foggy", "snowy", "all"]
    assert found[-1]["spearman"] == 0.5 and found[-1]["psnr up"] == 20.0 and "psnr up" not in found[0]
    text = faders.page({"settings": dict.fromkeys(("steps", "guidance", "scenes", "sources"), 4), part: found}
                       | {other: found[:0] for other in faders.KEYS if other != part})  # fmt: skip
    assert "| all |" in text and "20.0" in text


def test_the_page_of_the_first_touch_has_every_method() -> None:
    rows = [
        {"method": method, "windows": name, "c": c, "psnr": 25.0}
        for method in jump.METHODS
        for name in jump.WINDOWS
        for c in jump.WEIGHTS
    ]
    settings = {"pictures": 4, "steps": 12, "guidance": 4.0, "model": "storybook-base"}
    text = jump.page({"settings": settings, "rows": rows})
    assert all(f"| {method} | whole | 25.0 |" in text for method in jump.METHODS)
