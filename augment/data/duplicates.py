"""Images of one physical part, found from the images themselves: other exposure, other crop, other name.

A random split that does not know them tests on parts it has trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from augment.data.correlation import Picture, best_correlations, halved, structures
from augment.progress import Progress, no_progress

_THRESHOLD = 0.65  # of the similarity, see `_similarity`
_BASELINE = 4  # images below which what is common to all cannot be told from what is common to two
_RAW_THRESHOLD = 0.9  # of the correlation, where there is no such baseline
_FEW = 5000  # pairs up to which all are compared in full
_PARTNERS = 16  # of each image, that tell what all share, where not all are compared in full; twice as many
_CANDIDATE = 0.2  # similarity at half the resolution from which a pair is compared in full


def group_near_duplicates(
    images: Sequence[Picture], others: Sequence[Picture] = (), progress: Progress = no_progress
) -> np.ndarray:
    """Label images such that those of one physical part share a label.

    Two images are of one part where they are alike beyond what all the images have in common: their partial
    correlation under one common factor reaches 0.65 (see `_similarity`); what is linked through a third image
    is one group. On magnetic tiles shot six times, 97 % of the pairs of one tile reach it, every shot does
    with some other, and no pair of two tiles reaches 0.4. MVTec's bottles all look alike: copies of one with
    other exposure, crop, noise and JPEG reach 0.8 to 0.95, no two of its 63 defect bottles exceed 0.6, and 7
    of the 7140 pairs of its good ones pass (one plainly is one bottle shot twice). Parts that differ by
    little more than reflexes are the hardest: copies of rendered plain bottles reach 0.5 to 0.8.

    Turned, mirrored or rescaled copies are not found, nor are shots whose common part is less than half of
    the smaller one. Groups may hold up to half of the images (with `others`). In fewer than four images the
    plain correlation must reach 0.9.

    Args:
        images: uint8 (H, W) or (H, W, 3), or files, which are read one by one; of any sizes, at one scale.
        others: more images of the same kind, such as normal ones; they tell what all such images share.
        progress: makes bars.

    Returns:
        int (N,), labels 0, 1, ... in the order of each group's first image.

    Raises:
        DataError: a file cannot be read.
    """
    count = len(images)
    every = structures([*images, *others], progress)
    linked = _near_duplicates(every, _all_pairs(count), progress)
    graph = coo_array((np.ones(len(linked)), tuple(linked.T)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1] if count else np.zeros(0, dtype=int)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def near_duplicates_between(
    first: Sequence[Picture], second: Sequence[Picture], progress: Progress = no_progress
) -> list[tuple[int, int]]:
    """Pairs (i, j) of which `first[i]` and `second[j]` show one part, by `group_near_duplicates`' measure."""
    every = structures([*first, *second], progress)
    a, b = np.indices((len(first), len(second))).reshape(2, -1)
    linked = _near_duplicates(every, np.column_stack([a, len(first) + b]), progress)
    return [(int(i), int(j) - len(first)) for i, j in linked]


def _near_duplicates(every: Sequence[np.ndarray], wanted: np.ndarray, progress: Progress) -> np.ndarray:
    """Those of the wanted pairs (P, 2) that show one part.

    Many pairs are first compared at half the resolution, which takes a fifth of the time: of the 76 636
    pairs of 392 magnetic tiles that leaves 2842, among them all 985 that reach the threshold in full, none
    of which has less than 0.4 there.
    """
    count = len(every)
    if count < _BASELINE:
        return wanted[best_correlations(every, wanted) >= _RAW_THRESHOLD]
    if count * (count - 1) // 2 <= _FEW:
        baseline = _all_pairs(count)
    else:
        baseline = _some_pairs(count, _PARTNERS)
        small = [halved(structure) for structure in every]
        wanted = wanted[_similarity(small, wanted, baseline, progress) >= _CANDIDATE]
    return wanted[_similarity(every, wanted, baseline, progress) >= _THRESHOLD]


def _similarity(
    every: Sequence[np.ndarray], wanted: np.ndarray, baseline: np.ndarray, progress: Progress
) -> np.ndarray:
    """How alike wanted pairs are beyond what all the images have in common: about 0 for unrelated ones.

    The partial correlation ``(r_ab - q_a q_b) / sqrt((1 - q_a^2)(1 - q_b^2))`` under one common factor, with
    r of `best_correlations` and q_a^2 an image's median correlation with its partners in the baseline, so
    that ten pictures of ten equal bottles, which correlate at 0.8, are not taken for one bottle.

    Returns:
        float (P,), at most 1.
    """
    count = len(every)
    codes, place = np.unique(np.concatenate([wanted, baseline]) @ [count, 1], return_inverse=True)
    found = best_correlations(every, np.column_stack(np.divmod(codes, count)), progress)
    r, r_baseline = np.split(found[place], [len(wanted)])

    ends = np.concatenate([baseline[:, 0], baseline[:, 1]])
    order = np.argsort(ends, kind="stable")
    parts = np.split(np.tile(r_baseline, 2)[order], np.cumsum(np.bincount(ends, minlength=count))[:-1])
    typical = max(float(np.median(r_baseline)), 1e-6)
    q = np.clip(np.array([np.median(part) for part in parts]) / np.sqrt(typical), 0, 0.99)
    q_a, q_b = q[wanted].T
    return (r - q_a * q_b) / np.sqrt((1 - q_a**2) * (1 - q_b**2))


def _all_pairs(count: int) -> np.ndarray:
    """int (P, 2): every pair a < b."""
    return np.column_stack(np.triu_indices(count, 1))


def _some_pairs(count: int, each: int) -> np.ndarray:
    """int (P, 2), a < b: each image with 2 `each` others, spread evenly over all."""
    steps = np.unique(np.round(np.arange(1, each + 1) * count / (2 * each + 1)).astype(int))
    a = np.repeat(np.arange(count), len(steps))
    return np.unique(np.sort(np.column_stack([a, (a + np.tile(steps, count)) % count])), axis=0)
