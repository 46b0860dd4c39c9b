"""Masks that say where to paint: changed training masks, random shapes, and the blend at their edges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from augment.data.images import is_folder, list_images, read_mask
from augment.data.moves import STAY, Move
from augment.errors import DataError
from augment.recipe import MaskConfig

_EIGHT = np.ones((3, 3), dtype=bool)  # a pixel's neighbours, diagonals included
_SMALLEST_SPECK = 4  # pixels
_ATTEMPTS = 10
STILL = MaskConfig(flips=False, rotation=0.0, scale=(1.0, 1.0), translation=0.0, elastic=0.0)
"""Nothing is changed."""
LEAST_AREA, _LARGEST_AREA = 0.6, 3.0  # of a target mask, in those of its training mask


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

    Attributes:
        mask: bool (H, W), the target mask.
        chosen: index of the training mask it was made from.
        field: float32 (H, W, 3), for each pixel `(x v, y v, v)`: its place in the training image, in pixels
            of that image resized to (H, W), and how far (0 to 1) it has one.
    """

    mask: np.ndarray
    chosen: int
    field: np.ndarray

    def moved(self, training_image: np.ndarray, image: np.ndarray) -> np.ndarray:
        """The training image carried along to the target's place, on `image` where it has no place.

        Args:
            training_image: uint8 (h, w, 3), the one of the chosen mask.
            image: uint8 (H, W, 3), what is painted on.
        """
        height, width = image.shape[:2]
        resized = cv2.resize(training_image, (width, height), interpolation=cv2.INTER_AREA)
        share = self.field[..., 2:]
        x, y = np.moveaxis(self.field[..., :2] / np.maximum(share, 1e-3), -1, 0)
        moved = cv2.remap(resized, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.where(share >= 0.99, moved, image)


def target_place(
    training_masks: Sequence[np.ndarray],
    shape: tuple[int, int],
    config: MaskConfig,
    rng: np.random.Generator,
    move: Move = STAY,
) -> TargetPlace:
    """As `target_mask`, with the way back to the training image.

    Args:
        move: from the part in the training image to the part in the image to paint on; the changes are then
            about the part's middle and along its axis, and `shape` is that of both images.
    """
    if not len(training_masks):
        raise DataError("There are no training masks to make target masks from.")
    chosen = int(rng.integers(len(training_masks)))
    original = resize_mask(training_masks[chosen], shape)
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    field = np.stack([x, y, np.ones_like(x)], axis=2)
    lifted, from_there = move.lifted(original, field)
    if not lifted.any():
        lifted, from_there, move = original, field, STAY
    for attempt in range(_ATTEMPTS + 1):
        is_last = attempt == _ATTEMPTS
        if is_last and move is STAY:
            break
        changed, moved = _changed(lifted, from_there, STILL if is_last else config, rng, move)
        changed = _without_specks(changed)
        if LEAST_AREA <= changed.sum() / lifted.sum() <= _LARGEST_AREA:
            return TargetPlace(changed, chosen, moved)
    return TargetPlace(original, chosen, field)


def read_mask_folder(folder: Path) -> list[np.ndarray]:
    """The masks of a folder of the user's own (`MaskConfig.folder`), sorted by name: bool, of any size.

    Raises:
        DataError: no such folder, no images in it, or a mask that is unreadable or empty.
    """
    masks = [read_mask(path) for path in list_images(folder)] if is_folder(folder) else []
    if not masks:
        raise DataError(
            f"The mask folder {folder} holds no masks: expected png, jpg, bmp or tif files in it."
        )
    return masks


def random_mask(
    shape: tuple[int, int], rng: np.random.Generator, area: tuple[float, float] = (0.01, 0.25)
) -> np.ndarray:
    """One to three blobs, polygons or strokes at random, for training where there are no defects.

    Args:
        shape: (H, W).
        rng: the only source of randomness.
        area: the smallest and largest share of the image covered; drawn evenly on a logarithmic scale.

    Returns:
        bool (H, W), never empty.
    """
    height, width = shape
    for _ in range(_ATTEMPTS):
        share = np.exp(rng.uniform(*np.log(area)))
        count = rng.integers(1, 4)
        canvas = Image.new("1", (width, height))
        for _ in range(count):
            outline = (_blob, _polygon, _stroke)[rng.integers(3)](rng)
            outline *= np.sqrt(share * height * width / count / _enclosed_area(outline))
            outline += rng.uniform((0, 0), (width, height))
            ImageDraw.Draw(canvas).polygon([tuple(point) for point in outline], fill=1)
        mask = np.array(canvas)
        if mask.any() and area[0] <= mask.mean() <= area[1]:
            return mask
    mask = np.zeros(shape, dtype=bool)
    share = np.sqrt(np.sqrt(area[0] * area[1]))  # of each side, for the mean area in the middle
    rows, columns = (max(1, round(share * side)) for side in shape)
    top, left = (height - rows) // 2, (width - columns) // 2
    mask[top : top + rows, left : left + columns] = True
    return mask


def feather(mask: np.ndarray, width: int) -> np.ndarray:
    """The weight of the painted pixels: 0 outside the mask, rising to 1 inside it over `width` pixels.

    Where the mask is too thin for the whole ramp, it is steeper: every part still reaches 1 at its ridge.
    The image's border is no edge of the mask.

    Args:
        mask: bool (H, W).
        width: pixels below 1 along an edge; 0 gives the mask itself.

    Returns:
        float32 (H, W) in [0, 1].
    """
    if width == 0 or mask.all():
        return mask.astype(np.float32)
    distance = ndimage.distance_transform_edt(mask)  # 1 at the edge's inner pixels
    ridge = distance
    for _ in range(width):  # the greatest distance nearby, carried along inside the mask only
        ridge = np.where(mask, ndimage.maximum_filter(ridge, size=3), 0)
    full = np.clip(ridge, 1, width + 1)
    return np.minimum(distance / full, 1).astype(np.float32)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a bool mask to (H, W): along an axis that shrinks, every pixel that a defect touches counts, so
    thin defects survive; along one that grows, the nearest pixel decides.
    """
    for axis, new in enumerate(shape):
        mask = _resize_axis(mask, new, axis)
    return mask


def _resize_axis(mask: np.ndarray, new: int, axis: int) -> np.ndarray:
    old = mask.shape[axis]
    if new == old:
        return mask
    if new > old:
        return mask.take((2 * np.arange(new) + 1) * old // (2 * new), axis=axis)
    start, stop = np.arange(new) * old // new, -(-np.arange(1, new + 1) * old // new)
    counts = np.insert(mask.cumsum(axis=axis), 0, 0, axis=axis)
    return counts.take(stop, axis=axis) > counts.take(start, axis=axis)


def _changed(
    mask: np.ndarray, field: np.ndarray, config: MaskConfig, rng: np.random.Generator, move: Move
) -> tuple[np.ndarray, np.ndarray]:
    """`mask` and `field`, on the move's canvas, after one random change of each kind, in the image; the mask
    may be empty.
    """
    A = _albumentations()
    across, down = (0.5 if config.flips and may else 0.0 for may in move.flips)
    mask, field = _transformed(
        mask,
        field,
        [
            A.HorizontalFlip(p=across),
            A.VerticalFlip(p=down),
            A.Affine(rotate=(move.angle - config.rotation, move.angle + config.rotation), p=1),
        ],
        rng,
    )
    mask, field = move.laid(mask, field)
    if not mask.any():
        return mask, field
    side, corner = _surroundings(mask)
    patches = (_placed(layer, -corner, (side, side)) for layer in (mask, field))
    steps = [A.Affine(scale=config.scale, keep_ratio=True, p=1)]
    if config.elastic > 0:
        steps.append(A.GridDistortion(num_steps=4, distort_limit=0.4 * config.elastic, p=1))
    patches = _transformed(*patches, steps, rng)
    reach = config.translation * np.array(mask.shape)
    corner = corner + np.rint(rng.uniform(-reach, reach)).astype(int)
    mask, field = (_placed(layer, corner, mask.shape) for layer in patches)
    return mask, field


def _transformed(
    mask: np.ndarray, field: np.ndarray, steps: Sequence, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Apply albumentations steps to both alike, seeded from `rng`; the mask's threshold below 1/2 lets thin
    lines survive.
    """
    seed = int(rng.integers(2**31))
    grey, field = (
        _albumentations().Compose(steps, seed=seed)(image=layer)["image"]
        for layer in (mask.astype(np.uint8) * 255, field)
    )
    return grey >= 96, field


def _albumentations() -> ModuleType:
    """The package, imported on first use (it takes seconds) and kept from asking the network for updates."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _surroundings(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """Side and (top, left) of the square of 1.5 times the defect's longer side around it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    low, high = np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]]) + 1
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


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A smooth closed curve (64, 2) about the origin: an ellipse with a few waves."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = sum(rng.uniform(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    radius = np.maximum(1 + waves, 0.2)
    curve = np.stack([radius * np.cos(angle), radius * np.sin(angle) * rng.uniform(0.3, 1)], axis=1)
    return curve @ _rotation(rng)


def _polygon(rng: np.random.Generator) -> np.ndarray:
    """A star-shaped polygon (3 to 8, 2) about the origin."""
    corners = rng.integers(3, 9)
    angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.4, 0.4, corners)) / corners
    return rng.uniform(0.4, 1, corners)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _stroke(rng: np.random.Generator) -> np.ndarray:
    """The outline (64, 2) of a line that bends at random and tapers."""
    heading = np.cumsum(rng.normal(0, 0.12, 32)) + rng.uniform(0, 2 * np.pi)
    ahead = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    line = np.cumsum(ahead, axis=0) - np.cumsum(ahead, axis=0).mean(axis=0)
    half = rng.uniform(0.4, 2) * np.sin(np.linspace(0.3, np.pi - 0.3, 32))[:, None]
    side = ahead[:, ::-1] * (-1, 1) * half
    return np.concatenate([line + side, (line - side)[::-1]])


def _rotation(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _enclosed_area(outline: np.ndarray) -> float:
    """The area inside a closed curve (n, 2), by the shoelace formula."""
    x, y = outline.T
    return max(abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2, 1e-6)
