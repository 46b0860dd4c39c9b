"""What hangs over a part's edge is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from augment.data.trimming import trimmed

Y, X = np.mgrid[:120, :160]
PART = np.hypot(Y - 60, X - 80) < 45
EIGHT = np.ones((3, 3))
MASKS = {
    "over the edge": np.hypot(Y - 60, X - 122) < 16,
    "bar across": np.abs(Y - 60) < 4,
    "two pieces": (np.hypot(Y - 60, X - 122) < 12) | (np.hypot(Y - 60, X - 60) < 8),
    "ring around": (np.hypot(Y - 60, X - 80) < 52) & (np.hypot(Y - 60, X - 80) > 38),
}


def off(mask):
    return (mask & ~PART).sum() / mask.sum()


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("allowed", [0.0, 0.05, 0.2])
def test_no_more_than_is_allowed_stays_off_the_part(name, allowed):
    mask = MASKS[name]
    left = trimmed(mask, PART, allowed)
    assert left.any() and not (left & ~mask).any()
    assert off(left) <= allowed
    assert (left & PART).sum() == (mask & PART).sum()
    assert ndimage.label(left, EIGHT)[1] <= ndimage.label(mask, EIGHT)[1]
    if off(mask) > allowed + 0.1:
        assert left.sum() < mask.sum()
    if allowed == 0.2:
        assert off(left) > 0.5 * min(allowed, off(mask))  # and not much less


def test_what_is_broken_apart_leaves_its_largest_piece():
    ring = np.hypot(Y - 60, X - 80)
    part = (ring < 45) & ~((np.abs(X - 100) < 6) & (Y < 70))  # with a slot
    bar = (np.abs(Y - 40) < 3) & (np.abs(X - 85) < 30)
    left = trimmed(bar, part, 0.0)
    assert ndimage.label(left, EIGHT)[1] == 1
    assert left[40, 60] and not left[40, 110]


def test_masks_on_the_part_or_off_it():
    inside = np.hypot(Y - 60, X - 80) < 10
    assert trimmed(inside, PART, 0.0) is inside
    outside = X > 150
    assert not trimmed(outside, PART, 0.5).any()
    assert trimmed(outside, PART, 1.0) is outside
