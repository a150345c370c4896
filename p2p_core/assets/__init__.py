"""Where the files that come with the packages lie: the bundled model and the app's pictures."""

from pathlib import Path

HERE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `name` of bundled files: in this package when installed, in a checkout in `assets`."""
    installed = HERE / name
    return installed if installed.is_dir() else HERE.parents[1] / "assets" / name
