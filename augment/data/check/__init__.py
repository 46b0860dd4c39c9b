"""What is wrong or surprising in a category folder, and what the other commands do about it.

Each check is one small function from an `Inspection` to findings; `CHECKS` lists them in the order shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from augment.data.check import files, splits
from augment.data.check.finding import Check, Finding, Severity
from augment.data.check.inspection import Inspection, inspect_category
from augment.data.folds import Protocol, split_defect
from augment.data.parts import part_groups
from augment.errors import DataError
from augment.progress import Progress, no_progress
from augment.recipe import ProtocolConfig

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Severity",
    "Summary",
    "check_category",
    "inspect_category",
    "summaries",
]

CHECKS: tuple[Check, ...] = (
    files.check_folders,
    files.check_readable,
    files.check_pairs,
    files.check_sizes,
    files.check_masks,
    splits.check_copies,
    splits.check_good_parts,
    splits.check_parts,
    splits.check_counts,
    files.check_kinds,
)


@dataclass(frozen=True)
class Summary:
    """One row of `augment check`: good images, or a defect.

    Attributes:
        target: DATASET/CATEGORY/train/good, .../test/good, or DATASET/CATEGORY/DEFECT.
        images: that can be used.
        parts: physical parts they show; None for good images, which are not grouped.
        two_fold, third: images that fold 0 of a protocol fits on and tests on; None where it has none.
    """

    target: str
    images: int
    parts: int | None
    two_fold: tuple[int, int] | None
    third: tuple[int, int] | None


def check_category(found: Inspection, progress: Progress = no_progress) -> list[Finding]:
    """The findings of all checks, errors first."""
    findings = [
        replace(finding, check=check.__name__) for check in CHECKS for finding in check(found, progress)
    ]
    return sorted(findings, key=lambda finding: get_args(Severity).index(finding.severity))


def summaries(found: Inspection, progress: Progress = no_progress) -> list[Summary]:
    """How many images, parts and fold members there are."""
    key, category = found.folder.key, found.usable
    rows = [
        Summary(f"{key}/{part}/good", len(samples), None, None, None)
        for part, samples in (("train", category.train_good), ("test", category.test_good))
    ]
    groups = part_groups(category, progress)
    for defect in found.folder.defects:
        samples = category.defects[defect]
        sizes = []
        for protocol in get_args(Protocol):
            try:
                fold = split_defect(category, defect, ProtocolConfig(protocol), 0, progress)
                sizes.append((len(fold.fit), len(fold.test)))
            except DataError:
                sizes.append(None)
        parts = {groups.labels[sample.image] for sample in samples}
        rows.append(Summary(f"{key}/{defect}", len(samples), len(parts), *sizes))
    return rows
