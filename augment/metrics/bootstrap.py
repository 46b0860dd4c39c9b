"""Does a training help? The mean difference of two trainings' scores, with a bootstrap interval.

Both are tested on the same images. The interval asks what other test images of the same kinds would have
given: images are drawn anew, with replacement, within each stratum (a defect type, or the good ones), the
same ones for both trainings and for every training seed. What other training images or more seeds would
change is not in it.

The difference itself is exact. For the interval each image is counted once, at a grid of thresholds; a
resample is then a weighted sum of these counts, and all scores follow from the sums. The grid is every
distinct anomalous score where there are at most 2000, else as many quantiles of them; what such a grid
misses of the exact difference is added to both ends of the interval.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (stratified percentile interval).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augment.errors import DataError
from augment.metrics.detection import (
    aupro,
    auroc,
    average_precision,
    check_lengths,
    detection_scores,
    f1_max,
)
from augment.metrics.operating_points import OperatingPoints, defect_pixels

SCORES = ("pixel_ap", "pixel_auroc", "pixel_aupro", "pixel_f1", "image_auroc", "image_ap", "image_f1")
_GRID = 2000  # thresholds
_AT_ONCE = 100  # resamples scored at a time: their sums then stay in the cache


@dataclass(frozen=True)
class MapSet:
    """What a detector said of a test set of N images, and the truth.

    Attributes:
        maps: (H, W) anomaly maps, any range; sizes may differ.
        masks: the true defects, same shapes, nonzero = defect.
        image_scores: one score an image, any range.
        image_labels: True = the image shows a defect.
        strata: the kind of each image, its defect type or "good": resamples keep the number of each.
    """

    maps: Sequence[np.ndarray]
    masks: Sequence[np.ndarray]
    image_scores: Sequence[float]
    image_labels: Sequence[bool]
    strata: Sequence[str]


@dataclass(frozen=True)
class Interval:
    """The mean of candidate minus baseline, and where it lies; NaN where a score is undefined."""

    difference: float
    low: float
    high: float


def verdict(interval: Interval) -> str:
    """In a word: "helps" or "hurts" where the interval excludes 0, else "no evidence"."""
    if interval.low > 0:
        return "helps"
    return "hurts" if interval.high < 0 else "no evidence"


def paired_bootstrap(
    pairs: Sequence[tuple[MapSet, MapSet]],
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    aupro_limit: float = 0.3,
    groups: Sequence[int] | None = None,
) -> dict[str, Interval]:
    """The mean over pairs of candidate - baseline, and its bootstrap interval.

    Args:
        pairs: (baseline, candidate), one pair for each fold and seed; the images of both in the same order.
        resamples: how often test images are drawn anew.
        seed: of the drawing; the same seed, the same numbers.
        level: share of the resamples between the interval's ends, in (0, 1).
        aupro_limit: as in `detection_scores`.
        groups: which pairs share test images (same fold), and so their resamples: a number for each pair.
            None: all do.

    Returns:
        An interval for each of `SCORES`.

    Raises:
        DataError: a score is NaN; no pairs; lengths that differ, or the strata or labels within a group.
        ValueError: `resamples`, `level` or `aupro_limit` out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"Need 1 resample or more and a level in (0, 1), not {resamples} and {level}.")
    groups = [0] * len(pairs) if groups is None else list(groups)
    _check(pairs, groups)

    generator = np.random.default_rng(seed)
    times: dict[int, np.ndarray] = {}  # of each group
    exact = dict.fromkeys(SCORES, 0.0)
    drawn = {name: np.zeros(1 + resamples) for name in SCORES}
    for (baseline, candidate), group in zip(pairs, groups, strict=True):
        if group not in times:
            times[group] = draw(baseline.strata, resamples, generator)
        for test_set, sign in ((baseline, -1), (candidate, 1)):
            scores = detection_scores(
                test_set.maps, test_set.masks, test_set.image_scores, test_set.image_labels, aupro_limit
            )
            resampled = _resampled_scores(test_set, times[group], aupro_limit)
            for name in SCORES:
                exact[name] += sign * scores[name] / len(pairs)
                drawn[name] += sign * resampled[name] / len(pairs)
    return {name: _interval(exact[name], drawn[name], level) for name in SCORES}


def draw(strata: Sequence[str], resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each resample draws each of N images, (1 + resamples, N); the first row is the set itself."""
    strata = np.asarray(strata)
    times = np.ones((1 + resamples, strata.size))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        chance = np.full(members.size, 1 / members.size)
        times[1:, members] = generator.multinomial(members.size, chance, size=resamples)
    return times


@dataclass(frozen=True)
class _Counts:
    """What `OperatingPoints` holds, image by image: (N, K) at the thresholds (K,), and (N,) in all."""

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    false_positives_above: np.ndarray
    overlap: np.ndarray  # summed over the image's regions
    anomalous: np.ndarray
    background: np.ndarray
    regions: np.ndarray

    def drawn(self, times: np.ndarray) -> OperatingPoints:
        """The operating points (R, K) of R test sets in which the images occur so many times, (R, N)."""
        anomalous, regions = times @ self.anomalous, times @ self.regions
        true_positives, overlap = times @ self.true_positives, times @ self.overlap
        overlap /= np.maximum(regions, 1)[:, None]
        true_positives[anomalous == 0] = overlap[anomalous == 0] = np.nan  # nothing to find: no score
        return OperatingPoints(
            self.thresholds,
            true_positives,
            times @ self.false_positives,
            times @ self.false_positives_above,
            overlap,
            anomalous,
            times @ self.background,
        )


def _resampled_scores(test_set: MapSet, times: np.ndarray, aupro_limit: float) -> dict[str, np.ndarray]:
    """Each of `SCORES`, (R,), of R resamples."""
    image_scores = np.asarray(test_set.image_scores, dtype=np.float64)[:, None, None]
    pixels = _count(test_set.maps, test_set.masks)
    images = _count(image_scores, np.asarray(test_set.image_labels, dtype=bool)[:, None, None])
    parts = []
    for start in range(0, len(times), _AT_ONCE):
        now = times[start : start + _AT_ONCE]
        scores = {}
        for kind, counts in (("pixel", pixels), ("image", images)):
            points = counts.drawn(now)
            scores[f"{kind}_auroc"] = auroc(points)
            scores[f"{kind}_ap"] = average_precision(points)
            scores[f"{kind}_f1"] = np.broadcast_to(f1_max(points)[0], len(now))  # a lone NaN without defects
            scores[f"{kind}_aupro"] = np.broadcast_to(aupro(points, aupro_limit), len(now))
        parts.append(scores)
    return {name: np.concatenate([part[name] for part in parts]) for name in SCORES}


def _count(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> _Counts:
    """Count each image at the grid of thresholds (see the module)."""
    masks = [np.asarray(mask) != 0 for mask in masks]
    defects = [defect_pixels(np.asarray(image), mask) for image, mask in zip(maps, masks, strict=True)]
    thresholds, highest = _grid(np.concatenate([scores for scores, _ in defects]))
    columns: list[list] = [[] for _ in range(7)]
    for image, mask, (scores, regions) in zip(maps, masks, defects, strict=True):
        background = np.sort(np.asarray(image)[~mask])
        order = np.argsort(scores)
        sizes = np.bincount(regions)
        below = np.searchsorted(scores[order], thresholds)
        missed = np.append(0.0, np.cumsum((1 / sizes)[regions][order]))
        row = (
            scores.size - below,
            background.size - np.searchsorted(background, thresholds),
            background.size - np.searchsorted(background, highest, side="right"),
            sizes.size - missed[below],
            scores.size,
            background.size,
            sizes.size,
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return _Counts(thresholds, *(np.asarray(column, dtype=np.float64) for column in columns))


def _grid(anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_GRID` thresholds, falling, and the highest anomalous score from each up to the next."""
    distinct = np.unique(anomalous)
    if distinct.size <= _GRID:
        return distinct[::-1], distinct[::-1]
    ranks = np.linspace(0, anomalous.size - 1, _GRID).round().astype(int)
    thresholds = np.unique(np.sort(anomalous)[ranks])
    ends = np.append(np.searchsorted(distinct, thresholds[1:]), distinct.size)
    return thresholds[::-1], distinct[ends - 1][::-1]


def _interval(difference: float, drawn: np.ndarray, level: float) -> Interval:
    """The percentile interval of the resamples `drawn[1:]`, moved by what the grid misses in `drawn[0]`."""
    resampled = drawn[1:][~np.isnan(drawn[1:])]
    if np.isnan(difference) or not resampled.size:
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) + (difference - drawn[0])
    return Interval(float(difference), float(low), float(high))


def _check(pairs: Sequence[tuple[MapSet, MapSet]], groups: Sequence[int]) -> None:
    """Refuse pairs that do not show the same images."""
    if not pairs or len(groups) != len(pairs):
        raise DataError(f"A comparison needs one group a pair, not {len(groups)} for {len(pairs)} pairs.")
    kinds: dict[int, tuple[list, list]] = {}
    for (baseline, candidate), group in zip(pairs, groups, strict=True):
        for test_set in (baseline, candidate):
            check_lengths(test_set.maps, test_set.masks, test_set.image_scores, test_set.image_labels)
            kind = list(test_set.strata), [bool(label) for label in test_set.image_labels]
            if len(kind[0]) != len(kind[1]):
                raise DataError(f"{len(kind[1])} images have {len(kind[0])} strata.")
            if kinds.setdefault(group, kind) != kind:
                raise DataError(
                    "Trainings are compared on the same test images in the same order, but their strata or "
                    "labels differ: give those of each fold a group of its own."
                )
