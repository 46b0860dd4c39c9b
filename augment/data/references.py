"""What good surface looks like where a defect is: the good images most like a defect's surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from augment.data.images import read_image, to_rgb
from augment.data.masks import resize_mask
from augment.data.sample import Sample

_SIDE = 96  # images are compared at this size, pixels
_LARGEST = 1024  # longer side of a kept image, pixels
_REACH = 0.5  # how far around a mask they are compared, as a share of the mask's longer side
_SHORTLIST = 8  # images whose place is looked for
_SHIFT = 0.04  # how far a part may lie from where it lies in another image, as a share of the longer side
_FINE = 320  # longer side of the surroundings when the place is looked for, pixels


class References:
    """Good images to compare with, kept in memory at no more than 1024 pixels a side.

    Args:
        samples: good images; empty: `match` finds nothing.
    """

    def __init__(self, samples: Sequence[Sample]):
        self._paths = [sample.image for sample in samples]
        self._pictures = [_shrunk(to_rgb(read_image(path))) for path in self._paths]
        self._small = [_small(picture) for picture in self._pictures]

    def match(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        *,
        skip: Path | None = None,
        among: int = 3,
    ) -> np.ndarray | None:
        """What `find` finds, uint8 (H, W, 3); None where there is no good image to choose."""
        found = self.find(image, mask, rng, skip=skip, among=among)
        return None if found is None else found.part(0, 0, *mask.shape)

    def find(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        rng: np.random.Generator,
        *,
        skip: Path | None = None,
        among: int = 3,
    ) -> Reference | None:
        """One of the good images most like an image around its mask, moved onto it.

        What lies inside the mask is not looked at; brightness and colour may differ as a whole. Of the images
        most alike as they lie, those count that are most alike once they are moved, by up to 4 % of the
        longer side: an edge then meets the edge that it continues.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            mask: bool (H, W).
            rng: chooses among the best.
            skip: a good image that may not be chosen.
            among: how many best ones to choose from.

        Returns:
            None where there is no good image to choose.
        """
        candidates = [i for i, path in enumerate(self._paths) if path != skip]
        if not candidates:
            return None
        image = to_rgb(image)
        seen, around = _small(image), _surroundings(_small_hole(mask))
        gaps = []
        for i in candidates:
            gap = (self._small[i] - seen)[around]
            gaps.append(np.square(gap - gap.mean(axis=0)).mean() if len(gap) else 0.0)
        shortlist = np.argsort(gaps, kind="stable")[: max(_SHORTLIST, among)]
        view = _View.around(image, mask)
        places = [view.find(self._pictures[candidates[i]]) for i in shortlist]
        best = np.argsort([gap for gap, _ in places], kind="stable")[:among]
        chosen = int(rng.choice(best))
        return Reference(self._pictures[candidates[shortlist[chosen]]], mask.shape, places[chosen][1])


@dataclass(frozen=True)
class Reference:
    """A good image that lies on another image.

    Attributes:
        picture: uint8 (h, w, 3), of any size.
        shape: (H, W) of the image it lies on.
        place: what lies this far (down, right) of the image, as shares of its sides, lies on the image.
    """

    picture: np.ndarray
    shape: tuple[int, int]
    place: tuple[float, float]

    def part(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """uint8 (height, width, 3), what lies on that part of the image, at the image's scale."""
        down, across = self.place[0] * self.shape[0], self.place[1] * self.shape[1]
        picture = self.picture
        if picture.shape[:2] != self.shape and _is_small(self.shape):
            picture = _resized(picture, self.shape)
        if picture.shape[:2] == self.shape and down == across == 0:
            return picture[top : top + height, left : left + width]
        return _warped(picture, self.shape, (top + down, left + across), (height, width))


class _View:
    """The surroundings of a hole, to be found again in other images.

    Attributes:
        shape: (H, W) of the image.
        scale: of the view, 1 or less.
        box: top, left, bottom and right of the surroundings at that scale.
        pixels: float32 (h, w, 3).
        weight: float32 (h, w, 3), 0 in the hole, else 1.
    """

    def __init__(self, image: np.ndarray, mask: np.ndarray, top: int, left: int, bottom: int, right: int):
        self.shape = mask.shape
        self.scale = min(1.0, _FINE / max(bottom - top, right - left))
        self.box = [round(edge * self.scale) for edge in (top, left, bottom, right)]
        self.pixels = self._part(image).astype(np.float32)
        hole = self._part(mask, np.float32) > 0
        self.weight = (~hole).astype(np.float32)[..., None].repeat(3, axis=2)

    @classmethod
    def around(cls, image: np.ndarray, mask: np.ndarray) -> _View:
        """The hole's bounding box and half its longer side on each side; the whole image without a hole."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = mask.shape
        if not len(rows):
            return cls(image, mask, 0, 0, height, width)
        reach = max(height, width) // 64 + int(_REACH * (max(np.ptp(rows), np.ptp(columns)) + 1))
        return cls(
            image,
            mask,
            max(0, rows[0] - reach),
            max(0, columns[0] - reach),
            min(height, rows[-1] + reach + 1),
            min(width, columns[-1] + reach + 1),
        )

    def find(self, picture: np.ndarray) -> tuple[float, tuple[float, float]]:
        """Where another image is most like the view, an even change of light and colour apart.

        Returns:
            The mean squared difference there, and how far the picture lies (down, right) of the image, as
            shares of its sides.
        """
        count = float(self.weight[..., 0].sum())
        if count == 0:
            return 0.0, (0.0, 0.0)
        pad = max(1, round(_SHIFT * max(self.shape) * self.scale))
        field = self._part(picture, pad=pad).astype(np.float32)
        squares = cv2.matchTemplate(field, self.pixels, cv2.TM_SQDIFF, mask=self.weight)
        here = (self.pixels * self.weight).reshape(-1, 3).sum(axis=0) / count
        for channel, mean in enumerate(here):
            there = cv2.matchTemplate(
                np.ascontiguousarray(field[..., channel]),
                np.ascontiguousarray(self.weight[..., channel]),
                cv2.TM_CCORR,
            )
            squares = squares - count * np.square(there / count - mean)
        down, across = np.unravel_index(int(np.argmin(squares)), squares.shape)
        height, width = self._size
        return float(squares[down, across]) / count, ((down - pad) / height, (across - pad) / width)

    @property
    def _size(self) -> tuple[int, int]:
        """Of the whole image at the view's scale."""
        height, width = (max(1, round(side * self.scale)) for side in self.shape)
        return height, width

    def _part(self, image: np.ndarray, dtype: type = np.uint8, pad: int = 0) -> np.ndarray:
        """What lies on the view and `pad` around it, of an image of any size, which goes on at its border."""
        top, left, bottom, right = self.box
        height, width = size = self._size
        shrinks = image.shape[0] * image.shape[1] > height * width
        if image.shape[:2] != size and not shrinks and not _is_small(size):
            start, part = (top - pad, left - pad), (bottom - top + 2 * pad, right - left + 2 * pad)
            return _warped(image.astype(dtype), size, start, part)
        low, high = (
            (max(0, top - pad), max(0, left - pad)),
            (min(height, bottom + pad), min(width, right + pad)),
        )
        rows, columns = (slice(*ends) for ends in zip(low, high, strict=True))
        if image.shape[:2] == size:
            inside = image[rows, columns].astype(dtype)
        elif _is_small(size):
            inside = _resized(image.astype(dtype), size)[rows, columns]
        else:
            ends = [
                [round(edge * old / new) for edge in (start, stop)]
                for start, stop, old, new in zip(low, high, image.shape, size, strict=False)
            ]
            cut = tuple(slice(*pair) for pair in ends)
            inside = _resized(image[cut].astype(dtype), (high[0] - low[0], high[1] - low[1]))
        missing = low[0] - top + pad, bottom + pad - high[0], low[1] - left + pad, right + pad - high[1]
        return cv2.copyMakeBorder(inside, *missing, cv2.BORDER_REPLICATE) if any(missing) else inside


def _warped(
    picture: np.ndarray, shape: tuple[int, int], start: tuple[float, float], size: tuple[int, int]
) -> np.ndarray:
    """A part of a picture that is enlarged to a shape, its corner anywhere; it goes on beyond the border."""
    down, across = (old / new for old, new in zip(picture.shape[:2], shape, strict=True))
    warp = np.float64(
        [
            [across, 0, (start[1] + 0.5) * across - 0.5],
            [0, down, (start[0] + 0.5) * down - 0.5],
        ]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, warp, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _is_small(shape: tuple[int, int]) -> bool:
    """Whether an image is resized as a whole, though only a part of it is wanted."""
    return max(shape) <= _LARGEST


def _small_hole(mask: np.ndarray) -> np.ndarray:
    """bool (96, 96): where the mask has any pixel."""
    if min(mask.shape) >= _SIDE:
        return resize_mask(mask, (_SIDE, _SIDE))
    return cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) > 0


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == tuple(shape):
        return image
    shrinks = shape[0] * shape[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _shrunk(image: np.ndarray) -> np.ndarray:
    scale = _LARGEST / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _small(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _surroundings(hole: np.ndarray) -> np.ndarray:
    """The cells around a hole, without it; all others where it fills the picture."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if not len(rows):
        return np.ones_like(hole)
    reach = 4 + int(_REACH * max(np.ptp(rows), np.ptp(columns)))
    near = np.zeros_like(hole)
    top, left = max(0, rows[0] - reach), max(0, columns[0] - reach)
    near[top : rows[-1] + reach + 1, left : columns[-1] + reach + 1] = True
    return near & ~hole
