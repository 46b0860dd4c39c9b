"""How a defect's mask is carried from the part in a training image to the part in another image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from augment.data.poses import pose_of

_RESIZING = (0.8, 1.25)  # of a part, at most; what is left out of a broken part must not shrink its defects


@dataclass(frozen=True)
class Move:
    """Onto a canvas where the part lies in the middle, its axis along x, and from there to the other part.

    Between the two, a mask may be changed at random: in the part's own coordinates.

    Attributes:
        matrix: float (2, 3), affine, (x, y) of the training image -> of the canvas; None: it is the image.
        angle: by which the canvas is turned then, degrees, anticlockwise as seen.
        offset: (rows, columns) by which it is shifted at last.
        flips: whether it may be mirrored before (left to right, top to bottom).
    """

    matrix: np.ndarray | None = None
    angle: float = 0.0
    offset: tuple[int, int] = (0, 0)
    flips: tuple[bool, bool] = (True, True)

    def lifted(self, mask: np.ndarray, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A mask, bool (H, W), and the field of its places, float32 (H, W, 3), on the canvas."""
        if self.matrix is None:
            return mask, field
        size = mask.shape[::-1]
        grey = cv2.warpAffine(mask.astype(np.uint8) * 255, self.matrix, size, flags=cv2.INTER_LINEAR)
        return grey >= 96, cv2.warpAffine(field, self.matrix, size, flags=cv2.INTER_LINEAR)


STAY = Move()
"""Where all parts lie alike, and on textures."""


def move_between(there: np.ndarray, here: np.ndarray, flips: tuple[bool, bool]) -> Move:
    """From the part in a training image to the part in another: where it lies, how it is turned, how large.

    Args:
        there, here: bool (H, W), the parts, not empty, of one size.
        flips: whether the part may be mirrored, its axis along x.
    """
    height, width = here.shape
    first, second = pose_of(there), pose_of(here)
    low, high = _RESIZING
    matrix = first.upright((width, height), first.length * np.clip(second.length / first.length, low, high))
    column, row = np.rint(np.array(second.centre) - (np.array([width, height]) - 1) / 2).astype(int)
    return Move(matrix, -second.angle, (int(row), int(column)), flips)
