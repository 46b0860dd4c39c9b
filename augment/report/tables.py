"""Tables: for the terminal, for Markdown and for LaTeX, and the summary of a benchmark they are made from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SCORES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1": "pixel F1-max",
    "pixel_aupro": "AUPRO",
    "pixel_aupro_05": "AUPRO 0.05",
}
COUNTS = {
    "n_good": "good",
    "n_real": "real defects",
    "n_synthetic": "synthetic",
    "n_test": "tested",
    "seconds": "seconds",
}
KEYS = ("category", "defect", "detector", "column", "epoch")
ALL = "all"  # the defect of a row that pools all defects
MEAN = "mean"  # the category (and, in a frame of means, the fold) of a row that averages over them
REAL_ONLY, LAST = "real-only", "last"
ORACLE_TITLE = "Best epoch on the test set (oracle), for comparison with papers only"
_TERMINAL = ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro")


# --- the summary -----------------------------------------------------------------------------------


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (ddof 1) of each score over the folds and seeds of a benchmark.

    Each score S in [0, 1] gives `S`, `S_std`, and `S_diff`, `S_diff_std`: its difference to the real-only
    training of the same fold and seed. A deviation of one run, and the difference of real-only to itself,
    are NaN. `runs` counts the runs; counts and seconds are means. Headline rows (epoch "last") come first,
    and among them pooled rows before those of one defect; several categories end with a category "mean",
    which weighs each alike, over the folds and seeds that all of them have.

    Args:
        rows: one row a training and defect, with `KEYS`, `fold` and `seed`. Rows that are means over folds
            already (fold "mean") are left out.

    Raises:
        ValueError: two rows of one training and defect.
    """
    import numpy as np
    import pandas as pd

    rows = rows[rows["fold"].astype(str) != MEAN]
    rows = rows.assign(**{key: rows[key].astype(str) for key in KEYS})
    if rows.duplicated([*KEYS, "fold", "seed"]).any():
        raise ValueError("A benchmark's rows name the same category, defect, training, fold and seed twice.")
    scores, counts = _present(rows, SCORES), _present(rows, COUNTS)
    order = {key: list(dict.fromkeys(rows[key])) for key in KEYS}
    overall = _over_categories(rows, [*scores, *counts])
    rows = pd.concat([rows, overall] if len(overall) else [rows], ignore_index=True)

    pairing = ["category", "defect", "detector", "epoch", "fold", "seed"]
    baseline = rows[rows["column"] == REAL_ONLY].set_index(pairing)[scores]
    baseline = baseline.reindex(pd.MultiIndex.from_frame(rows[pairing])).to_numpy(float)
    is_baseline = (rows["column"] == REAL_ONLY).to_numpy()[:, None]
    differences = [f"{score}_diff" for score in scores]
    rows[differences] = np.where(is_baseline, np.nan, rows[scores].to_numpy(float) - baseline)

    groups = rows.groupby(list(KEYS), sort=False)
    means = groups[[*scores, *differences, *counts]].mean()
    deviations = groups[[*scores, *differences]].std(ddof=1).add_suffix("_std")
    frame = pd.concat([groups.size().rename("runs"), means, deviations], axis=1).reset_index()

    order["category"].append(MEAN)
    rank = {key: frame[key].map({value: i for i, value in enumerate(order[key])}) for key in KEYS}
    first = [frame["epoch"] != LAST, rank["epoch"], frame["defect"] != ALL, rank["category"], rank["defect"]]
    last = [rank["detector"], frame["column"] != REAL_ONLY, rank["column"]]
    places = np.lexsort([np.asarray(key) for key in reversed([*first, *last])])
    columns = [name + part for name in scores for part in ("", "_std", "_diff", "_diff_std")]
    return frame.loc[places, [*KEYS, "runs", *columns, *counts]].reset_index(drop=True)


def _present(rows: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    return [name for name in names if name in rows]


def _over_categories(rows: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """Means of the pooled rows over the categories, of each fold and seed that all of them have."""
    pooled = rows[rows["defect"] == ALL]
    categories = pooled.groupby("detector")["category"].nunique()
    groups = pooled.groupby(["detector", "column", "epoch", "fold", "seed"], sort=False)
    means = groups[list(values)].mean().assign(size=groups.size()).reset_index()
    whole = means["size"] == means["detector"].map(categories)
    several = means["detector"].map(categories) > 1
    return means[whole & several].drop(columns="size").assign(category=MEAN, defect=ALL)


def points(value: float, deviation: float = math.nan, *, sign: bool = False, between: str = " ± ") -> str:
    """A score in [0, 1], or a difference of two, in points: "78.6 ± 2.7"; "-" for NaN, no ± without one."""
    if not math.isfinite(value):
        return "-"
    text = format(round(100 * value, 1) + 0.0, "+.1f" if sign else ".1f")  # + 0.0: no "-0.0"
    return text + (f"{between}{100 * deviation:.1f}" if math.isfinite(deviation) else "")


# --- terminal --------------------------------------------------------------------------------------


def format_summary(rows: pd.DataFrame, width: int = 120) -> str:
    """The pooled rows of a benchmark in points as aligned text, at most `width` characters wide.

    Shows the main scores, and the difference in pixel AP to real-only. Names are cut in their middle where
    they do not fit. Oracle rows stand apart, below.
    """
    frame = summary(rows)
    parts = []
    for is_last in (True, False):
        part = frame[(frame["defect"] == ALL) & ((frame["epoch"] == LAST) == is_last)]
        if len(part):
            parts += [] if is_last else ["", f"{ORACLE_TITLE}:"]
            parts.append(_terminal_table(part, width))
    return "\n".join(parts)


def _terminal_table(part: pd.DataFrame, width: int) -> str:
    records = part.to_dict("records")
    names = [
        ["category", *part["category"]],
        ["detector", *part["detector"]],
        ["trained on", *part["column"]],
    ]
    numbers = []
    for score in _present(part, dict.fromkeys(_TERMINAL)):
        cells = [points(row[score], row[f"{score}_std"], between="±") for row in records]
        numbers.append([SCORES[score].removesuffix("-max"), *cells])
    if "pixel_ap" in part:
        gains = [
            points(row["pixel_ap_diff"], row["pixel_ap_diff_std"], sign=True, between="±") for row in records
        ]
        numbers.append(["AP gain", *gains])
    room = width - sum(2 + max(map(len, column)) for column in numbers)
    limit = max(len(text) for column in names for text in column)
    while limit > 8 and sum(min(limit, max(map(len, column))) + 2 for column in names) - 2 > room:
        limit -= 1
    names = [[_shorten(text, limit) for text in column] for column in names]
    return _aligned([(column, str.ljust) for column in names] + [(column, str.rjust) for column in numbers])


def _shorten(text: str, length: int) -> str:
    keep = length - 1
    return text if len(text) <= length else f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as aligned text: words to the left, numbers to the right, "-" for None and NaN.

    Floats are printed with four decimals. No rows give an empty string.
    """
    columns = []
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        is_number = all(value is None or hasattr(value, "__float__") for value in values)
        columns.append(([name, *map(_cell, values)], str.rjust if is_number else str.ljust))
    return _aligned(columns)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _aligned(columns: Sequence[tuple[list[str], Any]]) -> str:
    """Columns of cells, each a heading first, with the function that pads them."""
    padded = []
    for cells, align in columns:
        width = max(map(len, cells))
        heading, *rest = (align(cell, width) for cell in cells)
        padded.append([heading, "-" * width, *rest])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


# --- papers ----------------------------------------------------------------------------------------


def to_markdown(rows: pd.DataFrame) -> str:
    """The summary of a benchmark as Markdown: pooled rows, then rows by defect, then the oracle's.

    Scores are in points, "78.6 ± 2.7 (+2.1 ± 0.4)"; in parentheses the difference to real-only.
    """
    return "\n\n".join(
        f"{title}\n\n{_markdown_table(part, defects)}" for title, part, defects in _parts(summary(rows))
    )


def _markdown_table(part: pd.DataFrame, defects: bool) -> str:
    names, scores = _names(defects), _present(part, SCORES)
    lines = ["| " + " | ".join([*names.values(), *(SCORES[score] for score in scores)]) + " |"]
    lines.append("|" + "---|" * len(names) + "---:|" * len(scores))
    for row in part.to_dict("records"):
        cells = [_escape_markdown(row[name]) for name in names]
        for score in scores:
            change = points(row[f"{score}_diff"], row[f"{score}_diff_std"], sign=True)
            cells.append(points(row[score], row[f"{score}_std"]) + ("" if change == "-" else f" ({change})"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def to_latex(rows: pd.DataFrame) -> str:
    """The summary of a benchmark as LaTeX tables (package booktabs), in the order of `to_markdown`.

    Below each training that has one stands its difference to real-only.
    """
    tables = [f"% {title}\n{_latex_table(part, defects)}" for title, part, defects in _parts(summary(rows))]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *tables])


def _latex_table(part: pd.DataFrame, defects: bool) -> str:
    names, scores = _names(defects), _present(part, SCORES)
    lines = [f"\\begin{{tabular}}{{{'l' * len(names)}{'r' * len(scores)}}}", "\\toprule"]
    lines.append(" & ".join([*names.values(), *(SCORES[score] for score in scores)]) + " \\\\")
    group = None
    for row in part.to_dict("records"):
        if (row["category"], row["defect"], row["detector"]) != group:
            lines.append("\\midrule")
        group = row["category"], row["defect"], row["detector"]
        cells = [_latex_points(row[score], row[f"{score}_std"]) for score in scores]
        lines.append(" & ".join([*(_escape_latex(row[name]) for name in names), *cells]) + " \\\\")
        changes = [_latex_points(row[f"{s}_diff"], row[f"{s}_diff_std"], sign=True) for s in scores]
        if any(change != "--" for change in changes):
            blanks = [""] * (len(names) - 1)
            lines.append(" & ".join([*blanks, "\\quad difference", *changes]).lstrip() + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _parts(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame, bool]]:
    """The tables of a summary that have rows: title, rows, whether they are of single defects."""
    is_last, pooled = frame["epoch"] == LAST, frame["defect"] == ALL
    parts = [
        ("All defects", frame[is_last & pooled], False),
        ("By defect", frame[is_last & ~pooled], True),
        (ORACLE_TITLE, frame[~is_last & pooled], False),
        (f"{ORACLE_TITLE}, by defect", frame[~is_last & ~pooled], True),
    ]
    return [part for part in parts if len(part[1])]


def _names(defects: bool) -> dict[str, str]:
    names = {"category": "category", "defect": "defect", "detector": "detector", "column": "trained on"}
    return names if defects else {name: label for name, label in names.items() if name != "defect"}


def _latex_points(value: float, deviation: float, sign: bool = False) -> str:
    text = points(value, deviation, sign=sign, between=" \\pm ")
    return "--" if text == "-" else f"${text}$"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&#~])", r"\\\1", " ".join(text.split()))


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
