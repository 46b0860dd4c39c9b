"""What good surface looks like where a defect is: the good images most like a defect's surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from augment.data.images import read_image, to_rgb
from augment.data.sample import Sample

_SIDE = 96  # images are compared at this size, pixels
_LARGEST = 1024  # longer side of a kept image, pixels
_REACH = 0.5  # how far around a mask they are compared, as a share of the mask's longer side


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
        """One of the good images most like an image around its mask, resized to it.

        What lies inside the mask is not looked at; brightness and colour may differ as a whole.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            mask: bool (H, W).
            rng: chooses among the best.
            skip: a good image that may not be chosen.
            among: how many best ones to choose from.

        Returns:
            uint8 (H, W, 3), or None where there is no good image to choose.
        """
        candidates = [i for i, path in enumerate(self._paths) if path != skip]
        if not candidates:
            return None
        seen = _small(to_rgb(image))
        hole = cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) > 0
        around = _surroundings(hole)
        gaps = []
        for i in candidates:
            gap = (self._small[i] - seen)[around]
            gaps.append(np.square(gap - gap.mean(axis=0)).mean() if len(gap) else 0.0)
        best = np.argsort(gaps, kind="stable")[:among]
        chosen = self._pictures[candidates[int(rng.choice(best))]]
        height, width = mask.shape
        shrinks = height * width < chosen.shape[0] * chosen.shape[1]
        return cv2.resize(
            chosen, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )


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
