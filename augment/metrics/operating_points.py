"""What a detector finds and falsely raises at each threshold that matters: the one sort behind the scores.

A score changes only at the scores of anomalous pixels, and these are few. So the many background scores are
sorted alone, as bare values (no indices are carried), and the anomalous ones are looked up in them. Ranks
add: a large test set's background is sorted in chunks, one after the other in the same buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from augment.errors import DataError

_CHUNK = 1 << 27  # background scores sorted at a time, at most: 512 MiB of float32
_PART = 1 << 15  # scores worked on at a time: what is made of them then stays in the cache
_BLOCK = 2048  # anomalous scores looked up at a time: their neighbourhood then stays in the cache


@dataclass(frozen=True)
class OperatingPoints:
    """What is found, and what is raised falsely, at each of K anomalous scores, strictest first.

    "At t" means that every score >= t counts as anomalous. The arrays have shape (K,), or (..., K) for many
    test sets at the same thresholds; then `anomalous` and `background` have shape (...).

    Attributes:
        thresholds: the distinct anomalous scores, falling, (K,).
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
    anomalous: int | np.ndarray
    background: int | np.ndarray


def operating_points(
    anomalous: np.ndarray, background: np.ndarray, regions: np.ndarray | None = None
) -> OperatingPoints:
    """Rank the anomalous scores among the background's: the one sort behind every score here.

    Args:
        anomalous: (P,) scores of the anomalous pixels or images.
        background: (Q,) scores of the normal ones, of the same dtype; sorted in place.
        regions: (P,) int, the number (from 0) of the defect region of each. None: each is its own region.

    Raises:
        DataError: a score is NaN.
    """
    return _ranked(*_found(anomalous, regions), [background])


def parts(size: int) -> list[slice]:
    """The indices of so many scores, cut into parts that stay in the cache while they are worked on."""
    return [slice(start, min(start + _PART, size)) for start in range(0, size, _PART)]


def image_points(image_scores: Sequence[float], image_labels: Sequence[bool]) -> OperatingPoints:
    """Operating points of the images (arguments and errors as for `detection_scores`)."""
    scores = np.asarray(image_scores, dtype=np.float64)
    labels = np.asarray(image_labels, dtype=bool)
    return operating_points(scores[labels], scores[~labels])


def pixel_points(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> OperatingPoints:
    """Operating points of all pixels (arguments and errors as for `detection_scores`)."""
    anomalous, regions, background = [np.empty(0, np.float32)], [np.empty(0, np.int32)], []
    count = 0
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        anomaly_map, mask = np.asarray(anomaly_map), np.asarray(mask, dtype=bool)
        if anomaly_map.shape != mask.shape:
            raise DataError(f"Map {index} has shape {anomaly_map.shape}, but its mask {mask.shape}.")
        scores, labels = defect_pixels(anomaly_map, mask)
        anomalous.append(scores)
        regions.append(labels + count)
        background.append(mask.size - scores.size)
        count += labels.max(initial=-1) + 1
    anomalous, regions = np.concatenate(anomalous), np.concatenate(regions)
    chunks = _background_chunks(maps, masks, background, anomalous.dtype)
    found = _found(anomalous, regions)
    del anomalous, regions  # before the background takes its place in memory
    return _ranked(*found, chunks)


def defect_pixels(anomaly_map: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores (P,) of a mask's pixels, and the number (P,) int32 of the region that each belongs to.

    A region is an 8-connected component of the mask (H, W) bool; they are numbered from 0.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.empty(0, anomaly_map.dtype), np.empty(0, np.int32)
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask = mask[box]
    labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1]
    return anomaly_map[box][mask], labels[mask] - 1


def _background_chunks(
    maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], counts: Sequence[int], dtype: np.dtype
) -> Iterator[np.ndarray]:
    """The background scores of whole images, `counts` of them each, in chunks that share one buffer."""
    buffer = np.empty(max(min(sum(counts), _CHUNK), *counts, 0), dtype)
    filled = 0
    for anomaly_map, mask, count in zip(maps, masks, counts, strict=True):
        if filled + count > buffer.size:
            yield buffer[:filled]
            filled = 0
        for part in _background_parts(np.asarray(anomaly_map), np.asarray(mask, dtype=bool), count):
            buffer[filled : filled + part.size] = part
            filled += part.size
    yield buffer[:filled]


def _background_parts(anomaly_map: np.ndarray, mask: np.ndarray, count: int) -> list[np.ndarray]:
    """The `count` background scores of an image: the rows that are free of defects are taken whole."""
    if count == anomaly_map.size:
        return [anomaly_map.ravel()]
    rows = np.flatnonzero(mask.any(axis=1))
    top, end = rows[0], rows[-1] + 1
    return [anomaly_map[:top].ravel(), anomaly_map[top:end][~mask[top:end]], anomaly_map[end:].ravel()]


def _found(anomalous: np.ndarray, regions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The thresholds, true positives and overlap of `OperatingPoints`."""
    falling, share = _falling(anomalous, regions)
    _refuse_nan(falling)
    ends = np.ones(falling.size, dtype=bool)  # of runs of equal scores
    np.not_equal(falling[1:], falling[:-1], out=ends[:-1])
    last = np.flatnonzero(ends)
    if share is None:
        overlap = (last + 1) / max(falling.size, 1)
    else:
        overlap = np.cumsum(share, out=share)[last]
        np.minimum(overlap, 1, out=overlap)
    thresholds = falling[last]
    last += 1
    return thresholds, last, overlap


def _ranked(
    thresholds: np.ndarray, true_positives: np.ndarray, overlap: np.ndarray, background: Iterable[np.ndarray]
) -> OperatingPoints:
    """Look up what is found among the background's scores, chunk by chunk; each is sorted in place."""
    below, not_above = np.zeros((2, thresholds.size), dtype=np.int64)
    total = 0
    for chunk in background:
        chunk.sort()
        _refuse_nan(chunk)
        _add_ranks(chunk, thresholds[::-1], below[::-1], not_above[::-1])
        total += chunk.size
    return OperatingPoints(
        thresholds=thresholds,
        true_positives=true_positives,
        false_positives=np.subtract(total, below, out=below),
        false_positives_above=np.subtract(total, not_above, out=not_above),
        overlap=overlap,
        anomalous=int(true_positives[-1:].sum()),
        background=total,
    )


def _falling(scores: np.ndarray, regions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The scores, highest first, and what finding each adds to the mean overlap of the regions."""
    if regions is None:
        return np.sort(scores)[::-1], None
    sizes = np.bincount(regions)
    share = 1 / sizes / sizes.size
    if scores.dtype != np.float32:
        order = np.argsort(scores)[::-1]
        return scores[order], share[regions[order]]
    # One sort of 64-bit words, the score (negated) above the region, is three times as fast as an argsort.
    words = np.empty(scores.size, np.int64)
    for part in parts(scores.size):
        words[part] = ~_swap_negative(scores[part].view(np.int32))
        words[part] <<= 32
        words[part] |= regions[part]
    words.sort()
    falling, shares = np.empty_like(scores), words.view(np.float64)  # in the words' place
    for part in parts(scores.size):
        falling[part] = _swap_negative(~(words[part] >> 32).astype(np.int32)).view(np.float32)
        shares[part] = share[words[part] & 0xFFFFFFFF]
    return falling, shares


def _swap_negative(bits: np.ndarray) -> np.ndarray:
    """The bits of float32, as int32, to integers that rise as the floats do; and back."""
    return bits ^ (bits >> 31 & 0x7FFFFFFF)


def _add_ranks(rising: np.ndarray, thresholds: np.ndarray, below: np.ndarray, not_above: np.ndarray) -> None:
    """Add to `below` and `not_above` how many of the scores are < and <= each threshold; both inputs rise."""
    if not rising.size:
        return
    edges = np.append(np.searchsorted(rising, thresholds[::_BLOCK]), rising.size)
    for start, (low, high) in zip(range(0, thresholds.size, _BLOCK), pairwise(edges), strict=True):
        block = slice(start, start + _BLOCK)
        near, sought = rising[low:high], thresholds[block]
        left = low + np.searchsorted(near, sought, side="left")
        below[block] += left
        tied = np.flatnonzero(rising[np.minimum(left, rising.size - 1)] == sought)
        left[tied] = low + np.searchsorted(near, sought[tied], side="right")
        not_above[block] += left


def _refuse_nan(sorted_scores: np.ndarray) -> None:
    """Raise where the scores hold NaN: once sorted, it stands at an end."""
    if np.isnan(sorted_scores[:1]).any() or np.isnan(sorted_scores[-1:]).any():
        raise DataError(
            "A detector's score is NaN, so nothing can be ranked: its training has probably diverged."
        )
