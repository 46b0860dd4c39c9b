"""A new place and outline for a training defect: its mask changed at random, and the way back to it.

All is worked out on the part of the image around the defect: a large image costs what a small one does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import cv2
import numpy as np
from scipy import ndimage

from augment.data.masks import mask_bounds, resize_mask
from augment.errors import DataError
from augment.recipe import MaskConfig

_EIGHT = np.ones((3, 3), dtype=bool)  # a pixel's neighbours, diagonals included
_SMALLEST_SPECK = 4  # pixels
_ATTEMPTS = 10
_LEAST_AREA, _LARGEST_AREA = 0.6, 3.0  # of a target mask, in those of its training mask
_WHOLE = 1024  # longer side of an image that is turned as a whole, pixels


def target_mask(
    training_masks: Sequence[np.ndarray],
    shape: tuple[int, int],
    config: MaskConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """One training mask, chosen and changed at random: a new place and outline for the same kind of defect.

    Mirroring and rotation are about the image's centre, so a defect of a round part's rim stays on the rim;
    scaling and the elastic change are about the defect's own, so it stays where it is. The result is 0.6 to 3
    times as large as the training mask (little of the defect leaves the image), without specks of fewer than
    4 pixels unless all of it is that small. Where ten attempts fail, the training mask itself is returned.

    Args:
        training_masks: bool (h, w), none empty; resized to `shape` where they differ.
        shape: (H, W) of the image to paint on.
        config: how far each change may go.
        rng: the only source of randomness; the same state gives the same mask.

    Returns:
        bool (H, W), never empty.

    Raises:
        DataError: there are no training masks.
    """
    return target_place(training_masks, shape, config, rng).mask


@dataclass(frozen=True)
class TargetPlace:
    """Where a defect is to be painted, and where in a training image it comes from.

    Only the part of the image around the defect is held: a large image costs no more than a small one.

    Attributes:
        shape: (H, W) of the image to paint on.
        chosen: index of the training mask it was made from.
        corner: (top, left) of the part; it may stick out of the image.
        part: bool (h, w), the target mask there; there is none of it elsewhere.
        way: float32 (h, w, 3), for each pixel of the part `(x v, y v, v)`: its place in the training image,
            in pixels of that image resized to (H, W), and how far (0 to 1) it has one; None: every pixel of
            the image comes from its own place.
    """

    shape: tuple[int, int]
    chosen: int
    corner: tuple[int, int]
    part: np.ndarray
    way: np.ndarray | None

    @property
    def mask(self) -> np.ndarray:
        """bool (H, W), the target mask."""
        return _placed(self.part, np.array(self.corner), self.shape)

    @property
    def field(self) -> np.ndarray:
        """float32 (H, W, 3): `way` for the whole image, 0 beyond the part."""
        return self._field((slice(0, self.shape[0]), slice(0, self.shape[1])))

    def moved(
        self, training_image: np.ndarray, image: np.ndarray, window: tuple[slice, slice] | None = None
    ) -> np.ndarray:
        """The training image carried along to the target's place, on `image` where it has no place.

        Args:
            training_image: uint8 (h, w, 3), the one of the chosen mask.
            image: uint8 (H, W, 3), what is painted on.
            window: rows and columns of `image` to return; None: all.
        """
        height, width = self.shape
        window = window or (slice(0, height), slice(0, width))
        if training_image.shape[:2] != self.shape:
            training_image = cv2.resize(training_image, (width, height), interpolation=cv2.INTER_AREA)
        field = self._field(window)
        share = field[..., 2:]
        x, y = np.moveaxis(field[..., :2] / np.maximum(share, 1e-3), -1, 0)
        moved = cv2.remap(training_image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.where(share >= 0.99, moved, image[window])

    def _field(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, columns = window
        start, size = (rows.start, columns.start), (rows.stop - rows.start, columns.stop - columns.start)
        if self.way is None:
            return _own_places(start, size)
        return _placed(self.way, np.subtract(self.corner, start), size)


def target_place(
    training_masks: Sequence[np.ndarray],
    shape: tuple[int, int],
    config: MaskConfig,
    rng: np.random.Generator,
) -> TargetPlace:
    """As `target_mask`, with the way back to the training image."""
    if not len(training_masks):
        raise DataError("There are no training masks to make target masks from.")
    chosen = int(rng.integers(len(training_masks)))
    original = resize_mask(training_masks[chosen], shape)
    for _ in range(_ATTEMPTS):
        corner, changed, way = _changed(original, config, rng)
        changed = _without_specks(changed)
        if _LEAST_AREA <= changed.sum() / original.sum() <= _LARGEST_AREA:
            return TargetPlace(tuple(shape), chosen, (int(corner[0]), int(corner[1])), changed, way)
    return TargetPlace(tuple(shape), chosen, (0, 0), original, None)


def _changed(
    mask: np.ndarray, config: MaskConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One random change of each kind: the (top, left) of a part of the image, bool (h, w) the mask there,
    which may be empty, and float32 (h, w, 3) the way back (see `TargetPlace`).
    """
    A = _albumentations()
    flip = 0.5 if config.flips else 0.0
    turns = [
        A.HorizontalFlip(p=flip),
        A.VerticalFlip(p=flip),
        A.Affine(rotate=(-config.rotation, config.rotation), p=1),
    ]
    shape = mask.shape
    corner, size = _turned_part(mask)
    field = _own_places(corner, size)
    if size != shape:
        rows, columns = (start + np.arange(length) for start, length in zip(corner, size, strict=True))
        inside = ((rows >= 0) & (rows < shape[0]))[:, None] & (columns >= 0) & (columns < shape[1])
        field *= inside[..., None]
        mask = _placed(mask, -corner, size)
    middle = (np.array(shape) - 1) / 2 - corner  # of the image; a shift makes it what is turned about
    mask, field, turned = _transformed(mask, field, turns, rng, middle)
    corner = corner + np.rint(middle - turned).astype(int)
    corner, mask, field = _inside(corner, mask, field, shape)
    if not mask.any():
        return corner, mask, field
    side, start = _surroundings(mask)
    patches = (_placed(layer, -start, (side, side)) for layer in (mask, field))
    steps = [A.Affine(scale=config.scale, keep_ratio=True, p=1)]
    if config.elastic > 0:
        steps.append(A.GridDistortion(num_steps=4, distort_limit=0.4 * config.elastic, p=1))
    mask, field, _ = _transformed(*patches, steps, rng)
    reach = config.translation * np.array(shape)
    corner = corner + start + np.rint(rng.uniform(-reach, reach)).astype(int)
    return _inside(corner, mask, field, shape)


def _turned_part(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Corner and size of what is turned: the whole image or, of a large one, a square around the defect.

    The square holds the defect and what `_surroundings` takes after any turn; it may stick out of the image.
    """
    if max(mask.shape) <= _WHOLE:
        return np.zeros(2, int), mask.shape
    low, high = mask_bounds(mask)
    side = int(np.ceil(2.2 * np.hypot(*(high - low)))) + 16
    if side >= min(mask.shape):
        return np.zeros(2, int), mask.shape
    return (low + high - side) // 2, (side, side)


def _inside(
    corner: np.ndarray, mask: np.ndarray, field: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A part of an image without what sticks out of it; one empty pixel where all of it does."""
    start, stop = np.maximum(corner, 0), np.minimum(corner + mask.shape, shape)
    if (start >= stop).any():
        return np.zeros(2, int), np.zeros((1, 1), bool), np.zeros((1, 1, 3), np.float32)
    rows, columns = (slice(*pair) for pair in zip(start - corner, stop - corner, strict=True))
    return start, mask[rows, columns], field[rows, columns]


def _own_places(corner: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """float32 (h, w, 3), `(x, y, 1)`: each pixel of a part of an image comes from its own place."""
    rows, columns = (start + np.arange(length) for start, length in zip(corner, size, strict=True))
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    return np.stack([x, y, np.ones_like(x)], axis=2)


def _transformed(
    mask: np.ndarray,
    field: np.ndarray,
    steps: Sequence,
    rng: np.random.Generator,
    point: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Apply albumentations steps to both alike, and to a point (row, column) where one is given, seeded from
    `rng`; the mask's threshold below 1/2 lets thin lines survive.
    """
    A, seed = _albumentations(), int(rng.integers(2**31))
    grey = A.Compose(steps, seed=seed)(image=mask.astype(np.uint8) * 255)["image"] >= 96
    if point is None:
        return grey, A.Compose(steps, seed=seed)(image=field)["image"], None
    follow = A.KeypointParams("xy", remove_invisible=False)
    moved = A.Compose(steps, seed=seed, keypoint_params=follow)(image=field, keypoints=[point[::-1]])
    return grey, moved["image"], np.array(moved["keypoints"][0])[::-1]


def _albumentations() -> ModuleType:
    """The package, imported on first use (it takes seconds) and kept from asking the network for updates."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _surroundings(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """Side and (top, left) of the square of 1.5 times the defect's longer side around it."""
    low, high = mask_bounds(mask)
    side = max(3 * int((high - low).max()) // 2, 8)
    return side, (low + high - side) // 2


def _placed(patch: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A canvas of `shape`, zero but for `patch` at `corner` (top, left), which is cut where it sticks out."""
    canvas = np.zeros((*shape, *patch.shape[2:]), dtype=patch.dtype)
    start = np.maximum(corner, 0)
    stop = np.maximum(np.minimum(corner + patch.shape[:2], shape), start)
    (top, left), (bottom, right) = start, stop
    inside = patch[top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]]
    canvas[top:bottom, left:right] = inside
    return canvas


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Drop 8-connected parts of fewer than 4 pixels, unless nothing else is there."""
    labels, _ = ndimage.label(mask, structure=_EIGHT)
    large = np.bincount(labels.ravel()) >= _SMALLEST_SPECK
    large[0] = False
    return large[labels] if large.any() else mask
