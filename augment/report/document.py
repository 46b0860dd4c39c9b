"""The frame of a page: one HTML file that needs no server, no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from augment.report.markup import Markup, element, join

_FOLDER = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, body: Sequence[Markup | None], styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: of the window.
        body: what is on it.
        styles, scripts: files of this folder, in order.
    """
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", *map(_resource, styles)),
    ]
    script = element("script", *map(_resource, scripts))
    html = element("html", element("head", *head), element("body", element("main", *body), script), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


def section(title: str, *parts: Markup | None) -> Markup:
    """A part of a page under a heading."""
    return join(element("section", element("h2", title), *parts))


def _resource(name: str) -> Markup:
    return Markup((_FOLDER / name).read_text("utf-8"))
