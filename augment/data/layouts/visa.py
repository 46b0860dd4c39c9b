"""VisA's layout, as it is downloaded.

::

    VisA_20220922/
      split_csv/1cls.csv                object,split,label,image,mask: which normal images are to test on
      CATEGORY/
        image_anno.csv                  image,label,mask: what each anomalous image shows
        Data/Images/Normal/*.JPG
        Data/Images/Anomaly/000.JPG
        Data/Masks/Anomaly/000.png

An image's label may name several anomalies: it is then of the defect `combined`. Without `image_anno.csv`,
or for an image that is not in it, the defect is `anomaly`. Without the split, every tenth normal image is to
test on.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from augment.data.images import is_folder
from augment.data.layouts.listing import CategoryFiles, DefectFiles, images_in, match_files
from augment.errors import DataError

_ANOMALY, _COMBINED = "anomaly", "combined"
_HELD_OUT = 10


def matches(folder: Path) -> bool:
    """Whether `folder` holds `Data/Images`."""
    return is_folder(folder / "Data" / "Images")


def defect_names(root: Path) -> list[str]:
    """The labels of the anomalous images."""
    return list(list_files(root).defects)


def list_files(root: Path) -> CategoryFiles:
    """All files of the category.

    Raises:
        DataError: a table cannot be read.
    """
    normal, images, masks = (
        root / "Data" / part for part in ("Images/Normal", "Images/Anomaly", "Masks/Anomaly")
    )
    found = match_files(_ANOMALY, images, masks)
    labels = _labels(root)
    defects = {
        name: _only(found, name, labels)
        for name in sorted({_defect(image, labels) for image in _images(found)})
    }
    if defects:  # what belongs to no image is shown once
        first = next(iter(defects))
        defects[first] = replace(defects[first], surplus=found.surplus, doubles=found.doubles)
    good = images_in(normal)
    held_out = _held_out(root, good)
    return CategoryFiles(
        train_good=tuple(image for image in good if image not in held_out),
        test_good=tuple(image for image in good if image in held_out),
        defects=defects,
        train_folder=normal,
        test_folder=normal,
        folders=(normal, images, masks),
        words={_name(label): label for label in labels.values() if "," not in label},
    )


def _images(found: DefectFiles) -> list[Path]:
    return [*(sample.image for sample in found.samples), *found.unmasked]


def _only(found: DefectFiles, name: str, labels: dict[str, str]) -> DefectFiles:
    return replace(
        found,
        samples=tuple(
            replace(sample, defect=name) for sample in found.samples if _defect(sample.image, labels) == name
        ),
        unmasked=tuple(image for image in found.unmasked if _defect(image, labels) == name),
        surplus=(),
        doubles=(),
    )


def _defect(image: Path, labels: dict[str, str]) -> str:
    label = labels.get(image.name)
    if label is None:
        return _ANOMALY
    return _COMBINED if "," in label else _name(label)


def _name(label: str) -> str:
    """A label as a defect's name: names are parts of paths."""
    return "_".join(label.replace("/", " ").split())


def _labels(root: Path) -> dict[str, str]:
    """Name of an anomalous image -> its label."""
    rows = _rows(root / "image_anno.csv", ("image", "label"))
    names = {PurePosixPath(row["image"]): row["label"].strip() for row in rows}
    return {path.name: label for path, label in names.items() if path.parent.name == "Anomaly" and label}


def _held_out(root: Path, good: tuple[Path, ...]) -> set[Path]:
    """The normal images to test on."""
    rows = _rows(root.parent / "split_csv" / "1cls.csv", ("object", "split", "image"))
    splits = {PurePosixPath(row["image"]): row["split"] for row in rows if row["object"] == root.name}
    own = {path.name: split for path, split in splits.items() if path.parent.name == "Normal"}
    if own:
        return {image for image in good if own.get(image.name) == "test"}
    return set(good[_HELD_OUT - 1 :: _HELD_OUT])


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table; none where it does not exist."""
    if not path.is_file():
        return []
    return _read_rows(path, path.stat().st_mtime_ns, columns)


@lru_cache(maxsize=32)
def _read_rows(path: Path, _changed: int, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): restore it, or remove it.") from error
    if any(row.get(column) is None for row in rows for column in columns):
        raise DataError(f"{path} must have the columns {', '.join(columns)}: restore it, or remove it.")
    return rows
