"""The looks of a real defect, spread over a mask of another shape."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from augment.data.masks import mask_bounds, resize_mask

_NARROWEST = 1.0  # pixels; the spread of a mask along an axis counts as this at least
_LARGEST, _MARGIN = 1024, 4  # longer side and border of what is lent, pixels
_MOST = 3.0  # times that what is lent is enlarged or shrunk along an axis


def lent(
    image: np.ndarray,
    mask: np.ndarray,
    example: np.ndarray,
    example_mask: np.ndarray,
    light: float = 1.0,
) -> np.ndarray:
    """An image that shows, all over a mask, what another image shows in its own mask.

    The one outline's middle, long axis and extent are laid on the other's, so that a crack runs along a line
    that is drawn for it; what goes beyond the real defect is mirrored at its outline.

    Args:
        image: uint8 (H, W, 3), to be painted on.
        mask: bool (H, W), not empty.
        example: uint8 (h, w, 3), which shows a real defect.
        example_mask: bool (h, w), its mask, not empty.
        light: what is shown is this many times as bright as in the example.

    Returns:
        uint8 (H, W, 3), outside `mask` the image.
    """
    example, example_mask = _cut(example, example_mask)
    rows, columns = np.nonzero(mask)
    here, there = _Frame.of(mask), _Frame.of(example_mask)
    offset = (np.stack([columns, rows], axis=1) - here.middle) @ here.axes
    scale = np.clip(there.extent / here.extent, 1 / _MOST, _MOST)
    wanted = there.middle + (offset * scale) @ there.axes.T
    x, y = _mirrored_into(example_mask, wanted).astype(np.float32).T
    # In any shape the points are as good, but cv2 takes no more than 32767 of them in a line.
    width = min(len(x), 4096)
    pad = -len(x) % width
    x, y = (np.pad(part, (0, pad)).reshape(-1, width) for part in (x, y))
    example = example[tuple(_nearest(example_mask))]  # between the outline's pixels and what is beyond, too
    shown = cv2.remap(example, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if light != 1:
        shown = np.clip(np.rint(shown * light), 0, 255).astype(np.uint8)
    result = image.copy()
    result[rows, columns] = shown.reshape(-1, 3)[: len(rows)]
    return result


def _cut(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What there is of a defect, at most 1024 pixels a side; a large image costs no more than a small one."""
    low, high = mask_bounds(mask)
    around = tuple(
        slice(max(0, start - _MARGIN), stop + _MARGIN) for start, stop in zip(low, high, strict=True)
    )
    image, mask = image[around], mask[around]
    scale = min(1.0, _LARGEST / max(mask.shape))
    if scale == 1:
        return image, mask
    size = height, width = tuple(max(1, round(side * scale)) for side in mask.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), resize_mask(mask, size)


def _nearest(mask: np.ndarray) -> np.ndarray:
    """(2, h, w), for each cell the row and column of the nearest one of the mask."""
    return ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)


def elongation(mask: np.ndarray) -> float:
    """How many times as far a mask (bool, not empty) reaches along its long axis as across it, 1 or more."""
    long, short = _Frame.of(mask).extent
    return float(long / short)


@dataclass(frozen=True)
class _Frame:
    """Where a mask lies and how far it reaches.

    Attributes:
        middle: (x, y).
        axes: (2, 2), its long and its short axis as columns.
        extent: (2,) its spread along them, pixels.
    """

    middle: np.ndarray
    axes: np.ndarray
    extent: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _Frame:
        points = np.stack(np.nonzero(mask)[::-1], axis=1).astype(float)
        middle = points.mean(axis=0)
        spread = (points - middle).T @ (points - middle) / len(points)
        variances, axes = np.linalg.eigh(spread)
        axes = axes[:, ::-1]
        axes *= np.where(np.diag(axes) < 0, -1, 1)  # of the two ways each points, one
        return cls(middle, axes, np.sqrt(np.maximum(variances[::-1], _NARROWEST)))


def _mirrored_into(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) as (x, y), those off the mask mirrored at its outline, or else moved to it."""
    corner = np.minimum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    end = np.maximum(np.ceil(points.max(axis=0)).astype(int) + 2, mask.shape[::-1])
    before, after = -corner[::-1], end[::-1] - mask.shape
    near = np.pad(mask, list(zip(before, after, strict=True)))
    nearest = _nearest(near)

    def cells(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        column, row = (np.rint(places).astype(int) - corner).T
        return np.clip(row, 0, near.shape[0] - 1), np.clip(column, 0, near.shape[1] - 1)

    row, column = nearest[:, *cells(points)]
    edge = np.stack([column, row], axis=1) + corner
    mirrored = 2 * edge - points
    is_on, meets = near[cells(points)], near[cells(mirrored)]
    return np.where(is_on[:, None], points, np.where(meets[:, None], mirrored, edge))
