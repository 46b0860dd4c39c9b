"""Image and pixel detection scores: AUROC, AP, F1-max and AUPRO, exact, from one sort.

All four change only at the scores of anomalous pixels, and these are few. So the many background scores
are sorted alone, as bare values (no indices are carried), and the anomalous ones are looked up in them. No
binning, no sigmoid: scores may lie in any range, and ties are counted as ties.

What a score needs, and what it is without (scikit-learn raises or returns 0 in some of these cases):

=================  =====================  ====================================
no anomalous       all scores             NaN: there is nothing to find
no background      AUROC, AUPRO           NaN: there is no false-positive rate
no background      AP, F1-max             1, as in scikit-learn
=================  =====================  ====================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from augment.errors import DataError

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class OperatingPoints:
    """What is found, and what is raised falsely, at each distinct anomalous score, strictest first.

    "At t" means that every score >= t counts as anomalous. All arrays have shape (K,).

    Attributes:
        thresholds: the distinct anomalous scores, falling.
        true_positives: anomalous scores >= t.
        false_positives: background scores >= t.
        false_positives_above: background scores > t.
        overlap: mean share of a defect region found at t, in [0, 1]; without regions, the share of all.
        anomalous: number of anomalous scores.
        background: number of background scores.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    false_positives_above: np.ndarray
    overlap: np.ndarray
    anomalous: int
    background: int


def operating_points(
    anomalous: np.ndarray, background: np.ndarray, weights: np.ndarray | None = None
) -> OperatingPoints:
    """Rank the anomalous scores among the background's: the one sort behind every score here.

    Args:
        anomalous: (P,) scores of the anomalous pixels or images.
        background: (Q,) scores of the normal ones, of the same dtype; sorted in place.
        weights: (P,) what each anomalous pixel adds to the mean region overlap, 1 in sum. None: 1 / P each.

    Raises:
        DataError: a score is NaN.
    """
    background.sort()
    order = np.argsort(anomalous)
    rising = anomalous[order]
    if (rising.size and np.isnan(rising[-1])) or (background.size and np.isnan(background[-1])):
        raise DataError(
            "A detector's score is NaN, so nothing can be ranked: its training has probably diverged."
        )

    if weights is None:
        weights = np.full(anomalous.size, 1 / max(anomalous.size, 1))
    thresholds, first = np.unique(rising, return_index=True)
    found_share = np.cumsum(weights[order][::-1])[::-1][first]
    return OperatingPoints(
        thresholds=thresholds[::-1],
        true_positives=(anomalous.size - first)[::-1],
        false_positives=(background.size - np.searchsorted(background, thresholds, side="left"))[::-1],
        false_positives_above=(background.size - np.searchsorted(background, thresholds, side="right"))[::-1],
        overlap=np.minimum(found_share, 1.0)[::-1],
        anomalous=anomalous.size,
        background=background.size,
    )


def auroc(points: OperatingPoints) -> float:
    """Area under the ROC curve: how often an anomalous score beats a background one (a tie counts half)."""
    if not points.anomalous or not points.background:
        return float("nan")
    at_threshold = np.diff(points.true_positives, prepend=0)
    not_beaten = (points.false_positives + points.false_positives_above) / 2
    return float(1 - at_threshold @ not_beaten / points.anomalous / points.background)


def average_precision(points: OperatingPoints) -> float:
    """Average precision: the sum of (recall gained) x (precision), as in scikit-learn, not interpolated."""
    if not points.anomalous:
        return float("nan")
    at_threshold = np.diff(points.true_positives, prepend=0)
    precision = points.true_positives / (points.true_positives + points.false_positives)
    return float(at_threshold @ precision / points.anomalous)


def f1_max(points: OperatingPoints) -> tuple[float, float]:
    """The best F1 over all thresholds t (score >= t: anomalous), and the strictest t that gives it."""
    if not points.anomalous:
        return float("nan"), float("nan")
    f1 = 2 * points.true_positives / (points.true_positives + points.false_positives + points.anomalous)
    best = int(np.argmax(f1))
    return float(f1[best]), float(points.thresholds[best])


def aupro(points: OperatingPoints, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

    Between two anomalous scores only the false-positive rate grows, so the curve is flat there; where
    background scores tie with an anomalous one it rises along a line. Two vertices a threshold hold it all.

    Args:
        points: made with weights that give every defect region the same share.
        limit: false-positive rate in (0, 1] at which the integral ends (linear in between, as in the source).

    Raises:
        ValueError: `limit` outside (0, 1].

    Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, and MVTec's evaluation code.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"The AUPRO limit must lie in (0, 1], not {limit}.")
    if not points.anomalous or not points.background:
        return float("nan")
    false_positives = np.stack([points.false_positives_above, points.false_positives], axis=1).ravel()
    rate = np.concatenate([[0.0], false_positives / points.background, [1.0]])
    overlap = np.concatenate([[0.0], [0.0], np.repeat(points.overlap, 2)])
    inside = rate <= limit
    overlap = np.append(overlap[inside], np.interp(limit, rate, overlap))
    return float(np.trapezoid(overlap, np.append(rate[inside], limit)) / limit)


def detection_scores(
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    image_scores: Sequence[float],
    image_labels: Sequence[bool],
    aupro_limit: float = 0.3,
) -> dict[str, float]:
    """Every score of a test set.

    Args:
        maps: one (H, W) anomaly map an image, higher = more anomalous, any range; sizes may differ.
        masks: the true defects, same shapes, nonzero = defect.
        image_scores: one score an image, higher = more anomalous, any range.
        image_labels: True = the image shows a defect.
        aupro_limit: false-positive rate up to which AUPRO integrates.

    Returns:
        `image_auroc`, `image_ap`, `image_f1`, `image_f1_threshold`, `pixel_auroc`, `pixel_ap`, `pixel_f1`,
        `pixel_f1_threshold`, `pixel_aupro`; NaN where undefined (see the module).

    Raises:
        DataError: a score is NaN, a map and its mask differ in shape, or the lengths differ.
    """
    if not len(maps) == len(masks) == len(image_scores) == len(image_labels):
        raise DataError(
            f"Scores need one map, mask, score and label an image, not {len(maps)}, {len(masks)}, "
            f"{len(image_scores)} and {len(image_labels)}."
        )
    pixels = _pixel_points(maps, masks)
    scores = np.asarray(image_scores, dtype=np.float64)
    labels = np.asarray(image_labels, dtype=bool)
    images = operating_points(scores[labels], scores[~labels])

    image_f1, image_threshold = f1_max(images)
    pixel_f1, pixel_threshold = f1_max(pixels)
    return {
        "image_auroc": auroc(images),
        "image_ap": average_precision(images),
        "image_f1": image_f1,
        "image_f1_threshold": image_threshold,
        "pixel_auroc": auroc(pixels),
        "pixel_ap": average_precision(pixels),
        "pixel_f1": pixel_f1,
        "pixel_f1_threshold": pixel_threshold,
        "pixel_aupro": aupro(pixels, aupro_limit),
    }


def _pixel_points(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> OperatingPoints:
    """Operating points of all pixels; a defect region is an 8-connected component of one mask."""
    dtype = np.result_type(np.float32, *(np.asarray(anomaly_map).dtype for anomaly_map in maps))
    anomalous, background, weights = [], [], []
    regions = 0
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        anomaly_map, mask = np.asarray(anomaly_map), np.asarray(mask) != 0
        if anomaly_map.shape != mask.shape:
            raise DataError(f"Map {index} has shape {anomaly_map.shape}, but its mask {mask.shape}.")
        background.append(anomaly_map[~mask])
        if mask.any():
            labels, count = ndimage.label(mask, structure=_EIGHT_CONNECTED)
            labels = labels[mask]
            anomalous.append(anomaly_map[mask])
            weights.append(1 / np.bincount(labels)[labels])
            regions += count
    empty = [np.empty(0)]  # so that a test set without a defect, or without background, can be joined too
    return operating_points(
        np.concatenate(anomalous or empty).astype(dtype),
        np.concatenate(background or empty).astype(dtype),
        np.concatenate(weights or empty) / max(regions, 1),
    )
