"""A start that is made of two real defects: another one in a part of the first one's outline.

Ten defects give ten looks, however they are turned and bent. Here a second one is laid on the first one's
target place, by the same random changes that make such places, and shows in half of what the two share.
"""

from __future__ import annotations

import cv2
import numpy as np

from augment.data.masks import feather, mask_bounds, resize_mask
from augment.data.moves import STAY
from augment.data.places import Parts, compared_size
from augment.data.poses import agreement
from augment.data.target_place import TargetPlace, target_place
from augment.recipe import MaskConfig

_TRIES = 8  # places of a second defect
_LEAST = 0.35  # IoU of its outline there and the first one's
_PATCH = 0.4  # size of the patches in which it shows, in roots of the area shared
_BLEND = 1 / 24  # width of the blend between the two, in the same
_SMALLEST = 8.0  # pixels; patches any smaller than this would be grain


def second_place(
    training_mask: np.ndarray,
    target: np.ndarray,
    config: MaskConfig,
    rng: np.random.Generator,
    parts: Parts | None = None,
) -> TargetPlace | None:
    """Of some random places of a training defect, the one whose outline is most like another's target mask.

    Args:
        training_mask: bool (h, w), not empty.
        target: bool (H, W), the other's target mask, not empty.
        config: how far a place may lie from the training defect's own.
        rng: the only source of randomness.
        parts: where the parts are in the training image and in the one to paint on. None: not known, or the
            images are filled by a texture; the defect may then lie anywhere.

    Returns:
        The place, at the target's size; None where even the best has another outline (an IoU below 0.35), and
        for a target of less than 20 x 20 pixels, in which no patches could be made out.
    """
    if target.sum() < (_SMALLEST / _PATCH) ** 2:
        return None
    shape = compared_size(target.shape)
    small, there = resize_mask(training_mask, shape), resize_mask(target, shape)
    near = parts if parts is None else parts.resized(shape)
    closest, best = 0.0, None
    for seed in rng.integers(2**63, size=_TRIES):
        place = _place(small, there, config, int(seed), near)
        alike = agreement(place.mask, there)
        if alike > closest:
            closest, best = alike, int(seed)
    if closest < _LEAST:
        return None
    place = _place(training_mask, target, config, best, parts)
    return place if agreement(place.mask, target) >= _LEAST else None


def _place(
    mask: np.ndarray, target: np.ndarray, config: MaskConfig, seed: int, parts: Parts | None
) -> TargetPlace:
    """One random place; where it may be anywhere, with its middle on the target's."""
    move = STAY if parts is None else parts.move(target.shape)
    place = target_place([mask], target.shape, config, np.random.default_rng(seed), move)
    if parts is not None:
        return place
    shift = sum(mask_bounds(target)) - sum(mask_bounds(place.mask))
    return place.shifted((int(shift[0]) // 2, int(shift[1]) // 2))


def mixed(first: np.ndarray, second: np.ndarray, shared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One image in patches of another, which cover half of a mask.

    Args:
        first, second: uint8 (H, W, 3).
        shared: bool (H, W), where the second may show, not empty.
        rng: of the patches.

    Returns:
        uint8 (H, W, 3), outside `shared` the first one.
    """
    side = np.sqrt(shared.sum())
    grid = [int(length / (_PATCH * side)) + 3 for length in shared.shape]
    waves = cv2.resize(rng.standard_normal(grid), shared.shape[::-1], interpolation=cv2.INTER_CUBIC)
    patches = shared & (waves > np.median(waves[shared]))
    alpha = feather(patches, max(1.0, _BLEND * side))[..., None]
    return np.rint((1 - alpha) * first + alpha * second).astype(np.uint8)
