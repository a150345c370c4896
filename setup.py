"""The packages of the wheel. All else is in pyproject.toml, which can not say both "find" and "add this"."""

from setuptools import find_packages, setup

# The bundled files lie in the repository's assets; installed, in the package that finds them.
FOLDERS = ("storybook", "storybook_base", "pictures")
BUNDLED = {f"p2p_core.assets.{name}": f"assets/{name}" for name in FOLDERS}

setup(packages=[*find_packages(include=["p2p_core*", "p2p_app*"]), *BUNDLED], package_dir=BUNDLED)
