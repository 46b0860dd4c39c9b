"""COCO instances: one JSON file of images, categories and annotations with polygons or runs (RLE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.data.formats.outlines import Part, parts
from augment.data.formats.reading import (
    ImageFinder,
    Label,
    LabelledImage,
    Reading,
    ReadOptions,
    files_below,
    read_json,
)
from augment.data.formats.shapes import Polygon, Shape, Size, box, check_size
from augment.data.formats.writing import ExportImage
from augment.errors import DataError
from augment.workspace.files import atomic_write_json


def read(source: Path, options: ReadOptions) -> Reading:
    """Read a COCO file, or every one in a folder and its folders.

    Polygons of one annotation are its parts (COCO has no holes but in runs). Images are looked for in
    `options.images`, or beside the JSON file and in `images` there and one folder up, by name.

    Raises:
        DataError: there is no COCO file, or one is no JSON or lacks its lists.
    """
    files = [source] if source.is_file() else files_below(source, ".json")
    contents = {path: read_json(path) for path in files}
    if source.is_dir():
        contents = {path: value for path, value in contents.items() if _is_coco(value)}
    if not contents:
        raise DataError(f"{source} holds no COCO file: a JSON file with 'images' and 'annotations'.")
    reading = Reading(files=list(contents))
    for path, value in contents.items():
        if not _is_coco(value):
            raise DataError(f"{path} is no COCO file: it must hold the lists 'images' and 'annotations'.")
        beside = [path.parent, path.parent / "images", path.parent.parent / "images"]
        finder = ImageFinder([options.images] if options.images else beside)
        _read_file(path, value, finder, options, reading)
    return reading


def _is_coco(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), list) and all(isinstance(entry, dict) for entry in value[key])
        for key in ("images", "annotations")
    )


def _read_file(
    path: Path, value: dict[str, Any], finder: ImageFinder, options: ReadOptions, reading: Reading
) -> None:
    categories = value.get("categories")
    if not isinstance(categories, list) or not all(isinstance(entry, dict) for entry in categories):
        raise DataError(f"{path} has no list 'categories': export the labels again, as COCO instances.")
    for entry in (*categories, *value["images"]):
        if type(entry.get("id")) not in (int, str):
            raise DataError(f"{path} has an image or a category whose id is {entry.get('id')!r}, no number.")
    names = {entry["id"]: str(entry["name"]) for entry in categories if entry.get("name") not in (None, "")}
    labels: dict[Any, list[Label]] = {}
    bad: set[Any] = set()
    for entry in value["images"]:
        if entry["id"] in labels:
            reading.refuse(f"{path}", f"has two images with the id {entry['id']}")
            bad.add(entry["id"])
        labels[entry["id"]] = []
    for number, entry in enumerate(value["annotations"], start=1):
        where = f"{path}, annotation {entry.get('id', f'number {number}')},"
        image_id, category_id = (_plain(entry.get(key)) for key in ("image_id", "category_id"))
        try:
            if image_id not in labels:
                raise DataError(f"is of the image {image_id}, which 'images' does not list")
            if category_id not in names:
                raise DataError(f"has the category_id {category_id}, which 'categories' does not list")
            name = names[category_id]
            labels[image_id] += [Label(name, shape, where) for shape in _shapes(entry, options)]
        except DataError as error:
            reading.refuse(where, error)
            bad.add(image_id)
    for entry in value["images"]:
        where = f"{path}, image {entry['id']},"
        if entry["id"] in bad:
            continue
        try:
            if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
                raise DataError("has no file_name")
            image = finder.find(entry["file_name"])
        except DataError as error:
            reading.refuse(where, error)
            continue
        height, width = entry.get("height"), entry.get("width")
        size = (int(height), int(width)) if _is_side(height) and _is_side(width) else None
        reading.images.append(
            LabelledImage(image, entry["file_name"].replace("\\", "/"), tuple(labels[entry["id"]]), size)
        )


def _plain(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _is_side(value: Any) -> bool:
    return isinstance(value, int | float) and 1 <= value <= 1e6


def _shapes(entry: dict[str, Any], options: ReadOptions) -> list[Shape]:
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        return [Runs.of(segmentation)]
    if segmentation and isinstance(segmentation, list):
        flat = all(isinstance(value, int | float) for value in segmentation)
        return [Polygon.of(ring) for ring in ([segmentation] if flat else segmentation)]
    corner = entry.get("bbox")
    if isinstance(corner, list) and len(corner) == 4:
        if not options.boxes:
            raise DataError("has a box and no outline: draw its outline, or take boxes as masks with --boxes")
        try:
            x, y, width, height = (float(value) for value in corner)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError("has a box whose values are no numbers") from error
        return [box(x, y, x + width, y + height)]
    raise DataError("has an empty segmentation: draw its outline, or remove it")


@dataclass(frozen=True)
class Runs:
    """A mask as COCO's RLE. It is kept as runs: the masks of a whole data set may not fit in memory."""

    runs: dict[str, Any]

    @classmethod
    def of(cls, value: dict[str, Any]) -> Runs:
        """Of `size` (H, W) and `counts`, a list or compressed text.

        Raises:
            DataError: the counts are none, or not of that size; the message goes on after a place.
        """
        size, counts = value.get("size"), value.get("counts")
        if not isinstance(size, list) or len(size) != 2 or not all(type(v) is int and v > 0 for v in size):
            raise DataError(f"has runs of the size {size}, where [height, width] is expected")
        if isinstance(counts, str):
            counts = counts.encode("utf-8", "replace")
            lengths = _lengths(counts)
        elif isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts):
            lengths = counts
        else:
            raise DataError("has runs without counts")
        if sum(lengths) != size[0] * size[1]:
            raise DataError(f"has runs that do not add up to {size[1]} x {size[0]} pixels")
        if not any(lengths[1::2]):
            raise DataError("has runs without a defect pixel: draw its outline, or remove it")
        return cls({"size": size, "counts": counts})

    def draw(self, size: Size) -> np.ndarray:
        """See `Shape`."""
        from pycocotools import mask as coco_mask

        runs = self.runs
        if isinstance(runs["counts"], list):
            runs = coco_mask.frPyObjects(runs, *runs["size"])
        self.reaches_out(size)
        return coco_mask.decode(runs).astype(bool)

    def reaches_out(self, size: Size) -> bool:
        """See `Shape`."""
        check_size(self.runs["size"], size)
        return False


def _lengths(counts: bytes) -> list[int]:
    """The run lengths in COCO's compressed text, which the library decodes without looking at their sum.

    Groups of five bits, the lowest first, 32 marks that more follow; from the fourth on, differences to the
    number before the last.
    """
    lengths: list[int] = []
    value = shift = 0
    for byte in counts:
        code = byte - 48
        if not 0 <= code < 64 or shift > 50:
            raise DataError("has runs in no text of COCO's")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            if lengths[-1] < 0:
                raise DataError("has runs of negative length")
            value = shift = 0
    if shift:
        raise DataError("has runs that end in the middle of a number")
    return lengths


def write(
    folder: Path, images: Sequence[ExportImage], defects: Sequence[str], rle: bool = False, **_: object
) -> None:
    """Write `annotations.json`; each connected part of a mask is one annotation.

    A part is a polygon along the pixels' edges, from which pycocotools draws the same pixels, or compressed
    runs where it has holes, which COCO's polygons cannot; with `rle`, always runs.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    ids = {name: number for number, name in enumerate(defects, start=1)}
    entries, annotations = [], []
    for number, image in enumerate(images, start=1):
        height, width = image.size
        entries.append({"id": number, "file_name": image.name, "width": width, "height": height})
        for part in parts(image.read_mask()) if image.mask is not None else ():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[image.defect],
                    "segmentation": _segmentation(part, rle),
                    "area": part.area,
                    "bbox": list(part.box),
                    "iscrowd": 0,
                }
            )
    value = {
        "info": {"description": "Written by augment export"},
        "licenses": [],
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": ids[name], "name": name, "supercategory": "defect"} for name in defects],
    }
    atomic_write_json(folder / "annotations.json", value)


def _segmentation(part: Part, rle: bool) -> Any:
    if not rle and not part.holes:
        return [part.outline.ravel().tolist()]
    from pycocotools import mask as coco_mask

    runs = coco_mask.encode(np.asfortranarray(part.mask.astype(np.uint8)))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}
