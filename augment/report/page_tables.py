"""The tables of the report page: scores, counts and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from augment.report.markup import Markup, element, join
from augment.report.svg import swatch
from augment.report.tables import ALL, COUNTS, SCORES, points

if TYPE_CHECKING:
    import pandas as pd

_NAMES = {"category": "category", "defect": "defect", "detector": "detector"}
_LONG = 12  # a list or mapping of more entries is folded


def score_table(part: pd.DataFrame, caption: str, series: Mapping[str, int]) -> Markup:
    """Rows of a summary as a sortable table: each score in points, below it the difference to real-only.

    A category, defect or detector that is the same in all rows is named in the caption only. A missing score
    is "-" and sorts last.

    Args:
        part: rows of `augment.report.tables.summary`.
        caption: above the table.
        series: column -> number of its colour.
    """
    names, fixed = _split_names(part)
    scores = [name for name in SCORES if name in part]
    heads = [_head(label) for label in names.values()]
    heads += [
        _head("trained on", "name"),
        *(_head(SCORES[score].replace("-", "\N{NON-BREAKING HYPHEN}"), "number") for score in scores),
    ]
    heads.append(_head("runs", "number"))
    lines, group = [], None
    for row in part.to_dict("records"):
        cells = [element("td", row[name]) for name in names]
        mark = swatch(series[row["column"]])
        cells.append(element("th", mark, row["column"], scope="row", class_="name"))
        cells += [_score_cell(row, score) for score in scores]
        cells.append(element("td", row["runs"], class_="number", data_value=row["runs"]))
        key = tuple(row[name] for name in names)
        lines.append(element("tr", *cells, class_="first" if group not in (None, key) else None))
        group = key
    note = element("caption", caption, *(f" · {text}" for text in fixed))
    return _scrolled(
        caption,
        note,
        element("thead", element("tr", *heads)),
        element("tbody", *lines),
        class_="scores sortable",
    )


def _split_names(part: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """The names that differ from row to row, with their headings; and those that do not, as text."""
    names, fixed = {}, []
    for name, label in _NAMES.items():
        values = list(dict.fromkeys(part[name]))
        if len(values) > 1:
            names[name] = label
        elif values != [ALL]:
            fixed.append(f"{label} {values[0]}")
    return names, fixed


def _head(label: str, class_: str | None = None) -> Markup:
    return element("th", label, scope="col", class_=class_)


def _score_cell(row: Mapping[str, Any], score: str) -> Markup:
    value, deviation = points(row[score]), row[f"{score}_std"]
    if value == "-":
        return element("td", "-", class_="number")
    shown = [value]
    if deviation == deviation:
        shown.append(element("span", f" ± {100 * deviation:.1f}", class_="deviation"))
    change = points(row[f"{score}_diff"], row[f"{score}_diff_std"], sign=True)
    if change != "-":
        shown.append(element("span", change.replace("-", "−"), class_="difference"))
    return element("td", *shown, class_="number", data_value=f"{row[score]:.6f}")


def count_table(frame: pd.DataFrame) -> Markup | None:
    """How many images each training of a summary had, means over its runs; None where nothing was counted."""
    counts = [name for name in COUNTS if name in frame]
    if not counts:
        return None
    names = [*_NAMES, "column"]
    frame = frame.drop_duplicates(names)  # the oracle is another epoch of the same training
    heads = [_head(label) for label in [*_NAMES.values(), "trained on"]]
    heads += [_head(COUNTS[name], "number") for name in counts]
    lines = []
    for row in frame.to_dict("records"):
        cells = [element("td", row[name]) for name in _NAMES] + [element("th", row["column"], scope="row")]
        cells += [element("td", _count(row[name]), class_="number", data_value=row[name]) for name in counts]
        lines.append(element("tr", *cells))
    caption = "Means over the runs of a training"
    return _scrolled(
        caption,
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *lines),
        class_="sortable",
    )


def _count(value: float) -> str:
    return "-" if value != value else f"{value:.1f}".removesuffix(".0")


def _scrolled(label: str, *children: Markup, class_: str) -> Markup:
    """A table in a box that scrolls sideways on narrow screens, also by keyboard."""
    table = element("table", *children, class_=class_)
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def settings_list(settings: Mapping[str, Any]) -> Markup:
    """Settings as a list of names and values; mappings and lists inside are nested, long ones folded."""
    entries = []
    for name, value in settings.items():
        entries += [element("dt", name), element("dd", _value(value))]
    return element("dl", *entries)


def _value(value: Any) -> Markup | str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _folded(len(value), settings_list(value)) if value else "-"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list(value) if value else "-"
    return element("pre", value) if "\n" in str(value) else str(value)


def _list(values: Sequence[Any]) -> Markup | str:
    if any(isinstance(value, (Mapping, list, tuple)) for value in values):
        return _folded(len(values), element("ul", *(element("li", _value(value)) for value in values)))
    return _folded(len(values), join(", ".join(map(str, values))))


def _folded(length: int, content: Markup) -> Markup:
    if length <= _LONG:
        return content
    return element("details", element("summary", f"{length} entries"), content)
