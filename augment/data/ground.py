"""The part in one image, told from the ground it lies on: what does not look as the image's frame does.

The ground may be of any colour, grain and even change of light (vignetting, a lamp to one side); what it may
not be is as lively as the part. Nothing is learned beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

SIDE = 192  # longer side at which parts are looked for, pixels
_FRAME = 0.04  # width of the frame, in the image's shorter side
_BLUR, _GRAIN_BLUR = 0.8, 1.5  # of colour and of grain, pixels
_LEAST_SPREAD = np.array(
    [1.2, 0.8, 0.8, 0.6]
)  # of lightness, the two colours and grain on ground that has none
_OUTLIER = 3.5  # spreads beyond which a frame's pixel is taken for a part that reaches the frame
_WEAK, _STRONG = 2.5, 5.0  # how unlike the ground a part's pixels are, and some of each of its pieces
_EDGE = 4  # pixels by which the outline may be too wide (grain is seen from afar)
_EDGE_CONTRAST = 0.4  # of the part's contrast nearby, from which a pixel there is of the part
_SMALLEST_PIECE = 0.05  # in the largest piece's pixels
_SMALLEST_HOLE = 0.02  # in the part's pixels; a smaller one is filled


@dataclass(frozen=True)
class Part:
    """What was found in one image.

    Attributes:
        mask: bool (h, w), the part, at most 192 pixels a side.
        on_frame: share of the frame that is taken for part, 0 to 1.
        frame_alike: share of the frame that looks alike, 0.4 to 1.
        contrast: the middle of how unlike the ground the part's pixels are, in the ground's own spreads.
    """

    mask: np.ndarray
    on_frame: float
    frame_alike: float
    contrast: float

    @property
    def share(self) -> float:
        """Of the image that is part, 0 to 1."""
        return float(self.mask.mean())


def find_part(image: np.ndarray) -> Part:
    """Look for a part on its ground.

    Args:
        image: uint8 (H, W, 3), at least 8 pixels a side.

    Returns:
        The part; its mask is empty where the whole image looks as its frame does.
    """
    small = shrunk(image)
    frame = _frame(small.shape[:2])
    gap, alike = _gap_to_ground(small, frame)
    mask = gap > _WEAK
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    mask &= np.isin(pieces, np.unique(pieces[gap > _STRONG]))
    if 0 < mask.mean() < 0.95:
        mask = _narrowed(small, _filled(_cut(small, mask, gap), gap))
    contrast = float(np.median(gap[mask])) if mask.any() else 0.0
    return Part(mask, float(mask[frame].mean()), alike, contrast)


def shrunk(image: np.ndarray) -> np.ndarray:
    """An image at the size at which parts are looked for: its longer side at most 192 pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def enlarged(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A bool (h, w) mask at another size (H, W), with a smooth outline."""
    if mask.shape == tuple(shape):
        return mask
    soft = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), 0.8)
    return cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR) >= 128


def _frame(shape: tuple[int, int]) -> np.ndarray:
    frame = np.ones(shape, dtype=bool)
    width = max(2, round(_FRAME * min(shape)))
    frame[width:-width, width:-width] = False
    return frame


def _lab(image: np.ndarray) -> np.ndarray:
    """float32 (h, w, 3): lightness 0 to 100, and two colours."""
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _looks(image: np.ndarray) -> np.ndarray:
    """float32 (h, w, 4): lightness, two colours, and the grain around each pixel."""
    lab = _lab(image)
    light = lab[..., 0]
    mean, square = (cv2.GaussianBlur(a, (0, 0), _GRAIN_BLUR) for a in (light, light * light))
    grain = 4 * np.log1p(np.sqrt(np.maximum(square - mean * mean, 0)))
    return np.dstack([cv2.GaussianBlur(lab, (0, 0), _BLUR), grain])


def _slow_changes(shape: tuple[int, int]) -> np.ndarray:
    """(h, w, 6): the terms of a surface of second order over the image."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _fitted(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The surface's coefficients, drawn a little towards one even value."""
    ridge = len(terms) * np.diag([0, 0.002, 0.002, 0.01, 0.01, 0.01])
    return np.linalg.solve(terms.T @ terms + ridge, terms.T @ values)


def _gap_to_ground(image: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, float]:
    """How unlike the ground each pixel is, (h, w), 1 for what is usual on the frame; and its share alike.

    The ground is the surface of second order that most of the frame lies on; the rest of the frame, where a
    part reaches it, is found and left out by turns.
    """
    looks, terms = _looks(image), _slow_changes(image.shape[:2])
    there, seen = terms[frame], looks[frame]
    middle = np.median(seen, axis=0)
    spread = np.maximum(1.48 * np.median(np.abs(seen - middle), axis=0), _LEAST_SPREAD)
    gap = (np.abs(seen - middle) / spread).max(axis=1)
    alike = gap <= max(np.quantile(gap, 0.6), 3.0)
    for _ in range(6):
        surface = _fitted(there[alike], seen[alike])
        rest = seen - there @ surface
        spread = np.maximum(1.48 * np.median(np.abs(rest[alike]), axis=0), _LEAST_SPREAD)
        gap = np.abs(rest / spread).max(axis=1)
        alike = gap < max(_OUTLIER, np.quantile(gap, 0.4))
    share = float(alike.mean())
    distance = np.linalg.norm(rest / spread, axis=1) / np.sqrt(2)
    usual = np.quantile(distance, 0.9 if share > 0.8 else 0.9 * share)
    rest = np.clip((looks - terms @ surface) / spread, -12, 12)
    return np.linalg.norm(rest, axis=2) / np.sqrt(2) / max(1.0, usual / 2), share


def _cut(image: np.ndarray, mask: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The mask after a graph cut that follows the image's edges where neither side is sure."""
    state = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[ndimage.binary_erosion(gap > _STRONG, iterations=2)] = cv2.GC_FGD
    state[ndimage.binary_erosion(gap < 0.6 * _WEAK, iterations=2, border_value=1)] = cv2.GC_BGD
    if (state == cv2.GC_BGD).sum() < 20 or mask.sum() < 20:
        return mask
    cv2.setRNGSeed(0)  # its colour models start from a k-means of OpenCV's own randomness
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), state, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    return (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)


def _filled(mask: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The mask without specks and with its holes filled, but for large ones that show the ground."""
    mask = ndimage.binary_opening(mask)
    pieces, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    mask = (sizes >= _SMALLEST_PIECE * sizes.max())[pieces]
    filled = ndimage.binary_fill_holes(mask)
    holes, count = ndimage.label(filled & ~mask)
    for number in range(1, count + 1):
        hole = holes == number
        if hole.sum() >= _SMALLEST_HOLE * filled.sum() and np.median(gap[hole]) < _WEAK / 2:
            filled &= ~hole
    return filled


def _narrowed(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask with its outline drawn in to where the colour is half that of the part, by up to 4 pixels."""
    ground = ~ndimage.binary_dilation(mask, iterations=3)
    if ground.sum() < 50 or not mask.any():
        return mask
    lab, terms = _lab(image), _slow_changes(mask.shape)
    contrast = np.linalg.norm(lab - terms @ _fitted(terms[ground], lab[ground]), axis=2).astype(np.float32)
    core = ndimage.binary_erosion(mask, iterations=2)
    weight = (core if core.any() else mask).astype(np.float32)
    kernel = (4 * _EDGE + 1, 4 * _EDGE + 1)
    inside = cv2.boxFilter(contrast * weight, -1, kernel) / np.maximum(
        cv2.boxFilter(weight, -1, kernel), 1e-3
    )
    deep = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > _EDGE
    faint, _ = ndimage.label(mask & ~deep & (contrast < _EDGE_CONTRAST * inside))
    at_edge = np.unique(faint[ndimage.binary_dilation(~mask, np.ones((3, 3)))])
    return ndimage.binary_opening(mask & ~np.isin(faint, at_edge[at_edge > 0]))
