"""Where on a good part a training defect may be painted: at a place that looks like its own, on the part."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from augment.data.masks import resize_mask
from augment.data.target_place import TargetPlace, target_place
from augment.recipe import MaskConfig

_SIDE = 160  # longer side at which places are compared, pixels
_RING = 5  # width of the surroundings compared, pixels of that size
_MOST = 64.0  # grey levels; a pixel that differs more counts as this
_PLAIN = 12  # grey levels by which plain ground may differ from its median colour
_FRAME = 0.8  # share of an image's frame that is ground, where there is any


def best_place(
    training_mask: np.ndarray,
    training_image: np.ndarray,
    image: np.ndarray,
    config: MaskConfig,
    rng: np.random.Generator,
) -> TargetPlace:
    """Of `config.candidates` random places, the one whose surroundings are most like the training image's.

    A chip of a rim then lies on the rim, and what ends at a part's edge still ends there, without a model of
    the part; on a texture, where all places are alike, any is taken. Where a part lies on plain ground, a
    place counts as the less like, the more of the mask lies on the ground than does in the training image.

    Args:
        training_mask: bool (h, w), not empty.
        training_image: uint8 (h, w, 3).
        image: uint8 (H, W, 3), to be painted on.
        config: how far a place may lie from the training defect's own, and the number of candidates.
        rng: the only source of randomness.

    Returns:
        The place, at the size of `image`.
    """
    shape = image.shape[:2]
    seeds = rng.integers(2**63, size=max(1, config.candidates))
    if len(seeds) == 1:
        return target_place([training_mask], shape, config, np.random.default_rng(seeds[0]))
    scale = min(1.0, _SIDE / max(shape))
    small = (max(8, round(shape[0] * scale)), max(8, round(shape[1] * scale)))
    size = small[::-1]
    mask = resize_mask(training_mask, small)
    here, there = (cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (image, training_image))
    ground, usual = plain_ground(here), share_on(plain_ground(there), mask)
    gaps = []
    for seed in seeds:
        place = target_place([mask], small, config, np.random.default_rng(seed))
        excess = max(0.0, share_on(ground, place.mask) - usual)
        gaps.append(surroundings_gap(place, there, here) + 2 * _MOST * excess)
    return target_place([training_mask], shape, config, np.random.default_rng(seeds[int(np.argmin(gaps))]))


def surroundings_gap(place: TargetPlace, training_image: np.ndarray, image: np.ndarray) -> float:
    """How unlike the surroundings of a defect are to what it would be painted next to.

    Args:
        place: of size (H, W).
        training_image, image: uint8 (H, W, 3).

    Returns:
        Mean difference in grey levels over a ring around the mask, an even change of light apart, 0 to 64;
        where the training image shows nothing, it counts as 64.
    """
    ring = cv2.dilate(place.mask.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0
    ring &= ~place.mask
    if not ring.any():
        return 0.0
    shown = place.field[ring][:, 2] >= 0.99
    if not shown.any():
        return _MOST
    change = place.moved(training_image, image)[ring][shown].astype(np.float32) - image[ring][shown]
    change = np.abs(change - np.median(change, axis=0)).max(axis=1)
    return float((np.minimum(change, _MOST).sum() + _MOST * (~shown).sum()) / len(shown))


def plain_ground(image: np.ndarray) -> np.ndarray:
    """The plain ground around a part: what is of one colour and reaches the image's frame.

    Args:
        image: uint8 (h, w, 3).

    Returns:
        bool (h, w); False everywhere where less than four fifths of the frame are of one colour (a texture
        fills the image), or where nearly all of the image is.
    """
    frame = np.ones(image.shape[:2], dtype=bool)
    frame[2:-2, 2:-2] = False
    colour = np.median(image[frame], axis=0)
    plain = np.abs(image - colour).max(axis=2) <= _PLAIN
    if plain[frame].mean() < _FRAME or plain.mean() > 0.9:
        return np.zeros_like(plain)
    labels, _ = ndimage.label(plain)
    return np.isin(labels, np.unique(labels[frame & plain]))


def share_on(ground: np.ndarray, mask: np.ndarray) -> float:
    """The share of a mask (not empty) that lies on the ground, 0 to 1."""
    return float(ground[mask].mean())
