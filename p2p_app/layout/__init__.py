"""The page: where everything stands. No behaviour; `wiring` connects it."""

from .page import Page, build_page

__all__ = ["Page", "build_page"]
