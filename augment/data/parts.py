"""Which of a category's images show one physical part: found from the images once, then kept.

The findings are kept in the user's cache folder (`resources.cache_folder`), never beside the images, under a
name made of the hashes of all files they come from: a changed, added or removed image has them found anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.data.duplicates import group_near_duplicates, near_duplicates_between
from augment.data.images import file_sha256
from augment.data.sample import Category
from augment.errors import WorkspaceError
from augment.progress import Progress, no_progress
from augment.resources import cache_folder
from augment.workspace.files import atomic_write_json

_VERSION = 1  # of the measure; raise it with every change that may group images otherwise
_ENOUGH = 40  # images that tell what all images of a category share; good ones fill up to it

_log = logging.getLogger(__name__)
_found: dict[tuple, list] = {}  # of this process, by the files' names, sizes and times


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
    """What `find` returns for these files, from this process, else from the cache folder, else found now."""
    stamp = (name, *(tuple(map(_stamp, part)) for part in files))
    if stamp not in _found:
        hashes = [[file_sha256(path) for path in part] for part in files]
        digest = hashlib.sha256(json.dumps([_VERSION, name, hashes]).encode()).hexdigest()
        path = cache_folder() / "parts" / f"{digest}.json"
        found = _read(path, length)
        if found is None:
            found = find()
            try:
                atomic_write_json(path, found)
            except WorkspaceError as error:
                _log.info("which images show one part is not kept for the next time: %s", error)
        _found[stamp] = found
    return _found[stamp]


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return str(path), 0, 0  # hashing it will say what is wrong
    return str(path), facts.st_size, facts.st_mtime_ns


def _read(path: Path, length: int | None) -> list | None:
    """A list that was kept, of `length` items where that is known; None where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, list) and length in (None, len(value)) else None
