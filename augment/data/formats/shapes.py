"""Outlines and runs -> masks, for every label format.

Coordinates are those of COCO: the image's corner is (0, 0), pixel (x, y) covers [x, x + 1) by [y, y + 1). A
pixel belongs to an outline that has the pixel's centre inside; one so thin that it holds no centre marks the
pixels it runs through, so that no label is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from augment.errors import DataError

Size = tuple[int, int]  # (H, W)

_FARTHEST = 1e6  # pixels from the image's corner
_TOLERANCE = 1.0  # pixels by which regions may reach out of an image unmentioned: tools round


class Shape(Protocol):
    """One labelled region of an image."""

    def draw(self, size: Size) -> np.ndarray:
        """bool (H, W); what lies outside of the image is cut off.

        Raises:
            DataError: the region cannot be drawn; the message goes on after the name of the label.
        """
        ...

    def reaches_out(self, size: Size) -> bool:
        """Whether the region lies by more than a pixel outside of an image of that size, without drawing it.

        Raises:
            DataError: all of it does, or it is a mask of another size; the message goes on as in `draw`.
        """
        ...


@dataclass(frozen=True)
class Polygon:
    """An area between rings: each is (n, 2) of x, y; where rings lie in each other, inner ones are holes.

    Attributes:
        rings: float arrays (n, 2), closed by themselves.
    """

    rings: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, *rings: Any) -> Polygon:
        """Of nested lists, or flat ones as in COCO.

        Raises:
            DataError: fewer than three points, an odd number of values, or values that are no numbers.
        """
        return cls(tuple(_points(ring, 3) for ring in rings))

    def draw(self, size: Size) -> np.ndarray:
        """See `Shape`."""
        mask = fill(self.rings, size)
        return mask if mask.any() else stroke(self.rings, 1, size, closed=True)

    def reaches_out(self, size: Size) -> bool:
        """See `Shape`."""
        points = np.concatenate(self.rings)
        return _reaches_out(points.min(axis=0), points.max(axis=0), size)


@dataclass(frozen=True)
class Stroke:
    """A line through points, or a dot, `width` pixels wide with round ends."""

    points: np.ndarray
    width: float

    def draw(self, size: Size) -> np.ndarray:
        """See `Shape`."""
        return stroke((self.points,), self.width, size)

    def reaches_out(self, size: Size) -> bool:
        """See `Shape`."""
        return _reaches_out(self.points.min(axis=0), self.points.max(axis=0), size)


@dataclass(frozen=True)
class Bitmap:
    """A small mask, bool (h, w), whose upper left pixel lies at (x, y)."""

    pixels: np.ndarray
    x: int
    y: int

    def draw(self, size: Size) -> np.ndarray:
        """See `Shape`."""
        canvas = np.zeros(size, bool)
        height, width = self.pixels.shape
        x0, x1 = np.clip([self.x, self.x + width], 0, size[1])
        y0, y1 = np.clip([self.y, self.y + height], 0, size[0])
        canvas[y0:y1, x0:x1] = self.pixels[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        return canvas

    def reaches_out(self, size: Size) -> bool:
        """See `Shape`."""
        corner = np.array([self.x, self.y])
        return _reaches_out(corner, corner + self.pixels.shape[::-1], size)


def check_size(found: Size, expected: Size) -> None:
    """Raise a DataError, whose message goes on after a place, if a mask is not of its image's size."""
    if tuple(found) != tuple(expected):
        raise DataError(
            f"is a mask of {found[1]} x {found[0]} pixels, its image of {expected[1]} x {expected[0]}: give "
            "it the image's size"
        )


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """The rectangle between two opposite corners."""
    return Polygon.of([x0, y0, x1, y0, x1, y1, x0, y1])


def circle(x: float, y: float, radius: float) -> Polygon:
    """A circle, as a polygon that is nowhere more than 0.05 pixels off."""
    count = max(12, math.ceil(math.pi / math.acos(1 - min(0.05 / max(radius, 0.05), 0.5))))
    angles = np.arange(count) * (2 * math.pi / count)
    return Polygon((np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1),))


def line(points: Any, width: float) -> Stroke:
    """A line through one point or more.

    Raises:
        DataError: no points, or values that are no numbers.
    """
    return Stroke(_points(points, 1), width)


def fill(rings: Iterable[np.ndarray], size: Size) -> np.ndarray:
    """bool (H, W): the pixels whose centres lie inside an odd number of rings."""
    height, width = size
    crossings = np.zeros((height, width + 1), np.uint8)
    for ring in rings:
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            (x0, y0), (x1, y1) = (start, end) if start[1] <= end[1] else (end, start)
            first, last = (int(np.clip(math.ceil(y - 0.5), 0, height)) for y in (y0, y1))
            if first >= last:
                continue
            rows = np.arange(first, last)
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(int)  # the first centre right of the edge
            crossings[rows, columns] ^= 1
    return np.bitwise_xor.accumulate(crossings, axis=1)[:, :width].astype(bool)


def stroke(lines: Iterable[np.ndarray], width: float, size: Size, *, closed: bool = False) -> np.ndarray:
    """bool (H, W): the pixels whose centres are within `width / 2` of a line, and those under it."""
    canvas = np.zeros(size, bool)
    for points in lines:
        ends = np.roll(points, -1, axis=0) if closed or len(points) == 1 else points[1:]
        for start, end in zip(points, ends, strict=False):
            _stroke_segment(canvas, start, end, width / 2)
    return canvas


def _stroke_segment(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    height, width = canvas.shape
    low, high = np.minimum(start, end) - radius, np.maximum(start, end) + radius
    x0, x1 = np.clip([math.floor(low[0]), math.floor(high[0]) + 1], 0, width)
    y0, y1 = np.clip([math.floor(low[1]), math.floor(high[1]) + 1], 0, height)
    if x0 < x1 and y0 < y1:
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        along = end - start
        square = float(along @ along)
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / square if square else 0.0
        share = np.clip(share, 0, 1)
        distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        canvas[y0:y1, x0:x1] |= distance <= radius
    steps = max(2, 2 * math.ceil(float(np.abs(end - start).max())) + 1)
    under = np.floor(np.linspace(start, end, steps)).astype(int)
    inside = ((under >= 0) & (under < (width, height))).all(axis=1)
    canvas[under[inside, 1], under[inside, 0]] = True


def _points(values: Any, least: int) -> np.ndarray:
    """float (n, 2) of flat or nested numbers."""
    try:
        points = np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("has coordinates that are no numbers") from error
    if not (np.abs(points) <= _FARTHEST).all():
        raise DataError("has coordinates that are not finite, or far from any image")
    if points.ndim == 1 and points.size % 2:
        raise DataError(f"has an odd number of coordinates ({points.size})")
    if points.ndim not in (1, 2) or (points.ndim == 2 and points.size and points.shape[1] != 2):
        raise DataError("is no list of x, y pairs")
    points = points.reshape(-1, 2)
    if len(points) < least:
        raise DataError(f"has {len(points)} points, where {least} or more make an outline")
    return points


def _reaches_out(low: np.ndarray, high: np.ndarray, size: Size) -> bool:
    width_height = np.array(size[::-1])
    if (high < 0).any() or (low > width_height).any():
        raise DataError(
            f"lies outside of its image, at x {low[0]:.6g} to {high[0]:.6g}, y {low[1]:.6g} to {high[1]:.6g} "
            f"on {size[1]} x {size[0]} pixels: correct or remove it"
        )
    return bool((low < -_TOLERANCE).any() or (high > width_height + _TOLERANCE).any())
