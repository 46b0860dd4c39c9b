"""Masks: a folder of the user's own, random shapes, other sizes, and the blend at their edges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from augment.data.images import is_folder, list_images, read_mask
from augment.errors import DataError

_ATTEMPTS = 10


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


class PackedMasks(Sequence[np.ndarray]):
    """Masks, bool (H, W) of any sizes, held at one bit a pixel."""

    def __init__(self, masks: Iterable[np.ndarray]):
        self._masks = [(mask.shape, np.packbits(mask)) for mask in masks]

    def __getitem__(self, number: int) -> np.ndarray:
        shape, bits = self._masks[number]
        return np.unpackbits(bits, count=shape[0] * shape[1]).view(bool).reshape(shape)

    def __len__(self) -> int:
        return len(self._masks)


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


def feather(mask: np.ndarray, width: float, share: float = 1.0) -> np.ndarray:
    """The weight of the painted pixels: 0 outside the mask, rising to 1 inside it over `width` pixels.

    Where the mask is too thin for the whole ramp, it is steeper: every part still reaches 1 at its ridge.
    The image's border is no edge of the mask.

    Args:
        mask: bool (H, W).
        width: of the ramp, pixels from the border of 0 to the first of 1, less 1; 0 gives the mask itself.
        share: the ramp is no wider than this share of the greatest distance to the mask's edge, so that a
            small defect is not faded out.

    Returns:
        float32 (H, W) in [0, 1].
    """
    if width == 0 or mask.all():
        return mask.astype(np.float32)
    alpha = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return alpha
    low, high = mask_bounds(mask)  # with a pixel around, nothing further off is nearer than what is there
    (top, left), (bottom, right) = np.maximum(low - 1, 0), high + 1
    mask = mask[top:bottom, left:right]
    distance = ndimage.distance_transform_edt(mask)  # 1 at the edge's inner pixels
    width = min(width, share * float(distance.max()))
    ridge = distance
    for _ in range(math.ceil(width)):  # the greatest distance nearby, carried along inside the mask only
        ridge = np.where(mask, ndimage.maximum_filter(ridge, size=3), 0)
    full = np.clip(ridge, 1, width + 1)
    alpha[top:bottom, left:right] = np.minimum(distance / full, 1)
    return alpha


def with_margin(mask: np.ndarray, width: float, share: float = 1.0) -> np.ndarray:
    """A mask with room around it for the ramp of `feather`, so that what the mask was is painted in full.

    An outline drawn by hand ends where the defect does, or a little inside it: blended within that outline, a
    defect would lose its own edge.

    Args:
        mask: bool (H, W), not empty.
        width, share: as for `feather`; the margin is as wide as the ramp, in whole pixels: none around a
            small defect, of whose area a pixel more would be much.
    """
    low, high = mask_bounds(mask)
    reach = math.ceil(width) + 1
    start, stop = np.maximum(low - reach, 0), high + reach
    window = slice(start[0], stop[0]), slice(start[1], stop[1])
    inside = ndimage.distance_transform_edt(mask[window])
    margin = round(min(width, share * float(inside.max())))
    grown = mask.copy()
    grown[window] = ndimage.distance_transform_edt(~mask[window]) <= margin
    return grown


def closed(mask: np.ndarray, reach: float) -> np.ndarray:
    """A mask whose holes, and whose bays and gaps narrower than twice `reach`, are filled.

    So would who draws it by hand, with a pen as broad as that. The image's border is no edge of the mask.

    Args:
        mask: bool (H, W).
        reach: pixels; 0 fills the holes alone.
    """
    if not mask.any():
        return mask.copy()
    room = math.ceil(reach) + 1
    low, high = mask_bounds(mask)
    (top, left), (bottom, right) = np.maximum(low - room, 0), high + room
    near = np.pad(mask[top:bottom, left:right], room, mode="edge")
    far = ndimage.distance_transform_edt(~near) > reach  # from there outwards nothing is filled
    if far.any():
        near |= ndimage.distance_transform_edt(~far) > reach
    else:
        near[:] = True
    filled = mask.copy()
    filled[top:bottom, left:right] = ndimage.binary_fill_holes(near[room:-room, room:-room])
    return filled


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
    small = np.zeros(tuple(new if i == axis else side for i, side in enumerate(mask.shape)), dtype=bool)
    if not mask.any():
        return small
    low, high = mask_bounds(mask)  # only what lies around the defect is counted
    around = tuple(slice(*pair) for pair in zip(low, high, strict=True))
    start, stop = np.arange(new) * old // new, -(-np.arange(1, new + 1) * old // new)
    start, stop = (np.clip(ends - low[axis], 0, high[axis] - low[axis]) for ends in (start, stop))
    counts = np.insert(mask[around].cumsum(axis=axis, dtype=np.int32), 0, 0, axis=axis)
    beside = tuple(slice(None) if i == axis else cut for i, cut in enumerate(around))
    small[beside] = counts.take(stop, axis=axis) > counts.take(start, axis=axis)
    return small


def mask_bounds(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First (row, column) of a mask that is not empty, and those after its last."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]]) + 1


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
