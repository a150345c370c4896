"""Pictures for the app's tab "Your picture": drawings of scenes the model was never trained on.

`python -m storybook.pictures` draws them into assets/pictures.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from .draw import SIDE, render
from .scenes import Scene

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "pictures"
PICTURES = {  # name: (scene, layout)
    "house": (Scene(subject="house", color="red", place="field"), 12),
    "boat": (Scene(subject="boat", color="blue", place="beach"), 4),
    "rabbit": (Scene(subject="rabbit", color="white", place="field"), 7),
    "balloon": (Scene(subject="balloon", color="green", place="desert"), 9),
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (scene, layout) in PICTURES.items():
        if not scene.held_out:
            raise ValueError(f"{name} is a combination that the model was trained on; expected one held out.")
        Image.fromarray(render(scene, layout, SIDE)).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
