"""Image and pixel detection scores: AUROC, AP, F1-max and AUPRO, exact, from one sort.

No binning, no sigmoid: scores may lie in any range, and ties are counted as ties.

What a score needs, and what it is without (scikit-learn raises or returns 0 in some of these cases):

=================  =====================  ====================================
no anomalous       all scores             NaN: there is nothing to find
no background      AUROC, AUPRO           NaN: there is no false-positive rate
no background      AP, F1-max             1, as in scikit-learn
=================  =====================  ====================================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augment.errors import DataError
from augment.metrics.operating_points import OperatingPoints, image_points, parts, pixel_points


def auroc(points: OperatingPoints) -> float | np.ndarray:
    """Area under the ROC curve: how often an anomalous score beats a background one (a tie counts half)."""
    lost = 0.0
    for part in parts(points.thresholds.size):
        not_beaten = (points.false_positives[..., part] + points.false_positives_above[..., part]) / 2
        lost = lost + _dot(_gained(points.true_positives, part), not_beaten)
    return 1 - _ratio(lost, points.anomalous * points.background)


def average_precision(points: OperatingPoints) -> float | np.ndarray:
    """Average precision: the sum of (recall gained) x (precision), as in scikit-learn, not interpolated."""
    total = 0.0
    for part in parts(points.thresholds.size):
        found, raised = points.true_positives[..., part], points.false_positives[..., part]
        total = total + _dot(_gained(points.true_positives, part), found / np.maximum(found + raised, 1))
    return _ratio(total, points.anomalous)


def f1_max(points: OperatingPoints) -> tuple[float | np.ndarray, float | np.ndarray]:
    """The best F1 over all thresholds t (score >= t: anomalous), and the strictest t that gives it."""
    if not points.thresholds.size:
        return float("nan"), float("nan")
    anomalous = np.asarray(points.anomalous)[..., None]
    f1 = np.empty(points.true_positives.shape)
    for part in parts(points.thresholds.size):
        found, raised = points.true_positives[..., part], points.false_positives[..., part]
        np.divide(2 * found, found + raised + anomalous, out=f1[..., part])
    return f1.max(axis=-1), points.thresholds[np.argmax(f1, axis=-1)]


def aupro(points: OperatingPoints, limit: float = 0.3) -> float | np.ndarray:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

    The curve rises only at anomalous scores: straight up, or along a line where background scores tie with
    one. So a gain in overlap counts for as much of [0, limit] as is still ahead of it, on average.

    Args:
        points: made with the region of each pixel, so that every defect region counts alike.
        limit: false-positive rate in (0, 1] at which the integral ends (linear in between, as in the source).

    Raises:
        ValueError: `limit` outside (0, 1].

    Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, and MVTec's evaluation code.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"The AUPRO limit must lie in (0, 1], not {limit}.")
    if not points.thresholds.size:
        return float("nan")
    reach = limit * np.asarray(points.background, dtype=np.float64)[..., None]  # false positives at the limit
    area = 0.0
    for part in parts(points.thresholds.size):
        above, at = points.false_positives_above[..., part], points.false_positives[..., part]
        gained = _gained(points.overlap, part)
        if np.any(reach < at[..., -1:]):
            cut = np.nonzero((above < reach) & (reach < at))  # the rise the limit cuts short: one at most
            gained[cut] *= (reach - above)[cut] / (at - above)[cut]
            above, at = np.minimum(above, reach), np.minimum(at, reach)
        area = area + _dot(gained, reach - (above + at) / 2)
    return _ratio(area, reach[..., 0])


def detection_scores(
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    image_scores: Sequence[float],
    image_labels: Sequence[bool],
    aupro_limit: float = 0.3,
) -> dict[str, float]:
    """Every score of a test set.

    Args:
        maps: one (H, W) anomaly map an image, higher = more anomalous, any range; sizes may differ. Each is
            looked up twice, one at a time, so a sequence that reads from disk (`np.load(..., mmap_mode="r")`)
            need not fit into memory.
        masks: the true defects, same shapes, nonzero = defect.
        image_scores: one score an image, higher = more anomalous, any range.
        image_labels: True = the image shows a defect.
        aupro_limit: false-positive rate up to which AUPRO integrates.

    Returns:
        `image_auroc`, `image_ap`, `image_f1`, `image_f1_threshold`, `pixel_auroc`, `pixel_ap`, `pixel_f1`,
        `pixel_f1_threshold`, `pixel_aupro` (up to `aupro_limit`), `pixel_aupro_05` (up to 0.05); NaN where
        undefined (see the module).

    Raises:
        DataError: a score is NaN, a map and its mask differ in shape, or the lengths differ.
    """
    check_lengths(maps, masks, image_scores, image_labels)
    images, pixels = image_points(image_scores, image_labels), pixel_points(maps, masks)
    image_f1, image_threshold = f1_max(images)
    pixel_f1, pixel_threshold = f1_max(pixels)
    scores = {
        "image_auroc": auroc(images),
        "image_ap": average_precision(images),
        "image_f1": image_f1,
        "image_f1_threshold": image_threshold,
        "pixel_auroc": auroc(pixels),
        "pixel_ap": average_precision(pixels),
        "pixel_f1": pixel_f1,
        "pixel_f1_threshold": pixel_threshold,
        "pixel_aupro": aupro(pixels, aupro_limit),
        "pixel_aupro_05": aupro(pixels, 0.05),
    }
    return {name: float(score) for name, score in scores.items()}


def check_lengths(maps: Sequence, masks: Sequence, image_scores: Sequence, image_labels: Sequence) -> None:
    """Refuse a test set that has not one map, mask, score and label an image.

    Raises:
        DataError: the lengths differ.
    """
    if not len(maps) == len(masks) == len(image_scores) == len(image_labels):
        raise DataError(
            f"Scores need one map, mask, score and label an image, not {len(maps)}, {len(masks)}, "
            f"{len(image_scores)} and {len(image_labels)}."
        )


def _gained(rising: np.ndarray, part: slice) -> np.ndarray:
    """By how much a rate (..., K) rises at each threshold of a part."""
    if part.start == 0:
        return np.diff(rising[..., part], prepend=0)
    return np.diff(rising[..., part.start - 1 : part.stop])


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sum of the products along the last axis."""
    return np.einsum("...k,...k", one, other)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)
