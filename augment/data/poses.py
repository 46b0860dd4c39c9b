"""How a part lies in its image: where its middle is, which way its axis points, how large it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_LONG = 1.3  # length over width from which a part has an axis
_LOPSIDED = 0.02  # skewness along it from which one end differs from the other


@dataclass(frozen=True)
class Pose:
    """A part's place in an image.

    Attributes:
        centre: (x, y), pixels.
        angle: of the axis, degrees, from x towards y (clockwise as seen); 0 where the part has no axis.
        length: root of the mean square distance from the centre, pixels.
    """

    centre: tuple[float, float]
    angle: float
    length: float

    def upright(self, size: tuple[int, int], length: float) -> np.ndarray:
        """The affine matrix (2, 3) to a canvas (W, H) where the part lies in the middle, its axis along x.

        Args:
            size: (W, H) of the canvas.
            length: of the part there.
        """
        matrix = cv2.getRotationMatrix2D(self.centre, self.angle, length / self.length)
        matrix[:, 2] += (np.array(size) - 1) / 2 - self.centre
        return matrix


def pose_of(mask: np.ndarray) -> Pose:
    """The pose of a part, bool (H, W), not empty.

    A long part's axis points away from where most of it is, so that a screw's tip is not taken for its head;
    one whose ends are alike may be turned about.
    """
    y, x = np.nonzero(mask)
    centre = np.array([x.mean(), y.mean()])
    offsets = np.stack([x, y], axis=1) - centre
    spreads, axes = np.linalg.eigh(offsets.T @ offsets / len(offsets))
    length = max(float(np.sqrt(spreads.sum())), 0.5)
    angle = 0.0
    if spreads[1] >= _LONG**2 * max(spreads[0], 1e-6):
        axis = axes[:, 1] * (1 if axes[0, 1] > 0 or (axes[0, 1] == 0 and axes[1, 1] > 0) else -1)
        along = offsets @ axis
        if (along**3).mean() < -_LOPSIDED * spreads[1] ** 1.5:
            axis = -axis
        angle = float(np.degrees(np.arctan2(axis[1], axis[0])))
    return Pose((float(centre[0]), float(centre[1])), angle, length)


def upright(mask: np.ndarray, side: int) -> np.ndarray:
    """A part on a canvas (side, side), in the middle, its axis along x, at one size: bool."""
    matrix = pose_of(mask).upright((side, side), side / 5)
    moved = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return moved >= 128


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks, 0 to 1; 1 where both are empty."""
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0
