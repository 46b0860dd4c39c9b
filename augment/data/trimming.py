"""Cutting off what of a target mask hangs over the part's edge, by more than real defects do."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_EIGHT = np.ones((3, 3), dtype=bool)


def trimmed(mask: np.ndarray, part: np.ndarray, allowed: float) -> np.ndarray:
    """A mask of which no more than an allowed share lies off the part: the farthest is cut off.

    The cut runs at one distance from the part, so it is as smooth as the part's outline; of what it breaks in
    pieces only the largest stays, so that no more pieces are left than there were.

    Args:
        mask: bool (H, W), not empty.
        part: bool (H, W), not empty.
        allowed: share, 0 to 1.

    Returns:
        bool (H, W), inside `mask`; empty where all of it would have to go.
    """
    around = _around(mask)  # an image may be large, and its masks small
    mine, there = mask[around], part[around]
    off = mine & ~there
    size, on = int(mine.sum()), int((mine & there).sum())
    if size - on <= allowed * size:
        return mask
    left = np.zeros_like(mask)
    if not on:
        return left
    distances = ndimage.distance_transform_edt(~there)
    reaches = np.sort(distances[off])
    most = int(allowed / (1 - allowed) * on)  # pixels that may stay, so that off / (on + off) is allowed
    reach = reaches[most - 1] if most else 0.0
    if reach == reaches[most]:  # those at one distance go together
        reach = np.nextafter(reach, 0)
    left[around] = _largest_pieces(mine & (distances <= reach), mine)
    return left


def _around(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that a mask takes, and a quarter more on each side."""
    slices = []
    for axis in (1, 0):
        found = np.flatnonzero(mask.any(axis=axis))
        more = 1 + (found[-1] - found[0]) // 4
        slices.append(slice(max(0, found[0] - more), found[-1] + more + 1))
    return slices[0], slices[1]


def _largest_pieces(left: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of each piece that there was, the largest that is left."""
    pieces, _ = ndimage.label(left, _EIGHT)
    sizes = np.bincount(pieces.ravel())
    old, count = ndimage.label(before, _EIGHT)
    kept = []
    for number in range(1, count + 1):
        inside = np.unique(pieces[(old == number) & left])
        if len(inside):
            kept.append(int(inside[np.argmax(sizes[inside])]))
    return np.isin(pieces, kept) & left
