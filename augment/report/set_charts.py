"""Real defects against synthetic ones, as inline SVG: area, brightness, place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from augment.report.markup import Markup, element, join
from augment.report.svg import swatch

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 280, 150, 46, 10, 10, 58
_BINS = 16
_SERIES = {"real": 0, "synthetic": 1}


def distributions(
    real: Mapping[str, Sequence[Mapping[str, Any]]], synthetic: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Markup:
    """For each defect: histograms of area and brightness, and where the masks lie.

    Args:
        real, synthetic: defect -> `augment.report.set_pictures.measures` of each image.
    """
    rows = []
    for defect, ours in synthetic.items():
        both = {"real": real.get(defect, ()), "synthetic": ours}
        areas = {name: [100 * m["area"] for m in found] for name, found in both.items()}
        lights = {name: [m["brightness"] for m in found] for name, found in both.items()}
        legend = [
            element("li", swatch(_SERIES[name]), f"{name}, {len(found)}") for name, found in both.items()
        ]
        charts = [
            _histogram("Mask area", "% of the image", areas, is_log=True),
            _histogram("Brightness inside the mask", "mean grey level", lights),
            *(_heatmap(f"Place, {name}", _mean_place(found), _SERIES[name]) for name, found in both.items()),
        ]
        rows.append(
            element(
                "section",
                element("h3", defect),
                element("ul", *legend, class_="legend", aria_label="Colours and numbers of images"),
                element("div", *charts, class_="charts"),
            )
        )
    return join(*rows)


def _histogram(title: str, label: str, values: Mapping[str, Sequence[float]], is_log: bool = False) -> Markup:
    """Steps of the share of images in each bin; below the axis a tick for each real image."""
    found = {name: np.array([v for v in given if v == v], dtype=float) for name, given in values.items()}
    pooled = np.concatenate(list(found.values()))
    scale = np.log10 if is_log else (lambda v: v)
    if is_log:
        pooled = np.maximum(pooled, 1e-6)
    low, high = (float(scale(pooled).min()), float(scale(pooled).max())) if pooled.size else (0.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.04, 0.05 if is_log else 1.0)
    low, high = middle - half, middle + half
    edges = np.linspace(low, high, _BINS + 1)
    shares = {
        name: np.histogram(scale(np.maximum(v, 1e-6) if is_log else v), edges)[0] / max(1, v.size)
        for name, v in found.items()
    }
    top = max(0.1, math.ceil(max(share.max() for share in shares.values()) * 10) / 10)

    def x(value: float) -> float:
        return _LEFT + _WIDTH * (value - low) / (high - low)

    def y(share: float) -> float:
        return _TOP + _HEIGHT * (1 - share / top)

    parts = []
    for share in (0, top / 2, top):
        parts.append(element("path", d=f"M{_LEFT} {y(share):.1f}h{_WIDTH}", class_="grid"))
        text = f"{100 * share:g} %"
        parts.append(element("text", text, x=f"{_LEFT - 6}", y=f"{y(share) + 4:.1f}", class_="tick end"))
    for part in (0, 0.25, 0.5, 0.75, 1):
        value = low + part * (high - low)
        text = f"{10**value:.2g}" if is_log else f"{value:.0f}"
        parts.append(element("text", text, x=f"{x(value):.1f}", y=f"{_TOP + _HEIGHT + 28}", class_="tick"))
    axis = f"{label}{', logarithmic' if is_log else ''}"
    parts.append(element("text", axis, x=f"{_LEFT + _WIDTH / 2}", y=f"{_TOP + _HEIGHT + 50}", class_="axis"))
    for name, share in shares.items():
        series = f"series{_SERIES[name]}"
        steps = "".join(
            f"V{y(s):.1f}H{x(edge):.1f}" for s, edge in zip(share.tolist(), edges[1:], strict=True)
        )
        d = f"M{x(low):.1f} {y(0):.1f}{steps}V{y(0):.1f}"
        parts.append(element("path", element("title", name), d=d, class_=f"curve {series}"))
        if name == "real" and found[name].size:
            ticks = scale(np.maximum(found[name], 1e-6) if is_log else found[name]).tolist()
            d = "".join(f"M{x(v):.1f} {_TOP + _HEIGHT + 4}v8" for v in ticks)
            parts.append(element("path", element("title", "each real image"), d=d, class_=f"curve {series}"))
    told = ", ".join(f"{name} median {np.median(v):.3g}" for name, v in found.items() if v.size)
    return _figure(
        title, parts, _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM, f"{title}, {axis}: {told}"
    )


def _mean_place(found: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """The mean over the images; of sizes that differ, those of the commonest."""
    shapes = [m["place"].shape for m in found]
    if not shapes:
        return None
    commonest = max(set(shapes), key=shapes.count)
    return np.mean([m["place"] for m in found if m["place"].shape == commonest], axis=0)


def _heatmap(title: str, place: np.ndarray | None, series: int) -> Markup:
    if place is None:
        return element("figure", element("figcaption", title), element("p", "none"), class_="chart")
    height, width = place.shape
    peak = float(place.max())
    cells = [
        element("path", d=f"M{c} {r}h1v1h-1z", opacity=f"{place[r, c] / peak:.2f}")
        for r, c in zip(*(axis.tolist() for axis in np.nonzero(place > 0.01 * peak)), strict=True)
    ]
    frame = element("path", d=f"M0 0h{width}v{height}H0z", class_="frame")
    parts = [element("g", *cells, class_=f"heat series{series}"), frame]
    told = f"{title}: darkest where {100 * peak:.0f} % of the images have it"
    return _figure(title, parts, width, height, told, class_="chart place")


def _figure(
    title: str, parts: Sequence[Markup], width: float, height: float, told: str, class_: str = "chart"
) -> Markup:
    svg = element("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=told)
    return element("figure", element("figcaption", title), svg, class_=class_)
