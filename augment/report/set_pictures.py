"""The pictures of a synthetic set's page: small ones, full ones stored once, outlines as paths.

The rule: a full picture has at most 900 pixels on its longer side and JPEG quality 85; where a set's would
exceed 48 MB that way, 720, 600 or 480 pixels. A small one has 192 and shows the square around a small
defect. A result is stored as its source, which other results may share, and the patch in which it differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from augment.report.drawing import data_uri, defect_view, shrink, size_within

_SIDES = (900, 720, 600, 480)
_BUDGET = 48_000_000  # bytes of all full pictures as base64
_SMALL, _QUALITY = 192, 85
_BLOCK = 16  # a patch starts and ends at JPEG's blocks, so that both pictures have the same ones around it
_REACH = 4  # pixels by which a change spreads as a picture is shrunk

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the image


def full_side(sample: Sequence[np.ndarray], count: int) -> int:
    """The longer side of a set's full pictures, by the rule above.

    Args:
        sample: some of the set's images, uint8 (H, W[, 3]).
        count: how many there will be.
    """
    for side in _SIDES[:-1]:
        size = sum(len(data_uri(_shrunk(image, side), _QUALITY)) for image in sample)
        if size * count <= _BUDGET * len(sample):
            return side
    return _SIDES[-1]


@dataclass
class Pictures:
    """Full pictures, each stored once.

    Attributes:
        side: pixels of the longer side, at most.
        stored: the pictures as data URIs.
    """

    side: int
    stored: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, image: np.ndarray) -> int:
        """The place of an image, uint8 (H, W[, 3]), among the stored ones."""
        name = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
        if name not in self._places:
            self._places[name] = len(self.stored)
            self.stored.append(data_uri(_shrunk(image, self.side), _QUALITY))
        return self._places[name]

    def difference(self, source: np.ndarray, result: np.ndarray) -> tuple[Box, str] | None:
        """Where a result of the source's shape differs from it, and what it shows there; None: nowhere."""
        height, width = result.shape[:2]
        changed = (source != result).reshape(height, width, -1).any(axis=2)
        if not changed.any():
            return None
        shown = _shrunk(result, self.side)
        scales = shown.width / width, shown.height / height
        edges = []
        for axis, scale, limit in ((0, scales[0], shown.width), (1, scales[1], shown.height)):
            where = np.flatnonzero(changed.any(axis=axis))
            low, high = where[0] * scale - _REACH, (where[-1] + 1) * scale + _REACH
            edges += [max(0, int(low // _BLOCK) * _BLOCK), min(limit, int(-(-high // _BLOCK)) * _BLOCK)]
        left, right, top, bottom = edges
        box = (left / scales[0], top / scales[1], (right - left) / scales[0], (bottom - top) / scales[1])
        return tuple(round(v, 3) for v in box), data_uri(shown.crop((left, top, right, bottom)), _QUALITY)


def small_picture(image: np.ndarray, mask: np.ndarray) -> tuple[Box, str]:
    """What the small picture of a defect shows of the image, and that picture."""
    (rows, columns), _ = defect_view(mask)
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return box, data_uri(_shrunk(image[rows, columns], _SMALL), 80)


def zoom_box(mask: np.ndarray) -> Box:
    """The surroundings of a mask, bool (H, W), for a closer look; all of the image where it is large."""
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return 0, 0, width, height
    side = max(32, 1.6 * (rows[-1] - rows[0] + 1), 1.6 * (columns[-1] - columns[0] + 1))
    wide, high = min(width, round(side)), min(height, round(side))
    left = int(np.clip((columns[0] + columns[-1] + 1 - wide) // 2, 0, width - wide))
    top = int(np.clip((rows[0] + rows[-1] + 1 - high) // 2, 0, height - high))
    return left, top, wide, high


def outline(mask: np.ndarray) -> str:
    """The outline of a mask, bool (H, W), as an SVG path in pixels, true to a 1200th of the longer side."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    tolerance = max(mask.shape) / 1200
    parts = []
    for contour in found:
        points = cv2.approxPolyDP(contour, tolerance, True)[:, 0]
        parts.append("M" + " ".join(f"{x} {y}" for x, y in points) + "Z")
    return "".join(parts)


def measures(image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """What the distributions compare: `area` (share of the image), `brightness` (0 to 255, mean inside the
    mask) and `place` (float (h, w), at most 24 cells a side, share of each under the mask).
    """
    grey = image if image.ndim == 2 else image.mean(axis=2)
    place = cv2.resize(mask.astype(np.float32), size_within(mask.shape, 24), interpolation=cv2.INTER_AREA)
    inside = grey[mask]
    brightness = float(inside.mean()) if inside.size else float("nan")
    return {"area": float(mask.mean()), "brightness": brightness, "place": place}


def _shrunk(image: np.ndarray, side: int) -> Image.Image:
    return shrink(image, *size_within(image.shape, min(side, max(image.shape[:2]))))
