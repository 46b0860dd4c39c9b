"""Checks of what training and test have in common, and of how many images each has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

from augment.data.check.finding import Finding
from augment.data.check.inspection import Inspection
from augment.data.folds import Protocol, folds_of, split, split_defect
from augment.data.parts import good_parts_in_both, part_groups
from augment.errors import DataError
from augment.progress import Progress
from augment.recipe import ProtocolConfig

_FEW_GOOD = 10  # training images below which results are chance
_FEW_FITTED = 3  # images of a defect in a fold


def check_copies(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Files that are, byte for byte, in two places."""
    places = defaultdict(list)
    of = {path: "train/good" for path in found.train_good} | {path: "test/good" for path in found.test_good}
    of |= {path: defect for defect in found.defects for path in found.images_of(defect)}
    for path, digest in found.hashes.items():
        places[digest].append(path)
    for paths in places.values():
        kinds = list(dict.fromkeys(of[path] for path in paths))
        if len(paths) == 1 or not any(
            kind in ("train/good", "test/good", *found.folder.defects) for kind in kinds
        ):
            continue
        first, second = paths[0], next((path for path in paths if of[path] != kinds[0]), paths[1])
        same = f"is the same file as {first}"
        good = [kind for kind in kinds if kind.endswith("/good")]
        if good and len(good) < len(kinds):
            yield Finding(
                "error", str(second), same, "it cannot be both good and defective: remove one of them"
            )
        elif len(good) == 2:
            yield Finding(
                "warning", str(second), same, "a benchmark leaves it out of the training: remove one of them"
            )
        elif not good and len(kinds) > 1:
            yield Finding(
                "note", str(second), same, "one part with two defects; both stay on one side of every split"
            )
        else:
            yield Finding("note", str(second), same, "it counts twice: remove one of them")


def check_good_parts(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Good parts of which one image is in train and another in test."""
    for test, train in good_parts_in_both(found.usable, progress):
        if found.hashes[test] != found.hashes[train]:
            yield Finding(
                "warning",
                str(test),
                f"seems to show the part of {train}",
                "a detector is tested on a part it has trained on: look at both, and remove one",
            )


def check_parts(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Defect images of one part, which a plain split would have on both sides."""
    category = found.usable
    labels = part_groups(category, progress).labels
    for defect in found.folder.defects:
        samples = category.defects[defect]
        parts = {labels[sample.image] for sample in samples}
        if len(parts) == len(samples):
            continue
        straddling = {}
        for protocol in get_args(Protocol):
            fold = split(samples, protocol, 0)
            fit, test = ({labels[s.image] for s in side} for side in (fold.fit, fold.test))
            straddling[protocol] = len(fit & test)
        counts = ", ".join(f"{protocol} {count}" for protocol, count in straddling.items())
        yield Finding(
            "note",
            f"{category.key}/{defect}",
            f"{len(samples)} images show {len(parts)} parts",
            f"each is kept on one side (data.group_duplicates); plain splits have some on both ({counts})",
        )


def check_counts(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Too few images to learn from or to test on."""
    category = found.usable
    if 0 < len(category.train_good) < _FEW_GOOD:
        yield Finding(
            "warning",
            f"{category.key}/train/good",
            f"has {len(category.train_good)} images",
            f"backgrounds will repeat, and a benchmark is chance: {_FEW_GOOD} or more are wanted",
        )
    for defect in found.folder.defects:
        samples = category.defects[defect]
        smallest = len(samples)
        try:
            for protocol in get_args(Protocol):
                for fold in folds_of(protocol):
                    if samples:
                        split_defect(category, defect, ProtocolConfig(protocol), fold, progress)
            two_fold = [split_defect(category, defect, ProtocolConfig(), fold) for fold in (0, 1) if samples]
            smallest = min((len(fold.fit) for fold in two_fold), default=0)
        except DataError as error:
            yield Finding("error", f"{category.key}/{defect}", str(error).rstrip("."), "a fit stops")
        if len(samples) > 1 and smallest < _FEW_FITTED:
            yield Finding(
                "warning",
                f"{category.key}/{defect}",
                f"a fit sees only {smallest} of {len(samples)} images",
                f"what it paints will be those again: {_FEW_FITTED} or more a fold are wanted",
            )
