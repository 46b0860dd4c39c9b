"""The report of a benchmark: one HTML file that needs no server, no network and no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.report.curves import Curve
from augment.report.document import document, section
from augment.report.markup import Markup, element
from augment.report.page_cases import case_grids
from augment.report.page_tables import count_table, score_table, settings_list
from augment.report.svg import curve_charts, swatch
from augment.report.tables import ALL, LAST, ORACLE_TITLE, REAL_ONLY, summary
from augment.workspace.files import atomic_write_text

if TYPE_CHECKING:
    import pandas as pd


def benchmark_page(
    path: Path,
    title: str,
    rows: pd.DataFrame,
    verdicts: Sequence[str],
    curves: Mapping[str, Mapping[str, Curve]],
    cases: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    *,
    aupro_limit: float = 0.3,
    curves_note: str = "",
) -> Path:
    """Write the report page of a benchmark, below 5 MB, and return its path.

    A part without content (no curves, no cases, ...) is left out.

    Args:
        path: HTML file to write.
        title: heading of the page.
        rows: as for `augment.report.tables.summary`.
        verdicts: a line each. One that says "helps" is marked green, "hurts" red, any other grey.
        curves: column ("real-only", ...) -> name in `augment.report.curves.AXES` -> curve.
        cases: `image` uint8 (H, W[, 3]), `mask` bool (H, W), `maps`: column -> float (h, w), `caption`, and
            `kind` "best" or "worst"; the first 12 of each kind are shown.
        settings: what the benchmark was run with; values may be nested.
        aupro_limit: false-positive rate up to which the PRO curve is integrated.
        curves_note: a sentence on what the curves were drawn from.

    Raises:
        ValueError: two rows of one training and defect.
        WorkspaceError: the file cannot be written.
    """
    frame = summary(rows)
    columns = dict.fromkeys(
        [*frame["column"].sort_values(key=lambda c: c != REAL_ONLY, kind="stable"), *curves]
    )
    series = {column: number for number, column in enumerate(columns)}
    body = [
        element("h1", title),
        _verdicts(verdicts),
        _scores(frame, series, aupro_limit),
        _curves(curves, series, aupro_limit, curves_note),
        _cases(cases),
        _settings(frame, settings),
    ]
    atomic_write_text(path, document(title, body, ["page.css"], ["page.js"]))
    return path


def _verdicts(verdicts: Sequence[str]) -> Markup | None:
    if not verdicts:
        return None
    lines = [element("li", text, class_=_kind(text)) for text in verdicts]
    return element("ul", *lines, class_="verdicts", aria_label="Verdict")


def _kind(verdict: str) -> str:
    """The class of a verdict line: "helps", "hurts", or "none" for anything else, and for both at once."""
    words = set(re.findall(r"\b(helps|hurts|no evidence)\b", verdict))
    return words.pop() if words in ({"helps"}, {"hurts"}) else "none"


def _scores(frame: pd.DataFrame, series: Mapping[str, int], aupro_limit: float) -> Markup:
    note = (
        "In points, mean ± standard deviation over the runs (folds × seeds); below it the difference to "
        f"real-only, paired by fold and seed. AUPRO ends at a false-positive rate of {aupro_limit:g}"
    ) + (", AUPRO 0.05 at 0.05." if "pixel_aupro_05" in frame else ".")
    parts = [element("p", note, class_="note"), *_tables(frame[frame["epoch"] == LAST], series)]
    oracle = frame[frame["epoch"] != LAST]
    if len(oracle):
        why = (
            "Papers often report the epoch that scores best on the test images themselves. Such a score is "
            "too high for images not seen before."
        )
        lines = [element("summary", ORACLE_TITLE), element("p", why, class_="note")]
        parts.append(element("details", *lines, *_tables(oracle, series), class_="section oracle"))
    return section("Scores", *parts)


def _tables(frame: pd.DataFrame, series: Mapping[str, int]) -> list[Markup]:
    """The pooled rows, and folded those of single defects, where there are any."""
    pooled = frame["defect"] == ALL
    tables = []
    if pooled.any():
        tables.append(score_table(frame[pooled], "All defects", series))
    if not pooled.all():
        table = score_table(frame[~pooled], "Each defect against the good images", series)
        tables.append(element("details", element("summary", "By defect"), table, class_="section"))
    return tables


def _curves(
    curves: Mapping[str, Mapping[str, Curve]], series: Mapping[str, int], aupro_limit: float, note: str
) -> Markup | None:
    if not any(curves.values()):
        return None
    legend = [element("li", swatch(series[column]), column) for column in curves]
    return section(
        "Curves",
        element("p", note, class_="note") if note else None,
        element("ul", *legend, class_="legend", aria_label="Colours of the curves"),
        curve_charts(curves, series, aupro_limit),
    )


def _cases(cases: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not cases:
        return None
    note = (
        "Colours run from the lowest score (dark) to the highest (light) of a column, over all cases shown. "
        "The truth is outlined. Choose a picture to enlarge it, and again to go back."
    )
    return section("Best and worst cases", element("p", note, class_="note"), case_grids(cases))


def _settings(frame: pd.DataFrame, settings: Mapping[str, Any]) -> Markup | None:
    counts = count_table(frame)
    if counts is not None:
        line = element("summary", "Images and seconds of each training")
        counts = element("details", line, counts, class_="section")
    listed = settings_list(settings) if settings else None
    return section("Settings", listed, counts) if listed or counts else None
