"""The pictures a run ends with: contact sheet, loss curve, scores side by side. Pillow only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from augment.report.drawing import (
    BLUE,
    FINE,
    INK,
    MUTED,
    PAPER,
    REFINED_COLOUR,
    RULE,
    SERIES,
    TARGET_COLOUR,
    defect_view,
    fit_text,
    overlay,
    paste_into_cell,
    save_picture,
    shrink,
    shrink_mask,
    size_within,
    text_width,
    write,
)
from augment.report.tables import SCORES

if TYPE_CHECKING:
    import pandas as pd

_CELL, _GAP, _CAPTION, _HEADER, _MARGIN = 200, 6, 24, 34, 20
_COLUMNS = ("source", "target mask", "result", "refined mask")
_MAX_ROWS = 20


def contact_sheet(
    rows: Iterable[Mapping[str, np.ndarray]], path: Path, captions: Sequence[str] | None = None
) -> Path:
    """Draw source, target mask, result and refined mask of up to 20 synthetic images.

    Masks are outlined and tinted over the image. Where the defect is small, all four cells show the square
    around it, and the caption says how much it is enlarged.

    Args:
        rows: `source` and `result` (H, W[, 3]) uint8, `target` and `refined` (H, W) bool. Sizes may differ
            from row to row. Held one at a time, should they come one at a time.
        path: PNG to write.
        captions: a line for each row; None: rows are a sequence.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    captions = list([""] * len(rows) if captions is None else captions)[:_MAX_ROWS]
    count = len(captions)
    blocks = 1 if count <= 4 else 2
    lines = math.ceil(count / blocks)
    block_width = 4 * _CELL + 3 * _GAP
    width = 2 * _MARGIN + blocks * block_width + (blocks - 1) * 2 * _MARGIN
    height = _MARGIN // 2 + _HEADER + lines * (_CELL + _CAPTION + _GAP) + _MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for block in range(min(blocks, count)):
        for column, name in enumerate(_COLUMNS):
            x = _MARGIN + block * (block_width + 2 * _MARGIN) + column * (_CELL + _GAP)
            write(draw, (x + _CELL / 2, _MARGIN / 2 + _HEADER / 2), name, 16, anchor="mm")
    for number, (row, caption) in enumerate(zip(islice(rows, count), captions, strict=True)):
        block, line = divmod(number, lines)
        left = _MARGIN + block * (block_width + 2 * _MARGIN)
        top = _MARGIN // 2 + _HEADER + line * (_CELL + _CAPTION + _GAP)
        box, zoom = defect_view(row["target"] | row["refined"])
        for column, cell in enumerate(_cells(row, box)):
            paste_into_cell(sheet, cell, left + column * (_CELL + _GAP), top, _CELL)
        note = f"{caption}  ({zoom:.1f}x enlarged)" if zoom > 1 else caption
        write(draw, (left, top + _CELL + _CAPTION / 2), fit_text(note, 13, block_width), 13, MUTED)
    return save_picture(sheet, path)


def _cells(row: Mapping[str, np.ndarray], box: tuple[slice, slice]) -> list[Image.Image]:
    """The four pictures of a row, each at most a cell large."""
    size = size_within(row["target"][box].shape, _CELL)
    source, result = (shrink(row[name][box], *size) for name in ("source", "result"))
    target, refined = (shrink_mask(row[name][box], *size) for name in ("target", "refined"))
    return [
        source,
        overlay(source, target, TARGET_COLOUR),
        result,
        overlay(result, refined, REFINED_COLOUR),
    ]


def loss_curve(losses: Sequence[float], path: Path, title: str = "training loss") -> Path:
    """Draw the loss of every step in grey and its running mean (a twentieth of the steps wide) in blue.

    The axis ends at the 99th percentile, so that one early peak does not flatten the rest.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    values = np.asarray(losses, dtype=float)
    values = values[np.isfinite(values)]
    width, height, left, right, top, bottom = 760, 400, 70, 30, 50, 50
    picture = Image.new("RGB", (width * FINE, height * FINE), PAPER)
    draw = ImageDraw.Draw(picture)
    ceiling = _round_up(np.percentile(values, 99) * 1.05) if values.size else 1.0
    plot_width, plot_height = width - left - right, height - top - bottom

    def point(step: float, loss: float) -> tuple[float, float]:
        x = left + plot_width * step / max(values.size - 1, 1)
        y = top + plot_height * (1 - min(loss / ceiling, 1.0))
        return x * FINE, y * FINE

    levels = np.linspace(0, ceiling, 5)
    for level in levels:
        y = point(0, level)[1]
        draw.line([(left * FINE, y), ((width - right) * FINE, y)], fill=RULE, width=FINE)
    if values.size:
        draw.line([point(*pair) for pair in enumerate(values)], fill="#b9c2cb", width=FINE)
        smooth = _running_mean(values, max(1, values.size // 20))
        draw.line([point(*pair) for pair in enumerate(smooth)], fill=BLUE, width=3 * FINE, joint="curve")
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for level in levels:
        write(draw, (left - 10, point(0, level)[1] / FINE), f"{level:.3g}", 13, MUTED, "rm")
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + plot_width * share
        write(draw, (x, height - bottom + 16), f"{round(values.size * share)}", 13, MUTED, "mm")
    write(draw, (left + plot_width / 2, height - 14), "step", 13, MUTED, "mm")
    write(draw, (left, 24), title, 17)
    if values.size:
        end = f"running mean at the end: {smooth[-1]:.4g}"
        write(draw, (width - right, 24), end, 14, BLUE, "rm")
    return save_picture(picture, path)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values (of all so far at the start)."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, values.size + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


_Label = tuple[tuple[float, float], str, int, str, str]  # position, text, size, colour, anchor
_PLOT, _VALUE, _CHANGE = 500, 56, 64  # widths: of the scale from 0 to 100, of a value, of a difference


def benchmark_picture(rows: pd.DataFrame, path: Path) -> Path:
    """Draw each score of each column, one panel a category and detector, one colour a column.

    Args:
        rows: columns `category`, `detector`, `column` ("real-only", ...) and the scores in
            [0, 1]; several rows of one panel (seeds, folds) are averaged.
        path: PNG to write.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    scores = [name for name in SCORES if name in rows]
    means = rows.groupby(["category", "detector", "column"], sort=False)[scores].mean() * 100
    panels = list(dict.fromkeys(index[:2] for index in means.index))
    columns = list(dict.fromkeys(rows["column"]))
    left, line, title, header = 150, 30, 46, 56
    right = 34 + _VALUE * len(columns) + (_CHANGE if len(columns) == 2 else 0)
    width = left + _PLOT + right
    panel_height = title + line * len(scores) + 34
    legend = _legend(columns, left, width - 24)
    header += 28 * (legend[-1][1] if legend else 0)
    height = header + panel_height * len(panels) + 10
    picture = Image.new("RGB", (width * FINE, height * FINE), PAPER)
    draw = ImageDraw.Draw(picture)
    labels: list[_Label] = []
    for (x, row, text), colour in zip(legend, cycle(SERIES), strict=False):
        y = 28 + 28 * row
        draw.ellipse([x * FINE, (y - 7) * FINE, (x + 14) * FINE, (y + 7) * FINE], fill=colour)
        labels.append(((x + 22, y), text, 15, INK, "lm"))

    for number, panel in enumerate(panels):
        top = header + number * panel_height
        category, detector = panel
        labels.append(((24, top + 18), f"{category} · {detector}", 17, INK, "lm"))
        bottom = top + title + line * len(scores)
        for tick in range(0, 101, 20):
            x = left + _PLOT * tick / 100
            draw.line([(x * FINE, (top + title - 8) * FINE), (x * FINE, bottom * FINE)], RULE, FINE)
            labels.append(((x, bottom + 10), str(tick), 12, MUTED, "mm"))
        for order, score in enumerate(scores):
            y = top + title + line * (order + 0.5) - 4
            values = [float(means[score].get((*panel, name), np.nan)) for name in columns]
            _dots(draw, left, y, values)
            labels.append(((left - 16, y), SCORES[score], 14, INK, "rm"))
            labels += _values(left + _PLOT + 14, y, values)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for position, text, size, colour, anchor in labels:
        write(draw, position, text, size, colour, anchor)
    return save_picture(picture, path)


def _dots(draw: ImageDraw.ImageDraw, left: float, y: float, values: Sequence[float]) -> None:
    """A dot a column on a line from the lowest to the highest; a missing score (NaN) has no dot."""
    xs = [(left + _PLOT * value / 100) * FINE for value in values]
    found = [x for x in xs if math.isfinite(x)]
    if len(found) > 1:
        draw.line([(min(found), y * FINE), (max(found), y * FINE)], fill="#b9c2cb", width=4 * FINE)
    r = (7 if len(values) == 2 else 6) * FINE
    for x, colour in zip(xs, cycle(SERIES), strict=False):
        if math.isfinite(x):
            draw.ellipse([x - r, y * FINE - r, x + r, y * FINE + r], colour, PAPER, FINE)


def _values(x: float, y: float, values: Sequence[float]) -> list[_Label]:
    """The scores as labels and, of two columns, the difference."""
    labels = []
    for place, (value, colour) in enumerate(zip(values, cycle(SERIES), strict=False)):
        text = f"{value:.1f}" if math.isfinite(value) else "-"
        labels.append(((x + 42 + _VALUE * place, y), text, 14, colour, "rm"))
    if len(values) == 2 and math.isfinite(values[1] - values[0]):
        labels.append(((x + 162, y), f"{values[1] - values[0]:+.1f}", 14, INK, "rm"))
    return labels


def _legend(columns: Sequence[str], left: float, right: float) -> list[tuple[float, int, str]]:
    """Where each column's name stands: x, line, text."""
    places, x, line = [], float(left), 0
    for name in columns:
        text = fit_text(name, 15, round(right - left) - 22)
        if places and x + 22 + text_width(text, 15) > right:
            x, line = float(left), line + 1
        places.append((x, line, text))
        x += 46 + text_width(text, 15)
    return places
