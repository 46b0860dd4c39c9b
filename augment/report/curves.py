"""Precision-recall, ROC and per-region-overlap curves: what each shows, and their picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from augment.report.drawing import (
    FINE,
    INK,
    MUTED,
    PAPER,
    RULE,
    SERIES,
    fit_text,
    save_picture,
    text_width,
    write,
)


class Curve(Protocol):
    """Points of a curve: `x` and `y` of shape (K,), both in [0, 1]."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Axes:
    """What a curve is called, and what its axes are; `limited`: its area is taken up to a limit of x."""

    title: str
    x: str
    y: str
    limited: bool = False


_FPR = "false-positive rate"
AXES = {
    "pixel_pr": Axes("Pixels: precision and recall", "recall", "precision"),
    "pixel_roc": Axes("Pixels: ROC", _FPR, "true-positive rate"),
    "pixel_pro": Axes("Pixels: per-region overlap (PRO)", _FPR, "per-region overlap", True),
    "image_pr": Axes("Images: precision and recall", "recall", "precision"),
    "image_roc": Axes("Images: ROC", _FPR, "true-positive rate"),
}
TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)


def shown_axes(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, Axes]:
    """The kinds of curve that at least one column has, in the order of `AXES`."""
    return {name: axes for name, axes in AXES.items() if any(name in column for column in curves.values())}


def finite_points(curve: Curve) -> np.ndarray:
    """The points of a curve as (K, 2), without those that are NaN."""
    points = np.stack([np.asarray(curve.x, float), np.asarray(curve.y, float)], axis=1)
    return points[np.isfinite(points).all(axis=1)]


_PLOT, _LEFT, _RIGHT, _TOP, _BOTTOM = 300, 64, 26, 46, 56
_PANEL = (_LEFT + _PLOT + _RIGHT, _TOP + _PLOT + _BOTTOM)
_ACROSS, _LEGEND = 3, 44


def curves_picture(curves: Mapping[str, Mapping[str, Curve]], path: Path, aupro_limit: float = 0.3) -> Path:
    """Draw the curves of all columns, one panel a kind of curve, one colour a column.

    Args:
        curves: column ("real-only", ...) -> name in `AXES` -> curve.
        path: PNG to write.
        aupro_limit: false-positive rate up to which the PRO curve is integrated, marked.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    kinds = shown_axes(curves)
    across = max(1, min(_ACROSS, len(kinds)))
    lines = -(-len(kinds) // across)
    size = across * _PANEL[0], _LEGEND * len(_legend_lines(curves, across)) + lines * _PANEL[1]
    picture = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
    draw = ImageDraw.Draw(picture)
    corners = {}
    top = size[1] - lines * _PANEL[1]
    for number, name in enumerate(kinds):
        corner = number % across * _PANEL[0] + _LEFT, top + number // across * _PANEL[1] + _TOP
        corners[name] = corner
        _draw_lines(draw, corner, kinds[name], [column.get(name) for column in curves.values()], aupro_limit)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for name, corner in corners.items():
        _write_labels(draw, picture, corner, kinds[name], aupro_limit)
    for line, entries in enumerate(_legend_lines(curves, across)):
        for x, text, colour in entries:
            y = _LEGEND * (line + 0.5)
            draw.rounded_rectangle([x, y - 2, x + 22, y + 2], 2, fill=colour)
            write(draw, (x + 30, y), text, 15)
    return save_picture(picture, path)


def _draw_lines(draw: ImageDraw.ImageDraw, corner, axes: Axes, curves, aupro_limit: float) -> None:
    """Grid, limit and curves of a panel; `corner` is the plot's upper left."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (corner[0] + _PLOT * x) * FINE, (corner[1] + _PLOT * (1 - y)) * FINE

    if axes.limited:
        draw.rectangle([place(0, 1), place(aupro_limit, 0)], fill="#f1f3f5")
    for tick in TICKS:
        draw.line([place(tick, 0), place(tick, 1)], fill=RULE, width=FINE)
        draw.line([place(0, tick), place(1, tick)], fill=RULE, width=FINE)
    if axes.limited:
        draw.line([place(aupro_limit, 0), place(aupro_limit, 1)], fill=MUTED, width=FINE)
    for number, curve in enumerate(curves):
        points = [] if curve is None else [place(*point) for point in finite_points(curve)]
        if len(points) > 1:
            draw.line(points, fill=SERIES[number % len(SERIES)], width=2 * FINE, joint="curve")


def _write_labels(draw: ImageDraw.ImageDraw, picture: Image.Image, corner, axes: Axes, aupro_limit) -> None:
    left, top = corner
    write(draw, (left, top - 22), axes.title, 16)
    for tick in TICKS:
        write(draw, (left - 8, top + _PLOT * (1 - tick)), f"{tick:g}", 12, MUTED, "rm")
        write(draw, (left + _PLOT * tick, top + _PLOT + 12), f"{tick:g}", 12, MUTED, "mm")
    write(draw, (left + _PLOT / 2, top + _PLOT + 34), axes.x, 13, INK, "mm")
    name = Image.new("RGB", (_PLOT, 18), PAPER)
    write(ImageDraw.Draw(name), (_PLOT / 2, 9), axes.y, 13, INK, "mm")
    picture.paste(name.rotate(90, expand=True), (left - 56, top))
    if axes.limited:
        note = f"AUPRO up to {aupro_limit:g}"
        write(draw, (left + _PLOT * aupro_limit + 6, top + _PLOT - 12), note, 12, MUTED)


def _legend_lines(curves: Mapping[str, Mapping[str, Curve]], across: int) -> list[list[tuple]]:
    """(x, text, colour) of each column, in as many lines as their names need."""
    lines, x, right = [[]], float(_LEFT), across * _PANEL[0]
    for number, name in enumerate(curves):
        text = fit_text(name, 15, right - _LEFT - _RIGHT - 30)
        if lines[-1] and x + 30 + text_width(text, 15) > right:
            lines.append([])
            x = float(_LEFT)
        lines[-1].append((x, text, SERIES[number % len(SERIES)]))
        x += 58 + text_width(text, 15)
    return lines
