"""A part of an image, with where it lies in it and where each of its pixels comes from.

Its corner (top, left) is whole numbers, and it may stick out of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def placed(patch: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A canvas of `shape`, zero but for `patch` at `corner` (top, left), which is cut where it sticks out."""
    canvas = np.zeros((*shape, *patch.shape[2:]), dtype=patch.dtype)
    start = np.maximum(corner, 0)
    stop = np.maximum(np.minimum(corner + patch.shape[:2], shape), start)
    (top, left), (bottom, right) = start, stop
    inside = patch[top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]]
    canvas[top:bottom, left:right] = inside
    return canvas


def is_inside(corner: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """bool (h, w): which pixels of a part lie in the image."""
    rows, columns = (start + np.arange(length) for start, length in zip(corner, size, strict=True))
    return ((rows >= 0) & (rows < shape[0]))[:, None] & (columns >= 0) & (columns < shape[1])


def cut_to_image(
    corner: np.ndarray, mask: np.ndarray, field: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A part of an image without what sticks out of it; one empty pixel where all of it does."""
    start, stop = np.maximum(corner, 0), np.minimum(corner + mask.shape, shape)
    if (start >= stop).any():
        return np.zeros(2, int), np.zeros((1, 1), bool), np.zeros((1, 1, 3), np.float32)
    rows, columns = (slice(*pair) for pair in zip(start - corner, stop - corner, strict=True))
    return start, mask[rows, columns], field[rows, columns]


def own_places(corner: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """float32 (h, w, 3), `(x, y, 1)`: each pixel of a part of an image comes from its own place."""
    rows, columns = (start + np.arange(length) for start, length in zip(corner, size, strict=True))
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    return np.stack([x, y, np.ones_like(x)], axis=2)
