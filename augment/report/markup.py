"""HTML and SVG from functions; text is escaped unless it is markup already."""

from __future__ import annotations

from html import escape
from typing import Any

_EMPTY = {"col", "img", "input", "meta"}  # elements without an end tag


class Markup(str):
    """Text that is HTML already."""


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element: `element("td", 5, class_="number")` is `<td class="number">5</td>`.

    A child that is not `Markup` is escaped, and so is every attribute. In an attribute's name, "_" at the end
    is dropped and any other becomes "-". None and False leave an attribute out, True leaves out its value.
    """
    parts = [name]
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(label)
        elif value is not None and value is not False:
            parts.append(f'{label}="{escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start) if name in _EMPTY else Markup(f"{start}{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    """Children one after the other, escaped where they are not markup; None is nothing."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child))
            for child in children
            if child is not None
        )
    )
