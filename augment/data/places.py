"""Where on a good part a training defect may be painted: at a place that looks like its own, on the part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from augment.data.foreground import Foreground
from augment.data.ground import enlarged
from augment.data.masks import mask_bounds, resize_mask
from augment.data.moves import STAY, Move, move_between
from augment.data.target_place import LEAST_AREA, STILL, TargetPlace, target_place
from augment.data.trimming import trimmed
from augment.recipe import MaskConfig

_SIDE = 160  # longer side at which places are compared, pixels
_RING = 5  # width of the surroundings compared, pixels of that size
_MOST = 64.0  # grey levels; a pixel that differs more counts as this
_PLAIN = 12  # grey levels by which plain ground may differ from its median colour
_SAME_PROPORTIONS = 0.02  # by which the logarithms of two images' proportions may differ
_FRAME = 0.8  # share of an image's frame that is ground, where there is any


@dataclass(frozen=True)
class Parts:
    """Where the parts are in the image of a defect and in the one to paint on.

    Attributes:
        there: bool (h, w), in the training image.
        here: bool (H, W), in the image to paint on.
        foreground: what is known of the category's parts.
    """

    there: np.ndarray
    here: np.ndarray
    foreground: Foreground

    def move(self, shape: tuple[int, int]) -> Move:
        """From the one to the other, both images resized to `shape`."""
        flips = self.foreground.flips
        if self.foreground.is_aligned or self.there.all() or self.here.all():
            return replace(STAY, flips=flips)
        return move_between(*(_resized(part, shape) for part in (self.there, self.here)), flips)

    def resized(self, shape: tuple[int, int]) -> Parts:
        """Both images at another size, (H, W)."""
        return replace(self, here=_resized(self.here, shape), there=_resized(self.there, shape))

    def allowed(self, training_mask: np.ndarray, move: Move) -> float:
        """The share of a defect that may lie off the part: as much as of the real one does.

        What counts is what of the training mask would lie off the part in the image to paint on, and is no
        bare ground in the training image: dirt that hangs over the edge, but not a mask drawn too wide.
        """
        shape = self.here.shape
        mask = resize_mask(training_mask, shape)
        solid = mask & _resized(self.there, shape)
        off = ~self.here
        if self.foreground.is_aligned:
            off &= ~enlarged(self.foreground.usual, shape)  # else a part a little aside would count
        elif move.matrix is not None and solid.any():
            mask, solid = (
                target_place([m], shape, STILL, np.random.default_rng(0), move).mask for m in (mask, solid)
            )
        return float((solid & off).sum() / mask.sum())


def best_place(
    training_mask: np.ndarray,
    training_image: np.ndarray,
    image: np.ndarray,
    config: MaskConfig,
    rng: np.random.Generator,
    parts: Parts | None = None,
) -> TargetPlace:
    """Of `config.candidates` random places, the one whose surroundings are most like the training image's.

    A chip of a rim then lies on the rim, and what ends at a part's edge still ends there, without a model of
    the part; on a texture it lies where it is as light as around the real one. A place counts as the less
    like, the more of the mask lies off the part than does in the training image, and what hangs over in
    excess is cut off. Where it is not known where the parts are, plain ground around one is told by its
    colour, and nothing is cut off.

    Args:
        training_mask: bool (h, w), not empty.
        training_image: uint8 (h, w, 3).
        image: uint8 (H, W, 3), to be painted on.
        config: how far a place may lie from the training defect's own, and the number of candidates.
        rng: the only source of randomness.
        parts: where the parts are in both images; None: not known, or the images are filled by a texture.

    Returns:
        The place, at the size of `image`.
    """
    shape = image.shape[:2]
    seeds = rng.integers(2**63, size=max(1, config.candidates))
    if len(seeds) > 1:
        gaps = _gaps(seeds, training_mask, training_image, image, config, parts)
        seeds = seeds[np.argsort(gaps, kind="stable")]
    if parts is None:
        return target_place([training_mask], shape, config, np.random.default_rng(seeds[0]))
    move = parts.move(shape)
    allowed = parts.allowed(training_mask, move)
    least = LEAST_AREA * resize_mask(training_mask, shape).sum()
    for seed in seeds:
        place = target_place([training_mask], shape, config, np.random.default_rng(seed), move)
        mask = trimmed(place.mask, parts.here, allowed)
        if mask.sum() >= min(least, place.mask.sum()):
            return place.within(mask)
    return _nearest_on_part(place, parts.here, allowed)


def _gaps(
    seeds: np.ndarray,
    training_mask: np.ndarray,
    training_image: np.ndarray,
    image: np.ndarray,
    config: MaskConfig,
    parts: Parts | None,
) -> list[float]:
    """How ill each seed's place suits the defect, compared at a small size."""
    small = compared_size(image.shape[:2])
    mask = resize_mask(training_mask, small)
    here, there = (cv2.resize(a, small[::-1], interpolation=cv2.INTER_AREA) for a in (image, training_image))
    if parts is None:
        move, ground, usual = STAY, plain_ground(here), share_on(plain_ground(there), mask)
    else:
        parts = parts.resized(small)
        move = parts.move(small)
        ground, usual = ~parts.here, parts.allowed(mask, move)
    gaps = []
    for seed in seeds:
        place = target_place([mask], small, config, np.random.default_rng(seed), move)
        excess = max(0.0, share_on(ground, place.mask) - usual)
        gap = surroundings_gap(place, there, here, of_light=parts is None)
        gaps.append(gap + 2 * _MOST * excess)
    return gaps


def _nearest_on_part(place: TargetPlace, part: np.ndarray, allowed: float) -> TargetPlace:
    """A place shifted by no more than it takes to lie on the part as far as it can, and cut there."""
    shape = part.shape
    small = compared_size(shape)
    kernel = np.pad(resize_mask(place.mask, small), [(0, 1 - side % 2) for side in small]).astype(np.float32)
    padded = np.pad(_resized(part, small).astype(np.float32), [(side, side) for side in small])
    overlap = cv2.filter2D(padded, -1, kernel)  # by how many pixels the shifted mask lies on the part
    centre = [side + size // 2 for side, size in zip(small, kernel.shape, strict=True)]
    rows, columns = (np.arange(size) - at for size, at in zip(overlap.shape, centre, strict=True))
    distance = np.hypot(rows[:, None], columns)
    distance[overlap < 0.98 * overlap.max()] = np.inf
    at = np.unravel_index(int(np.argmin(distance)), distance.shape)
    steps = np.array([rows[at[0]], columns[at[1]]]) * shape / small
    offset = (int(np.rint(steps[0])), int(np.rint(steps[1])))
    place = place.shifted(offset)
    return place.within(trimmed(place.mask, part, allowed))


def compared_size(shape: tuple[int, int]) -> tuple[int, int]:
    """The size (h, w) at which places on an image of size (H, W) are compared."""
    scale = min(1.0, _SIDE / max(shape))
    return max(8, round(shape[0] * scale)), max(8, round(shape[1] * scale))


def _resized(part: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A part, bool (h, w), at another size; never empty."""
    if part.shape == shape:
        return part
    grey = part.view(np.uint8) * np.uint8(255)
    resized = cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_AREA) >= 128
    return resized if resized.any() else resize_mask(part, shape)


def surroundings_gap(
    place: TargetPlace, training_image: np.ndarray, image: np.ndarray, *, of_light: bool = False
) -> float:
    """How unlike the surroundings of a defect are to what it would be painted next to.

    Args:
        place: of size (H, W).
        training_image, image: uint8 (H, W, 3).
        of_light: an even change of light counts too, as much as any other; else not at all.

    Returns:
        Mean difference in grey levels over a ring around the mask, 0 to 64, with the light 0 to 128; where
        the training image shows nothing, it counts as 64.
    """
    ring = cv2.dilate(place.mask.astype(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > 0
    ring &= ~place.mask
    if not ring.any():
        return 0.0
    shown = place.field[ring][:, 2] >= 0.99
    if not shown.any():
        return 2 * _MOST if of_light else _MOST
    moved = place.moved(training_image, image, interpolation=cv2.INTER_LINEAR)
    change = moved[ring][shown].astype(np.float32) - image[ring][shown]
    light = np.median(change, axis=0)
    change = np.abs(change - light).max(axis=1)
    gap = float((np.minimum(change, _MOST).sum() + _MOST * (~shown).sum()) / len(shown))
    return gap + float(np.minimum(np.abs(light).max(), _MOST)) if of_light else gap


def at_same_scale(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A training image and its mask as they would be in a piece of the same texture of another shape.

    Pieces of other proportions are cut from the texture as one camera shows it: stretched onto each other, a
    round hole would turn oval. So a pixel stays a pixel, and the defect as far on the way from edge to edge;
    only one that has no room is shrunk. Images of the same proportions are returned as they are: one view at
    another resolution.

    Args:
        image: uint8 (h, w, 3).
        mask: bool (h, w), not empty.
        shape: (H, W).

    Returns:
        Both as (H, W), or as they were. Beyond its edge the image is mirrored.
    """
    ratio = np.divide(shape, mask.shape)
    if abs(np.log(ratio[0] / ratio[1])) <= _SAME_PROPORTIONS:
        return image, mask
    low, high = mask_bounds(mask)
    scale = min(1.0, *(np.array(shape) / (high - low)))
    room = np.array(mask.shape) - (high - low)
    way = np.where(room > 0, low / np.maximum(room, 1), 0.5)
    start = np.rint(way * (np.array(shape) - scale * (high - low)))
    shift = start - scale * low + (scale - 1) / 2  # a pixel's place is its middle
    move = np.array([[scale, 0, shift[1]], [0, scale, shift[0]]])
    moved = cv2.warpAffine(image, move, shape[::-1], borderMode=cv2.BORDER_REFLECT_101)
    grey = cv2.warpAffine(mask.view(np.uint8) * np.uint8(255), move, shape[::-1])
    return moved, grey >= 96


def light_around(image: np.ndarray, mask: np.ndarray) -> float:
    """How bright an image is around a mask: the mean grey level, 0 to 255, of the pixels close by.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        mask: bool (h, w), not empty; resized to the image where they differ.
    """
    mask = resize_mask(mask, image.shape[:2])
    low, high = mask_bounds(mask)
    reach = np.maximum((high - low) // 2, _RING)
    start, stop = np.maximum(low - reach, 0), high + reach
    window = slice(start[0], stop[0]), slice(start[1], stop[1])
    near = image[window][~mask[window]]
    return float((near if near.size else image).mean())


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
