"""KolektorSDD's layout, as it is downloaded: one category, one folder for each physical item.

::

    KolektorSDD/
      kos01/Part0.jpg
      kos01/Part0_label.bmp                    black where the image is good

The images with a black label are good. There is no published split of them for anomaly detection: those of
every fifth item are to test on, so that no item is on both sides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from augment.data.images import mask_values
from augment.data.layouts.listing import CategoryFiles, DefectFiles, by_stem, images_in, subfolders
from augment.data.sample import Sample
from augment.errors import DataError

DEFECT = "defect"
_ITEM = re.compile(r"kos\d+", re.IGNORECASE)
_LABEL = "_label"
_HELD_OUT = 5


def matches(folder: Path) -> bool:
    """Whether `folder` holds folders kos01, kos02, ... with a label in the first."""
    items = _items(folder)
    return bool(items) and any(path.stem.endswith(_LABEL) for path in images_in(items[0]))


def defect_names(root: Path) -> list[str]:
    """There is one."""
    return [DEFECT]


def list_files(root: Path) -> CategoryFiles:
    """All files of the category; reads the labels, a second or two, to know which images are good."""
    samples, unmasked, surplus, doubles = [], [], [], []
    good: tuple[list[Path], list[Path]] = ([], [])  # to train, to test
    items = _items(root)
    for number, item in enumerate(items, start=1):
        stems, same = by_stem(images_in(item))
        doubles += same
        for stem, path in stems.items():
            if stem.endswith(_LABEL):
                if stem.removesuffix(_LABEL) not in stems:
                    surplus.append(path)
                continue
            label = stems.get(stem + _LABEL)
            if label is None:
                unmasked.append(path)
            elif _is_black(label, label.stat().st_mtime_ns):
                good[number % _HELD_OUT == 0].append(path)
            else:
                samples.append(Sample(path, label, DEFECT))
    files = DefectFiles(
        tuple(samples), tuple(unmasked), tuple(surplus), tuple(doubles), root, None, "{}_label.bmp"
    )
    return CategoryFiles(tuple(good[0]), tuple(good[1]), {DEFECT: files}, root, root, folders=tuple(items))


def _items(folder: Path) -> list[Path]:
    return [path for path in subfolders(folder) if _ITEM.fullmatch(path.name)]


@lru_cache(maxsize=4096)
def _is_black(label: Path, _changed: int) -> bool:
    try:
        return mask_values(label).max() <= 0
    except DataError:  # found again, and told, where masks are read
        return False
