"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def format_table(frame: pd.DataFrame) -> str:
    """A frame as `format_rows`; the index is not printed."""
    return format_rows(frame.to_dict("records"))


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as aligned text: words to the left, numbers to the right, "-" for None and NaN.

    Floats are printed with four decimals. No rows give an empty string.
    """
    columns = []
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        cells = [_cell(value) for value in values]
        width = max([len(name), *map(len, cells)])
        is_number = all(value is None or hasattr(value, "__float__") for value in values)
        align = str.rjust if is_number else str.ljust
        columns.append([align(name, width), "-" * width, *(align(cell, width) for cell in cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
