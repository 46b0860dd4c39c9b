"""Tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def format_table(frame: pd.DataFrame) -> str:
    """The frame as aligned text: words to the left, numbers to the right, scores with four decimals.

    Floats are printed with four decimals, NaN as "-"; the index is not printed.
    """
    columns = []
    for name in frame.columns:
        cells = [_cell(value) for value in frame[name]]
        width = max([len(str(name)), *map(len, cells)])
        is_text = frame[name].dtype == object or frame[name].dtype.kind not in "biuf"
        align = str.ljust if is_text else str.rjust
        columns.append([align(str(name), width), "-" * width, *(align(cell, width) for cell in cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4f}"
    return str(value)
