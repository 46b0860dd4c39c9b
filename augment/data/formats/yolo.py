"""YOLO segmentation: one text file an image, one line an object (class and a polygon between 0 and 1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from augment.data.formats.outlines import parts
from augment.data.formats.reading import (
    Label,
    LabelledImage,
    Reading,
    ReadOptions,
    files_below,
    images_below,
)
from augment.data.formats.shapes import Polygon, Size, box
from augment.data.formats.writing import ExportImage
from augment.data.images import image_size
from augment.errors import DataError
from augment.workspace.files import atomic_write_text

_LISTS = ("classes.txt", "obj.names", "train.txt", "val.txt", "valid.txt", "test.txt", "requirements.txt")


def read(source: Path, options: ReadOptions) -> Reading:
    """Read a folder of YOLO labels.

    The file of an image has the image's name and lies where `labels` takes the place of `images` in its path
    (`images/train/a.jpg`, `labels/train/a.txt`), or beside it, or, with `options.images`, below `source`. An
    image without a file, or with an empty one, is good. Class names are those of `data.yaml` (or the only
    YAML file with `names`) or of `classes.txt`; without either, classes are called `class_0`, `class_1`, ...

    Raises:
        DataError: `source` is no folder, holds no images, or its YAML file cannot be read.
    """
    if not source.is_dir():
        raise DataError(f"{source} is no folder: name the one that holds the labels, and data.yaml if any.")
    reading = Reading()
    names = _names(source, reading)
    root = options.images or source
    images = images_below(root)
    if not images:
        raise DataError(f"{root} holds no images: name their folder with --images.")
    texts = [path for path in files_below(source, ".txt") if path.name.lower() not in _LISTS]
    at = {_key(path.with_suffix("")): path for path in texts}
    used: set[Path] = set()
    for image in images:
        name = image.relative_to(root).as_posix()
        places = [_label_place(image), image.with_suffix(""), *_places_below(source, name)]
        text = next((at[_key(place)] for place in places if _key(place) in at), None)
        labels: list[Label] = []
        if text is not None:
            if text in used:
                reading.refuse(str(text), f"belongs to two images, one of them {image}: rename one")
                continue
            used.add(text)
            try:
                labels = _labels(text, image_size(image), names, options)
            except DataError as error:
                reading.problems.append(str(error))
                continue
        reading.images.append(LabelledImage(image, name, tuple(labels)))
    for text in texts:
        if text not in used and ("labels" in text.relative_to(source).parts or _looks_like_labels(text)):
            reading.refuse(str(text), f"has no image of its name in {root}: add it, or remove the labels")
    reading.files += sorted(used)
    return reading


def _key(path: Path) -> str:
    return os.path.abspath(path)


def _label_place(image: Path) -> Path:
    """The label file without suffix: the last folder called `images` becomes `labels`."""
    folders = list(image.parent.parts)
    for index in range(len(folders) - 1, -1, -1):
        if folders[index] == "images":
            folders[index] = "labels"
            break
    return Path(*folders) / image.stem


def _places_below(source: Path, name: str) -> list[Path]:
    relative = Path(name).with_suffix("")
    return [source / relative, source / "labels" / relative]


def _names(source: Path, reading: Reading) -> dict[int, str] | None:
    """Class number -> name, or None where nothing says."""
    found = {}
    for path in files_below(source, ".yaml", ".yml"):
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
        if isinstance(value, dict) and "names" in value:
            found[path] = _named(value["names"], path)
    if len(found) > 1:
        found = {path: names for path, names in found.items() if path == source / "data.yaml"} or found
    if len({tuple(names.items()) for names in found.values()}) > 1:
        raise DataError(f"{' and '.join(map(str, found))} name different classes: leave one of them.")
    for path, names in found.items():
        reading.files.append(path)
        return names
    for path in (source / "classes.txt", source / "labels" / "classes.txt"):
        if path.is_file():
            reading.files.append(path)
            lines = _lines(path)
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    reading.notes.append(f"{source} has no data.yaml: classes are called class_0, class_1, ...")
    return None


def _named(value: Any, path: Path) -> dict[int, str]:
    try:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: 'names' must be a list, or numbers and names.") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}).") from error


def _looks_like_labels(path: Path) -> bool:
    try:
        first = next((line.split() for line in _lines(path) if line.strip()), [])
        return len(first) >= 5 and all(float(value) <= 1e6 for value in first)
    except (DataError, ValueError):
        return False


def _labels(path: Path, size: Size, names: dict[int, str] | None, options: ReadOptions) -> list[Label]:
    """Raises a DataError that names the file and line."""
    labels = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number},"
        try:
            labels.append(Label(*_object(line.split(), size, names, options), where))
        except DataError as error:
            raise DataError(f"{where} {str(error).rstrip('.')}.") from error
    return labels


def _object(
    words: list[str], size: Size, names: dict[int, str] | None, options: ReadOptions
) -> tuple[str, Polygon]:
    try:
        number, *values = (float(word) for word in words)
        index = int(number)
    except (ValueError, OverflowError) as error:
        raise DataError("is no class number and coordinates") from error
    if index != number or index < 0 or (names is not None and index not in names):
        known = ", ".join(map(str, names or ())) or "0 and above"
        raise DataError(f"has the class {index}, which has no name (known: {known}): correct data.yaml")
    if any(not -1 <= value <= 2 for value in values):
        raise DataError("has coordinates far from 0 to 1: YOLO's are shares of the image's width and height")
    name = f"class_{index}" if names is None else names[index]
    height, width = size
    if len(values) == 4:
        if not options.boxes:
            raise DataError("is a box and no outline: draw its outline, or take boxes as masks with --boxes")
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return name, box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    scaled = [value * (height if place % 2 else width) for place, value in enumerate(values)]
    return name, Polygon.of(scaled)


def write(folder: Path, images: Sequence[ExportImage], defects: Sequence[str], **_: object) -> None:
    """Write `labels/`, an empty file for a good image, `data.yaml`, and its lists `train.txt` and `val.txt`.

    Good images to test on are in `val` alone; defects are in both, for lack of others.

    Each connected part of a mask is one line, its polygon along the pixels' edges; a hole is joined to the
    outline by a cut of no width, since YOLO has no holes.

    Raises:
        WorkspaceError: a file cannot be written.
    """
    numbers = {name: number for number, name in enumerate(defects)}
    for image in images:
        height, width = image.size
        lines = []
        for part in parts(image.read_mask()) if image.mask is not None else ():
            pairs = (f"{x / width:.7g} {y / height:.7g}" for x, y in part.single_ring().tolist())
            lines.append(f"{numbers[image.defect]} {' '.join(pairs)}\n")
        atomic_write_text((folder / "labels" / image.name).with_suffix(".txt"), "".join(lines))
    for name, chosen in (
        ("train", [image for image in images if not image.is_test]),
        ("val", [image for image in images if image.is_test or image.mask is not None]),
    ):
        atomic_write_text(folder / f"{name}.txt", "".join(f"./images/{image.name}\n" for image in chosen))
    value = {"train": "train.txt", "val": "val.txt", "names": dict(enumerate(defects))}
    header = "# Written by augment export. val.txt has the defects of train.txt: name held-out ones there.\n"
    text = header + yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    atomic_write_text(folder / "data.yaml", text)
