"""How well a painted defect sits in its image: how much of its mask changed, how strongly, and its seam.

Everything is measured on a window around the mask, shrunk to at most 320 pixels a side, so that it costs
the same for any image; only `touched_outside` looks at every pixel of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 320  # longer side of the window when it is measured, pixels
_VISIBLE = (4.0, 10.0)  # grey levels by which a calm and a restless surface must change for it to be seen
_GRAIN = 2.5  # deviations of a surface's grain that are seen
_REACH = 0.5  # of the window around a mask, as a share of the mask's longer side
_LEAST_REACH = 12  # pixels
_SMOOTH = 1.0  # pixels; a change is seen as the mean over a few
_BAND = 6.0  # pixels inside a border over which a defect's strength there is taken
_NEAR, _FAR = 3, 24  # pixels from the mask: what is compared with a border, and with what lies inside


@dataclass(frozen=True)
class View:
    """An image beside what it would show without the defect, around a mask.

    Attributes:
        shown: float32 (h, w, 3), grey levels, with the defect.
        plain: float32 (h, w, 3), without it.
        mask: bool (h, w).
    """

    shown: np.ndarray
    plain: np.ndarray
    mask: np.ndarray


def view_around(shown: np.ndarray, plain: np.ndarray, mask: np.ndarray) -> View:
    """The window of a mask (bool (H, W), not empty) in two images, uint8 (H, W) or (H, W, 3)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    reach = max(_LEAST_REACH, int(_REACH * (max(np.ptp(rows), np.ptp(columns)) + 1)))
    box = tuple(
        slice(max(0, low - reach), high + reach + 1) for low, high in (rows.tolist(), columns.tolist())
    )
    cut = [image[box] for image in (shown, plain)]
    inside = mask[box]
    scale = SIDE / max(inside.shape)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in inside.shape[::-1])
        cut = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in cut]
        share = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        inside = share >= min(0.5, float(share.max()))
    shown, plain = map(_three, cut)
    ring = _ring(inside)
    if ring.any():  # nothing where the plain image is the source of the other
        plain = plain + np.median(shown[ring] - plain[ring], axis=0)
    return View(shown, plain, inside)


def change_of(view: View) -> tuple[float, float]:
    """How much of a mask visibly changes, and how strongly.

    A change is seen from 2.5 deviations of the surface's own grain on, which count as no less than 4 and no
    more than 10 grey levels.

    Args:
        view: of a painted image and its source; or of a real defect and a good image moved onto it.

    Returns:
        The IoU (0 to 1) of the mask and the pixels that visibly change, and the mean change inside the mask,
        in units of what is seen: 1 is just visible. What changes outside the mask by chance (two images of
        two parts are never alike) raises the level from which a change is seen, and counts off the mean.
    """
    exact = np.abs(view.shown - view.plain).max(axis=2)
    change = cv2.GaussianBlur(exact, (0, 0), _SMOOTH)
    around = _distance_outside(view.mask)
    ring = _ring(view.mask)
    usual, high = 0.0, 0.0
    if ring.any():
        usual, high = float(change[ring].mean()), float(np.quantile(change[ring], 0.9))
    visible = visible_from(view.plain)
    seen = (change >= max(visible, high)) & (exact > 0)  # the blur reaches beyond what has changed
    near = view.mask | (around <= _NEAR)
    union = view.mask | (seen & near)
    overlap = float((seen & view.mask).sum() / union.sum())
    return overlap, max(0.0, float(change[view.mask].mean()) - usual) / visible


def visible_from(image: np.ndarray) -> float:
    """The grey levels by which an image, float32 (h, w, 3), must change for it to be seen."""
    smooth = cv2.GaussianBlur(image.mean(axis=2), (0, 0), _SMOOTH)
    grain = smooth - cv2.GaussianBlur(smooth, (0, 0), 4 * _SMOOTH)
    return float(np.clip(_GRAIN * 1.4826 * np.median(np.abs(grain)), *_VISIBLE))


def seam_of(view: View) -> float:
    """How sharply a defect ends at the border of its mask, measured by its own strength.

    Args:
        view: of a painted image and its source; or of a real defect and a good image moved onto it.

    Returns:
        Mean gradient over the pixels within 2 of the border, less what the plain image has there, as a share
        of the mean change just inside it: 1 is a step from one pixel to the next, 0 a defect that fades out
        before its mask ends. 0 for a mask without a border.
    """
    inside = cv2.distanceTransform(np.pad(view.mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 3)
    inside = inside[1:-1, 1:-1]
    outside = _distance_outside(view.mask)
    border = ((inside > 0) & (inside <= 2)) | ((outside > 0) & (outside <= 1))
    if view.mask.all() or not border.any():
        return 0.0
    steep = [float(_gradient(image)[border].mean()) for image in (view.shown, view.plain)]
    band = view.mask & (inside <= _BAND)
    change = float(np.abs(view.shown - view.plain).max(axis=2)[band].mean())
    return max(0.0, steep[0] - steep[1]) / max(change, _VISIBLE[0])


def raggedness_of(mask: np.ndarray) -> float:
    """How long a mask's border is for its area, bool (h, w): 1 for a disc, more for shreds and holes."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    border = sum(cv2.arcLength(contour, True) for contour in found)
    return max(1.0, float(border / (2 * np.sqrt(np.pi * max(1, int(mask.sum()))))))


def touched_outside(image: np.ndarray, source: np.ndarray, mask: np.ndarray) -> int:
    """How many pixels outside a mask differ at all from the source's; 0 is what is promised."""
    differs = cv2.absdiff(image, source)
    differs[mask] = 0
    if not differs.any():
        return 0
    return int(differs.reshape(*mask.shape, -1).any(axis=2).sum())


def _three(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _distance_outside(mask: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the mask, 0 inside it."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _ring(mask: np.ndarray) -> np.ndarray:
    """The surroundings of a mask, clear of its border."""
    around = _distance_outside(mask)
    return (around > _NEAR) & (around <= _FAR)


def _gradient(image: np.ndarray) -> np.ndarray:
    """(h, w), grey levels a pixel, smoothed over a pixel."""
    smooth = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 0.7)
    across, down = (
        cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3, scale=1 / 8) for dx, dy in ((1, 0), (0, 1))
    )
    return np.sqrt(across**2 + down**2)
