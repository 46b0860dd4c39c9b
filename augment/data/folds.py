"""Which defect images a fit may see, and which are held out to test on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

from augment.data.parts import part_groups
from augment.data.sample import Category, Sample
from augment.errors import DataError
from augment.progress import Progress, no_progress
from augment.recipe import ProtocolConfig

Protocol = Literal["two-fold", "third"]


@dataclass(frozen=True)
class Fold:
    """One split of a defect's images."""

    fit: tuple[Sample, ...]
    test: tuple[Sample, ...]


def folds_of(protocol: Protocol) -> tuple[int, ...]:
    """The fold numbers of a protocol: two for `two-fold`, one for `third`."""
    return (0, 1) if protocol == "two-fold" else (0,)


def split_defect(
    category: Category,
    defect: str,
    config: ProtocolConfig,
    fold: int | Literal["all"],
    progress: Progress = no_progress,
) -> Fold:
    """Split one defect's images such that no physical part is on both sides.

    As `split`, but fold 0 takes whole groups of near-duplicates (`part_groups`), in the order of their first
    image's name, until its share of the images is reached as nearly as possible. A part may show several
    defects, and all its images lie on one side; defects of few parts are split first. Where no part was shot
    twice, or with `data.group_duplicates: false`, it is `split`.

    Args:
        category: all its defects decide, also those not in `Category.defects`.
        defect: one of `Category.defects`.
        config: the protocol.
        fold: a fold of it, or "all".
        progress: makes bars where images must be compared first.

    Raises:
        DataError: as `split`, an image cannot be read, or all images of the defect fall on one side.
    """
    samples = category.defects[defect]
    plain = split(samples, config.protocol, fold)
    if fold == "all" or not config.group_duplicates:
        return plain
    by_defect = defaultdict(list)
    for sample in category.anomalous:
        by_defect[sample.defect].append(sample)
    labels = part_groups(category, progress).labels
    chosen = first_side(by_defect, labels, config.protocol)
    first = tuple(sample for sample in samples if labels[sample.image] in chosen)
    second = tuple(sample for sample in samples if labels[sample.image] not in chosen)
    if not first or not second:
        raise DataError(
            f"All images of {category.key}/{defect} fall on one side of the split, because they show one "
            "part, or parts that other defects need there. Add images of other parts, fit on all of them "
            "with --fold all, or split without regard to parts with --set data.group_duplicates=false."
        )
    return Fold(fit=first, test=second) if fold == 0 else Fold(fit=second, test=first)


def first_side(
    defects: Mapping[str, Sequence[Sample]], labels: Mapping[Path, int], protocol: Protocol
) -> set[int]:
    """The parts on which fold 0 fits (see `split_defect`).

    Args:
        defects: all images of each defect, in order.
        labels: image -> part.
        protocol: its share of a defect's images is aimed at.
    """
    counts = {defect: Counter(labels[s.image] for s in samples) for defect, samples in defects.items()}
    is_first: dict[int, bool] = {}
    for defect in sorted(counts, key=lambda defect: (len(counts[defect]), defect)):
        sizes = counts[defect]
        free = [part for part in sizes if part not in is_first]
        settled = sum(size for part, size in sizes.items() if is_first.get(part))
        reached = list(accumulate((sizes[part] for part in free), initial=settled))
        total = sum(sizes.values())
        both_sides = [cut for cut, size in enumerate(reached) if 0 < size < total]
        wanted = _share(total, protocol)
        cut = min(both_sides or range(len(reached)), key=lambda cut: abs(reached[cut] - wanted))
        is_first |= {part: number < cut for number, part in enumerate(free)}
    return {part for part, first in is_first.items() if first}


def split(samples: Sequence[Sample], protocol: Protocol, fold: int | Literal["all"]) -> Fold:
    """Split one defect's images, in the order given (sorted by name, as the published protocols do).

    `two-fold`: fold 0 fits on the first floor(n/2) images and tests on the rest; fold 1 is the reverse.
    `third`: fold 0 fits on the first floor(n/3) images (at least one) and tests on the rest.
    The fold "all" fits on every image and holds none out, so it cannot be benchmarked.

    Raises:
        DataError: no images, a single image to be split, or a fold the protocol does not have.
    """
    samples = tuple(samples)
    if not samples:
        raise DataError("There are no images of the defect to split.")
    if fold == "all":
        return Fold(fit=samples, test=())
    if fold not in folds_of(protocol):
        known = ", ".join(map(str, folds_of(protocol)))
        raise DataError(f"The protocol '{protocol}' has no fold {fold!r}: choose {known} or all.")
    if len(samples) < 2:
        raise DataError(
            f"{samples[0].image} is the only image of '{samples[0].defect}', so none can be held out: "
            "add images, or fit on it with --fold all."
        )
    cut = _share(len(samples), protocol)
    first, second = samples[:cut], samples[cut:]
    return Fold(fit=first, test=second) if fold == 0 else Fold(fit=second, test=first)


def _share(count: int, protocol: Protocol) -> int:
    """How many of `count` images fold 0 fits on."""
    return max(1, count // 3) if protocol == "third" else count // 2
