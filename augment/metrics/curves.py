"""The curves behind the scores, thinned for drawing: precision-recall, ROC, and per-region overlap.

A test set has a vertex for each of its millions of scores. A line through few hundred of them looks the same:
those are chosen one after the other, each where the line drawn so far is farthest off.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augment.metrics.detection import check_lengths
from augment.metrics.operating_points import OperatingPoints, image_points, pixel_points


@dataclass(frozen=True)
class Curve:
    """A line through (x, y), both (K,) float64 in [0, 1], x rising. K is 0 where the curve is undefined."""

    x: np.ndarray
    y: np.ndarray

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for JSON."""
        return {"x": self.x.tolist(), "y": self.y.tolist()}


def detection_curves(
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    image_scores: Sequence[float],
    image_labels: Sequence[bool],
    points: int = 400,
) -> dict[str, Curve]:
    """Every curve of a test set; the first four arguments and the errors are those of `detection_scores`.

    Args:
        points: vertices of a curve, at most; at least 2.

    Returns:
        `pixel_pr`, `image_pr`: precision over recall at each anomalous score; `pixel_roc`, `image_roc`: true-
        over false-positive rate; `pixel_pro`: mean region overlap over false-positive rate, up to 1.
    """
    check_lengths(maps, masks, image_scores, image_labels)
    pixels, images = pixel_points(maps, masks), image_points(image_scores, image_labels)
    curves = {
        "pixel_pr": precision_recall_curve(pixels),
        "pixel_roc": roc_curve(pixels),
        "pixel_pro": overlap_curve(pixels),
        "image_pr": precision_recall_curve(images),
        "image_roc": roc_curve(images),
    }
    return {name: thin(curve, points) for name, curve in curves.items()}


def precision_recall_curve(points: OperatingPoints) -> Curve:
    """Precision over recall at each anomalous score: the points that average precision sums up."""
    if not points.anomalous:
        return _NOTHING
    raised = points.true_positives + points.false_positives
    return Curve(points.true_positives / points.anomalous, points.true_positives / raised)


def roc_curve(points: OperatingPoints) -> Curve:
    """True- over false-positive rate, from (0, 0) to (1, 1)."""
    return _over_false_positives(points, points.true_positives / max(points.anomalous, 1))


def overlap_curve(points: OperatingPoints) -> Curve:
    """Mean share found of a defect region over the false-positive rate, from (0, 0) to (1, 1)."""
    return _over_false_positives(points, points.overlap)


def thin(curve: Curve, points: int) -> Curve:
    """At most `points` vertices of a curve, ends included, each chosen where the line was farthest off.

    Source: the rule of Ramer (1972) and Douglas and Peucker (1973), widest gap first.

    Raises:
        ValueError: `points` is below 2.
    """
    if points < 2:
        raise ValueError(f"A curve needs 2 vertices or more, not {points}.")
    if curve.x.size <= points:
        return curve
    curve = _along(curve, 50 * points)
    kept = [0, curve.x.size - 1]
    gaps = [_widest_gap(curve, *kept)]
    while len(kept) < points and gaps[0][0] < 0:
        _, first, split, last = heapq.heappop(gaps)
        kept.append(split)
        heapq.heappush(gaps, _widest_gap(curve, first, split))
        heapq.heappush(gaps, _widest_gap(curve, split, last))
    kept.sort()
    return Curve(curve.x[kept], curve.y[kept])


_NOTHING = Curve(np.empty(0), np.empty(0))


def _over_false_positives(points: OperatingPoints, found: np.ndarray) -> Curve:
    """`found` over the false-positive rate: flat between anomalous scores, rising at each (see `aupro`)."""
    if not points.anomalous or not points.background:
        return _NOTHING
    raised = np.stack([points.false_positives_above, points.false_positives], axis=1).ravel()
    before = np.append(0.0, found[:-1])
    heights = np.stack([before, found], axis=1).ravel()
    rate = np.concatenate([[0.0], raised / points.background, [1.0]])
    return Curve(rate, np.concatenate([[0.0], heights, [found[-1]]]))


def _along(curve: Curve, points: int) -> Curve:
    """Vertices at even steps along a curve: what lies between two is within a step of them."""
    steps = np.abs(np.diff(curve.x, prepend=curve.x[0])) + np.abs(np.diff(curve.y, prepend=curve.y[0]))
    length = np.cumsum(steps)
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], points)))
    kept = np.union1d(kept, [0, curve.x.size - 1])
    return Curve(curve.x[kept], curve.y[kept])


def _widest_gap(curve: Curve, first: int, last: int) -> tuple[float, int, int, int]:
    """Minus the largest distance of a vertex from the chord between two, and the three vertices."""
    x, y = curve.x[first : last + 1] - curve.x[first], curve.y[first : last + 1] - curve.y[first]
    length = np.hypot(x[-1], y[-1])
    distance = np.abs(x * y[-1] - y * x[-1]) / length if length else np.hypot(x, y)
    split = int(np.argmax(distance))
    return -float(distance[split]), first, first + split, last
