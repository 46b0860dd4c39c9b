"""Which of a category's images show one physical part: found from the images once, then kept.

The findings are kept in the user's cache folder (see `kept`): a changed, added or removed image has them
found anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.data.duplicates import group_near_duplicates, near_duplicates_between
from augment.data.kept import kept
from augment.data.sample import Category
from augment.progress import Progress, no_progress

_VERSION = 1  # of the measure; raise it with every change that may group images otherwise
_ENOUGH = 40  # images that tell what all images of a category share; good ones fill up to it
_found: dict[tuple, list] = {}  # of this process


@dataclass(frozen=True)
class PartGroups:
    """The parts that a category's defect images show.

    Attributes:
        labels: image -> number of its part, in the order of each part's first image.
    """

    labels: Mapping[Path, int]

    def __len__(self) -> int:
        return len(set(self.labels.values()))

    def repeated(self) -> tuple[tuple[Path, ...], ...]:
        """The images of each part that has several."""
        parts = defaultdict(list)
        for image, label in self.labels.items():
            parts[label].append(image)
        return tuple(tuple(images) for images in parts.values() if len(images) > 1)


def part_groups(category: Category, progress: Progress = no_progress) -> PartGroups:
    """The parts that the defect images of a category show, over all its defects (`Category.anomalous`).

    With fewer than 40 such images, good training images help to tell what all images share. All are compared
    with all, which for hundreds takes half a minute the first time.

    Raises:
        DataError: an image cannot be read.
    """
    images = [sample.image for sample in category.anomalous]
    good = [sample.image for sample in category.train_good[: max(0, _ENOUGH - len(images))]]
    labels = _kept(
        "parts", [images, good], lambda: group_near_duplicates(images, good, progress).tolist(), len(images)
    )
    return PartGroups(dict(zip(images, labels, strict=True)))


def good_parts_in_both(category: Category, progress: Progress = no_progress) -> list[tuple[Path, Path]]:
    """Pairs of a test and a training good image that show one part, each test image once.

    Raises:
        DataError: an image cannot be read.
    """
    test, train = ([s.image for s in samples] for samples in (category.test_good, category.train_good))
    pairs = _kept("good", [test, train], lambda: near_duplicates_between(test, train, progress))
    return list({test[i]: (test[i], train[j]) for i, j in reversed(pairs)}.values())[::-1]


def _kept(
    name: str, files: Sequence[Sequence[Path]], find: Callable[[], list], length: int | None = None
) -> list:
    """What `find` returns for these files, a list, of `length` items where that is known."""

    def is_usable(value: object) -> bool:
        return isinstance(value, list) and length in (None, len(value))

    return kept("parts", name, _VERSION, files, find, is_usable, _found)
