"""How alike two defects look: a small hand-made feature space, without a network and without a download.

A defect is seen as its mask's square, what lies around it levelled to grey, in 4 x 4 soft cells: which way
its edges run, how it differs from its surroundings in light and colour, and its shape. A cell is wide
against a shift of a few pixels, so a copy that is moved, mirrored, noisy or a little brighter stays near the
original; another defect of the same kind does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SIDE = 64  # of the square, pixels
_ROOM = 1.25  # side of the square around a mask, in longer sides of the mask
_CELLS, _BINS = 4, 8
_CONTRAST = 64.0  # grey levels at which a difference counts as 1
_WEIGHTS = {"edges": 1.0, "contrast": 1.0, "shape": 0.7}


def describe(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A defect's features, and those of its three mirror images.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        mask: bool (H, W), not empty.

    Returns:
        float32 (4, F). The distance between two defects is `distances`'.
    """
    square, inside = _square(image, mask)
    return np.stack([_features(np.flip(square, axes), np.flip(inside, axes)) for axes in ((), 0, 1, (0, 1))])


def distances(found: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """How far a defect is from each of others, mirror images counting as the defect itself.

    Args:
        found: (4, F), of `describe`.
        others: (4, F) each.

    Returns:
        float (N,), 0 for the defect itself; about 1 between unlike ones.
    """
    if not len(others):
        return np.zeros(0)
    first = np.stack([other[0] for other in others])
    return np.sqrt(np.square(found[:, None] - first).sum(axis=2)).min(axis=0)


def _square(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mask's square, float32 (S, S, 3) less the surroundings' colour, and the mask in it, 0 to 1."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    side = max(8.0, _ROOM * (max(np.ptp(rows), np.ptp(columns)) + 1))
    top, left = rows.mean() + 0.5 - side / 2, columns.mean() + 0.5 - side / 2
    box = [(max(0, int(low)), int(np.ceil(low + side))) for low in (top, left)]
    cut = image[box[0][0] : box[0][1], box[1][0] : box[1][1]]
    inside = mask[box[0][0] : box[0][1], box[1][0] : box[1][1]].astype(np.float32)
    scale, shape = _SIDE / side, inside.shape
    if scale < 1:  # first shrunk by area, so that nothing aliases
        size = tuple(max(1, round(n * scale)) for n in shape[::-1])
        cut, inside = (cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (cut, inside))
    x, y = inside.shape[1] / shape[1], inside.shape[0] / shape[0]
    cut = cut.astype(np.float32)
    cut = cut if cut.ndim == 3 else np.repeat(cut[..., None], 3, axis=2)
    ground = cut[inside == 0]
    colour = np.median(ground, axis=0) if len(ground) else cut.mean(axis=(0, 1))
    layers = np.concatenate([(cut - colour) * inside[..., None], inside[..., None]], axis=2)
    move = np.float32(
        [
            [scale / x, 0, (box[1][0] - left) * scale],
            [0, scale / y, (box[0][0] - top) * scale],
        ]
    )
    placed = cv2.warpAffine(layers, move, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
    return placed[..., :3], placed[..., 3]


def near_copies(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, count: int = 4
) -> list[np.ndarray]:
    """What copies of a defect look like that nobody would call another defect, as `describe` gives it.

    Each is moved by up to 4 % of its size, turned by up to 5 degrees, scaled by up to 3 % and made up to 8
    grey levels brighter or darker.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        mask: bool (H, W), not empty.
        rng: of the changes.
        count: how many.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    longer = int(max(np.ptp(rows), np.ptp(columns))) + 1
    box = tuple(slice(max(0, int(low) - longer), int(high) + longer) for low, high in (rows, columns))
    image, mask = image[box], mask[box].astype(np.float32)
    scale = min(1.0, 4 * _SIDE / max(mask.shape))
    size = tuple(max(1, round(n * scale)) for n in mask.shape[::-1])
    image, mask = (cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (image, mask))
    longer, centre = longer * scale, tuple(float(n.mean()) for n in np.nonzero(mask)[::-1])
    copies = []
    for _ in range(count):
        move = cv2.getRotationMatrix2D(centre, rng.uniform(-5, 5), rng.uniform(0.97, 1.03))
        move[:, 2] += rng.uniform(-0.04, 0.04, 2) * longer
        moved, inside = (
            cv2.warpAffine(layer, move, size, borderMode=cv2.BORDER_REPLICATE) for layer in (image, mask)
        )
        inside = inside >= min(0.5, inside.max())
        lit = moved + rng.uniform(-8, 8) * (inside if moved.ndim == 2 else inside[..., None])
        copies.append(describe(np.clip(np.rint(lit), 0, 255).astype(np.uint8), inside))
    return copies


def _features(square: np.ndarray, inside: np.ndarray) -> np.ndarray:
    square = cv2.GaussianBlur(np.ascontiguousarray(square), (0, 0), 1.5)
    grey = square.mean(axis=2)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, dy, ksize=3) for dx, dy in ((1, 0), (0, 1)))
    turn = np.arctan2(down, across) % np.pi / np.pi * _BINS
    steep = np.sqrt(across**2 + down**2)
    edges = []
    for number in range(_BINS):
        gap = np.abs(turn - number - 0.5)
        weight = np.maximum(0, 1 - np.minimum(gap, _BINS - gap))
        edges.append(_pooled(steep * weight))
    edges = np.sqrt(np.stack(edges)).ravel()
    contrast = np.stack([_pooled(channel) for channel in np.moveaxis(square, -1, 0)]).ravel() / _CONTRAST
    covered = float(inside.mean()) + 1e-6
    shape = _pooled(np.ascontiguousarray(inside)).ravel()
    parts = {
        "edges": edges / (np.linalg.norm(edges) + 1e-6),
        "contrast": contrast / np.sqrt(covered * contrast.size),
        "shape": shape / (np.linalg.norm(shape) + 1e-6),
    }
    return np.concatenate([_WEIGHTS[name] * part for name, part in parts.items()]).astype(np.float32)


def _pooled(layer: np.ndarray) -> np.ndarray:
    """(S, S) -> (4, 4), soft cells that overlap."""
    cell = _SIDE / _CELLS
    smooth = cv2.GaussianBlur(layer, (0, 0), cell / 2)
    centres = ((np.arange(_CELLS) + 0.5) * cell).astype(int)
    return smooth[np.ix_(centres, centres)]
