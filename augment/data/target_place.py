"""A new place and outline for a training defect: its mask changed at random, and the way back to it.

All is worked out on the part of the image around the defect: a large image costs what a small one does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import cv2
import numpy as np
from scipy import ndimage

from augment.data.masks import mask_bounds, resize_mask
from augment.data.moves import STAY, Move
from augment.data.patches import cut_to_image, is_inside, own_places, placed
from augment.errors import DataError
from augment.recipe import MaskConfig

_EIGHT = np.ones((3, 3), dtype=bool)  # a pixel's neighbours, diagonals included
_SMALLEST_SPECK = 4  # pixels
_ATTEMPTS = 10
STILL = MaskConfig(flips=False, rotation=0.0, scale=(1.0, 1.0), translation=0.0, elastic=0.0)
"""Nothing is changed."""
LEAST_AREA, _LARGEST_AREA = 0.6, 3.0  # of a target mask, in those of its training mask
_FINE = 96  # side of the square in which a defect is bent, pixels; one of a smaller defect is enlarged
_LINEAR = {"interpolation": cv2.INTER_LINEAR, "mask_interpolation": cv2.INTER_LINEAR}
_WHOLE = 1024  # longer side of an image that is turned as a whole, pixels


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
        return placed(self.part, np.array(self.corner), self.shape)

    @property
    def field(self) -> np.ndarray:
        """float32 (H, W, 3): `way` for the whole image, 0 beyond the part."""
        return self._field((slice(0, self.shape[0]), slice(0, self.shape[1])))

    def moved(
        self,
        training_image: np.ndarray,
        image: np.ndarray,
        window: tuple[slice, slice] | None = None,
        interpolation: int = cv2.INTER_CUBIC,
    ) -> np.ndarray:
        """The training image carried along to the target's place, on `image` where it has no place.

        Args:
            training_image: uint8 (h, w, 3), the one of the chosen mask.
            image: uint8 (H, W, 3), what is painted on.
            window: rows and columns of `image` to return; None: all.
            interpolation: cv2's; bilinear is quicker, and takes a third of the contrast of grain.
        """
        height, width = self.shape
        window = window or (slice(0, height), slice(0, width))
        if training_image.shape[:2] != self.shape:
            training_image = cv2.resize(training_image, (width, height), interpolation=cv2.INTER_AREA)
        field = self._field(window)
        share = field[..., 2:]
        x, y = np.moveaxis(field[..., :2] / np.maximum(share, 1e-3), -1, 0)
        moved = cv2.remap(training_image, x, y, interpolation, borderMode=cv2.BORDER_REFLECT_101)
        return np.where(share >= 0.99, moved, image[window])

    def within(self, mask: np.ndarray) -> TargetPlace:
        """The same place with less of the target mask: bool (H, W)."""
        return replace(self, part=placed(mask, -np.array(self.corner), self.part.shape))

    def shifted(self, offset: tuple[int, int]) -> TargetPlace:
        """The place with all that is carried to it, shifted by (rows, columns)."""
        part, way, corner = self.part, self.way, np.array(self.corner)
        if way is None:  # what is around the defect is enough
            around, size = _turned_part(self.mask)
            corner, part, way = cut_to_image(
                around, placed(self.mask, -around, size), own_places(around, size), self.shape
            )
        corner, part, way = cut_to_image(corner + offset, part, way, self.shape)
        return TargetPlace(self.shape, self.chosen, (int(corner[0]), int(corner[1])), part, way)

    def _field(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, columns = window
        start, size = (rows.start, columns.start), (rows.stop - rows.start, columns.stop - columns.start)
        if self.way is None:
            return own_places(start, size)
        return placed(self.way, np.subtract(self.corner, start), size)


def target_place(
    training_masks: Sequence[np.ndarray],
    shape: tuple[int, int],
    config: MaskConfig,
    rng: np.random.Generator,
    move: Move = STAY,
) -> TargetPlace:
    """One training mask, chosen and changed at random: a new place and outline for the same kind of defect.

    Mirroring and rotation are about the image's centre, so a defect of a round part's rim stays on the rim;
    scaling and the elastic change are about the defect's own, so it stays where it is. The result is 0.6 to 3
    times as large as the training mask (little of the defect leaves the image), without specks of fewer than
    4 pixels unless all of it is that small. Where ten attempts fail, the training mask itself is returned.

    Args:
        training_masks: bool (h, w), none empty; resized to `shape` where they differ.
        shape: (H, W) of the image to paint on.
        config: how far each change may go.
        rng: the only source of randomness; the same state gives the same place.
        move: from the part in the training image to the part in the image to paint on; the changes are then
            about the part's middle and along its axis, and `shape` is that of both images.

    Raises:
        DataError: there are no training masks.
    """
    if not len(training_masks):
        raise DataError("There are no training masks to make target masks from.")
    chosen = int(rng.integers(len(training_masks)))
    original = resize_mask(training_masks[chosen], shape)
    lifted = _lifted(original, move)
    if not lifted[1].any():
        move = STAY
        lifted = _lifted(original, move)
    area = lifted[1].sum()
    for attempt in range(_ATTEMPTS + 1):
        is_last = attempt == _ATTEMPTS
        if is_last and move is STAY:
            break
        corner, changed, way = _changed(lifted, shape, STILL if is_last else config, rng, move)
        changed = _without_specks(changed)
        if LEAST_AREA <= changed.sum() / area <= _LARGEST_AREA:
            return TargetPlace(tuple(shape), chosen, (int(corner[0]), int(corner[1])), changed, way)
    return TargetPlace(tuple(shape), chosen, (0, 0), original, None)


Layers = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The (top, left) of a part of an image, bool (h, w) the mask there, and float32 (h, w, 3) the way back."""


def _lifted(mask: np.ndarray, move: Move) -> Layers:
    """The part of the move's canvas that is turned, with the mask and the way back to where it comes from."""
    shape, matrix = mask.shape, move.matrix
    corner, size = _turned_part(mask, matrix)
    if size == shape:
        return corner, *move.lifted(mask, own_places(corner, size))
    inside = is_inside(corner, size, shape)
    if matrix is None:
        return corner, placed(mask, -corner, size), own_places(corner, size) * inside[..., None]
    ends = corner[::-1] + np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]])
    sources = cv2.transform(ends[None].astype(float), cv2.invertAffineTransform(matrix))[0][:, ::-1]
    start = np.clip(np.floor(sources.min(axis=0)).astype(int) - 2, 0, np.array(shape) - 1)
    stop = np.clip(np.ceil(sources.max(axis=0)).astype(int) + 2, start + 1, shape)
    there = np.array(matrix, dtype=float)
    there[:, 2] += there[:, :2] @ start[::-1] - corner[::-1]
    grey = mask[start[0] : stop[0], start[1] : stop[1]].astype(np.uint8) * 255
    field = own_places(start, (int(stop[0] - start[0]), int(stop[1] - start[1])))
    grey, field = (cv2.warpAffine(layer, there, size[::-1]) for layer in (grey, field))
    return corner, (grey >= 96) & inside, field * inside[..., None]


def _changed(
    lifted: Layers, shape: tuple[int, int], config: MaskConfig, rng: np.random.Generator, move: Move
) -> Layers:
    """What was lifted after one random change of each kind, in the image; the mask may be empty."""
    A = _albumentations()
    across, down = (0.5 if config.flips and may else 0.0 for may in move.flips)
    turns = [
        A.HorizontalFlip(p=across),
        A.VerticalFlip(p=down),
        A.Affine(rotate=(move.angle - config.rotation, move.angle + config.rotation), p=1, **_LINEAR),
    ]
    corner, mask, field = lifted
    middle = (np.array(shape) - 1) / 2 - corner  # of the canvas; a shift makes it what is turned about
    mask, field, turned = _transformed(mask, field, turns, rng, middle)
    corner = corner + np.rint(middle - turned).astype(int)
    corner, mask, field = cut_to_image(corner, mask, field, shape)
    corner, mask, field = cut_to_image(corner + move.offset, mask, field, shape)
    if not mask.any():
        return corner, mask, field
    side, start = _surroundings(mask)
    mask, field = (placed(layer, -start, (side, side)) for layer in (mask, field))
    steps = [A.Affine(scale=config.scale, keep_ratio=True, p=1, **_LINEAR)]
    if config.elastic > 0:
        steps.append(A.GridDistortion(num_steps=4, distort_limit=0.4 * config.elastic, p=1, **_LINEAR))
    if side >= _FINE or (config.scale == (1.0, 1.0) and config.elastic == 0):
        mask, field, _ = _transformed(mask, field, steps, rng)
    else:  # pixel by pixel, a small round defect would come out in corners
        mask, field, _ = _transformed(*_enlarged(mask, field, _FINE), steps, rng)
        mask, field = _shrunk(mask, field, side)
    reach = config.translation * np.array(shape)
    corner = corner + start + np.rint(rng.uniform(-reach, reach)).astype(int)
    if move.matrix is None:
        corner = corner + _back_to_edges(corner, mask, field, shape)
    return cut_to_image(corner, mask, field, shape)


def _back_to_edges(
    corner: np.ndarray, mask: np.ndarray, field: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """The shift (rows, columns) by which an edge again cuts off a defect that its own image's edge cuts off.

    Moved inwards, it would end in a straight line in the middle of nowhere. One that runs from edge to edge
    stays where it is.
    """
    shown = np.pad(field[..., 2] >= 0.99, 1)
    inside = mask & shown[1:-1, 1:-1]
    cuts = np.array(  # (2, 2, h, w): along each axis, where nothing is known of the pixel before, and after
        [[inside & ~np.roll(shown, way, axis)[1:-1, 1:-1] for way in (1, -1)] for axis in (0, 1)]
    )
    lengths = cuts.sum(axis=(2, 3))
    is_cut = lengths > lengths.max() / 2  # less: the steps of a line that has been turned a little
    shift = np.zeros(2, dtype=int)
    for axis, (first, last) in enumerate(is_cut):
        if first != last:
            at = np.nonzero(cuts[axis, int(last)])[axis] + corner[axis]
            shift[axis] = max(0, shape[axis] - 1 - at.min()) if last else min(0, -at.max())
    return shift


def _turned_part(mask: np.ndarray, matrix: np.ndarray | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """Corner and size of what is turned: the whole canvas or, of a large one, a square around the defect.

    The square holds the defect and what `_surroundings` takes after any turn; it may stick out of the canvas.

    Args:
        mask: bool (H, W), not empty.
        matrix: float (2, 3), from the mask's image to the canvas; None: it is the image.
    """
    if max(mask.shape) <= _WHOLE:
        return np.zeros(2, int), mask.shape
    low, high = mask_bounds(mask)
    if matrix is not None:
        ends = np.array([[x, y] for y in (low[0], high[0]) for x in (low[1], high[1])], dtype=float)
        ends = cv2.transform(ends[None], matrix)[0][:, ::-1]
        low, high = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int)
    side = int(np.ceil(2.2 * np.hypot(*(high - low)))) + 16
    if side >= min(mask.shape):
        return np.zeros(2, int), mask.shape
    return (low + high - side) // 2, (side, side)


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
    layers = {"image": field, "mask": mask.view(np.uint8) * np.uint8(255)}
    if point is None:
        changed = A.Compose(steps, seed=seed)(**layers)
        return changed["mask"] >= 96, changed["image"], None
    follow = A.KeypointParams("xy", remove_invisible=False)
    changed = A.Compose(steps, seed=seed, keypoint_params=follow)(**layers, keypoints=[point[::-1]])
    return changed["mask"] >= 96, changed["image"], np.array(changed["keypoints"][0])[::-1]


def _enlarged(mask: np.ndarray, field: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A square mask and the way back, at a larger size; the mask with a smooth outline."""
    grey = cv2.resize(mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_LINEAR)
    return grey >= 128, cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR)


def _shrunk(mask: np.ndarray, field: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The way back from `_enlarged`; the threshold below 1/2 lets thin lines survive."""
    grey = cv2.resize(mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA)
    return grey >= 96, cv2.resize(field, (side, side), interpolation=cv2.INTER_AREA)


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


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Drop 8-connected parts of fewer than 4 pixels, unless nothing else is there."""
    labels, _ = ndimage.label(mask, structure=_EIGHT)
    large = np.bincount(labels.ravel()) >= _SMALLEST_SPECK
    large[0] = False
    return large[labels] if large.any() else mask
