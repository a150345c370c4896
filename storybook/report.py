"""What an evaluation found, as a page in Markdown and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from .captions import caption
from .scenes import Scene

HEAD = """# How well the bundled model draws and edits

Made by `python -m storybook.evaluate --count {count}`; the same command gives this table again.
{steps} steps, guidance {guidance}, on {device}. All prompts are combinations of subject, colour and place
that were never trained on. The judge, a small network trained on renders only, reads the pictures.
"""
EDITS = """
## Edits

- **shown**: how often the picture shows what the edit asked for.
- **rest kept**: how often every other attribute (of subject, colour, place, time, style) is read as in the
  source picture. **both**: shown and kept at once.
- **layout**: overlap (intersection over union) of the subject's region before and after.
- **PSNR outside**: dB to the source outside the subject, for edits that should stay local. The region left
  out is the union of where the judge sees the subject in the source and in every arm's picture, widened by
  4 pixels: the same for all arms of an edit.

"Same seed only" is the comparison of the paper's figure 6: the target prompt from the same noise, nothing
injected.

| edit | method | edits | shown | rest kept | both | layout | PSNR outside |
|---|---|--:|--:|--:|--:|--:|--:|
"""
FADERS = """
## Faders

The degree that the judge reads (0 to 1) against the fader c of the word, mean over {n} pictures, with
cross-attention injected for the whole run. c = 1 is the picture as it was.

"""


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def table(result: dict[str, Any]) -> str:
    """The Markdown page."""
    settings, generation = result["settings"], result["generation"]
    page = HEAD.format(
        count=settings["count"],
        steps=settings["steps"],
        guidance=settings["guidance_scale"],
        device=settings["device"].upper(),
    )
    names = [name for name in generation if name != "prompts"]
    page += f"\n## Pictures from prompts ({generation['prompts']} held-out prompts)\n\n"
    page += f"| {' | '.join(names)} |\n|{'--:|' * len(names)}\n"
    page += f"| {' | '.join(percent(generation[name]) for name in names)} |\n"
    page += EDITS
    for row in result["edits"]:
        psnr = f"{row['psnr']:.1f}" if "psnr" in row else ""
        shares = " | ".join(percent(row[name]) for name in ("shown", "kept", "both"))
        page += (
            f"| {row['edit']} | {row['arm']} | {row['edits']} | {shares} | {row['layout']:.2f} | {psnr} |\n"
        )
    windows = ", ".join(f"{k} {w['cross']:g} / {w['self']:g}" for k, w in settings["windows"].items())
    page += f"\nWindows (cross / self, as fractions of the run): {windows}.\n"
    page += FADERS.format(n=result["faders"][0]["pictures"])
    columns = [name for name in result["faders"][0] if name not in ("word", "pictures")]
    page += f"| word | {' | '.join(f'c = {c}' for c in columns)} |\n|---|{'--:|' * len(columns)}\n"
    for row in result["faders"]:
        page += f"| {row['word']} | {' | '.join(f'{row[c]:.2f}' for c in columns)} |\n"
    return page + "\n![source, same seed only, injection, injection and blend](evaluation.png)\n"


def figure(
    edits: Sequence[tuple[Scene, Scene, Image.Image, Mapping[str, Image.Image]]],
    arms: Sequence[str],
    rows: int = 12,
) -> Image.Image:
    """Source and arms side by side, one edit a row, in the order they were made: nothing is picked.

    edits: (source scene, target scene, source picture, picture per arm).
    """
    line, side = 16, 128
    edits = edits[:rows]
    sheet = Image.new("RGB", ((1 + len(arms)) * side, line + len(edits) * (side + line)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(("source", *arms)):
        pen.text((column * side + 4, 3), title, "black")
    for number, (scene, target, source, edited) in enumerate(edits):
        top = line + number * (side + line)
        sheet.paste(source, (0, top))
        for column, arm in enumerate(arms, 1):
            if arm in edited:
                sheet.paste(edited[arm], (column * side, top))
        pen.text((4, top + side + 1), f"{caption(scene)}  ->  {caption(target)}", "black")
    return sheet
