"""Curves as inline SVG. Colours and fonts are the page's (page.css)."""

from __future__ import annotations

from collections.abc import Mapping

from augment.report.curves import TICKS, Axes, Curve, finite_points, shown_axes
from augment.report.drawing import SERIES
from augment.report.markup import Markup, element, join

_PLOT, _LEFT, _RIGHT, _TOP, _BOTTOM = 280, 52, 12, 10, 44


def swatch(number: int) -> Markup:
    """The colour of a column beside its name."""
    return element("span", class_=f"swatch {_series(number)}", aria_hidden="true")


def _series(number: int) -> str:
    """The class that colours a column; when the colours are used up they come again, dashed."""
    return f"series{number % len(SERIES)}" + (" again" if number >= len(SERIES) else "")


def curve_charts(
    curves: Mapping[str, Mapping[str, Curve]], series: Mapping[str, int], aupro_limit: float
) -> Markup:
    """A figure for each kind of curve.

    Args:
        curves: column -> name of the curve -> curve.
        series: column -> number of its colour.
        aupro_limit: false-positive rate up to which the PRO curve is integrated, marked.
    """
    figures = []
    for name, axes in shown_axes(curves).items():
        found = {column: named[name] for column, named in curves.items() if name in named}
        figures.append(
            element(
                "figure",
                element("figcaption", axes.title),
                _chart(axes, found, series, aupro_limit),
                class_="chart",
            )
        )
    return element("div", *figures, class_="charts")


def _chart(axes: Axes, curves: Mapping[str, Curve], series: Mapping[str, int], aupro_limit: float) -> Markup:
    width, height = _LEFT + _PLOT + _RIGHT, _TOP + _PLOT + _BOTTOM
    parts = [_grid(axes)]
    if axes.limited:
        parts.append(_limit(aupro_limit))
    for column, curve in curves.items():
        points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in finite_points(curve))
        if points:
            name = element("title", column)
            parts.append(element("path", name, d=f"M{points}", class_=f"curve {_series(series[column])}"))
    label = f"{axes.title}: {axes.y} against {axes.x} of {', '.join(curves)}"
    return element("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def _x(value: float) -> float:
    return _LEFT + _PLOT * value


def _y(value: float) -> float:
    return _TOP + _PLOT * (1 - value)


def _grid(axes: Axes) -> Markup:
    lines = [f"M{_x(t):g} {_y(0):g}V{_y(1):g}M{_x(0):g} {_y(t):g}H{_x(1):g}" for t in TICKS]
    parts = [element("path", d="".join(lines), class_="grid")]
    for tick in TICKS:
        parts.append(
            element("text", f"{tick:g}", x=f"{_x(0) - 7:g}", y=f"{_y(tick) + 4:g}", class_="tick end")
        )
        parts.append(element("text", f"{tick:g}", x=f"{_x(tick):g}", y=f"{_y(0) + 17:g}", class_="tick"))
    parts.append(element("text", axes.x, x=f"{_x(0.5):g}", y=f"{_y(0) + 37:g}", class_="axis"))
    turned = f"translate(13 {_y(0.5):g}) rotate(-90)"
    parts.append(element("text", axes.y, transform=turned, class_="axis"))
    return join(*parts)


def _limit(limit: float) -> Markup:
    x = _x(limit)
    return join(
        element("path", d=f"M{_x(0):g} {_y(0):g}H{x:g}V{_y(1):g}H{_x(0):g}Z", class_="area"),
        element("path", d=f"M{x:g} {_y(0):g}V{_y(1):g}", class_="limit"),
        element("text", f"AUPRO up to {limit:g}", x=f"{x + 6:g}", y=f"{_y(0) - 8:g}", class_="note"),
    )
