"""LabelMe: one JSON file an image, with a list of shapes."""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augment.data.formats.reading import (
    ImageFinder,
    Label,
    LabelledImage,
    Reading,
    ReadOptions,
    files_below,
    images_below,
    read_json,
)
from augment.data.formats.shapes import Bitmap, Polygon, Shape, box, circle, line
from augment.errors import DataError

_LINES = ("line", "linestrip", "point", "points")


def read(source: Path, options: ReadOptions) -> Reading:
    """Read a folder of LabelMe files, or one.

    Polygons, rectangles (also turned ones), circles and masks are areas; lines, line strips and points are
    drawn `options.line_width` wide. The image is the one that `imagePath` names, or that has the file's name;
    images that no file names are good.

    Raises:
        DataError: there is no LabelMe file.
    """
    folder = source.parent if source.is_file() else source
    files = [source] if source.is_file() else files_below(source, ".json")
    reading = Reading()
    root = options.images or folder
    taken: set[Path] = set()
    strokes = 0
    for path in files:
        own = [image for image in _of_same_name(path, options.images) if image.is_file()]
        try:
            value = read_json(path)
        except DataError as error:
            reading.problems.append(str(error))
            reading.files.append(path)
            taken.update(image.resolve() for image in own)  # not a good image: its labels are lost
            continue
        if not isinstance(value, dict) or not isinstance(value.get("shapes"), list):
            if source.is_file():
                raise DataError(f"{source} is no LabelMe file: it must hold the list 'shapes'.")
            reading.notes.append(f"{path} is no LabelMe file and was passed over.")
            continue
        reading.files.append(path)
        try:
            image = _image(path, value, own, options)
        except DataError as error:
            reading.refuse(str(path), error)
            continue
        if image.resolve() in taken:
            reading.refuse(str(path), f"is the second file for the image {image}: remove one")
            continue
        taken.add(image.resolve())
        try:
            labels = _labels(path, value["shapes"], options)
        except DataError as error:
            reading.problems.append(str(error))
            continue
        strokes += sum(shape.get("shape_type") in _LINES for shape in value["shapes"])
        reading.images.append(LabelledImage(image, _name(image, root), labels, _size(value)))
    if not reading.files:
        raise DataError(f"{source} holds no LabelMe file: a JSON file with 'shapes'.")
    if source.is_dir():
        good = [image for image in images_below(root) if image.resolve() not in taken]
        reading.images += [LabelledImage(image, _name(image, root)) for image in good]
    if strokes:
        reading.notes.append(f"Lines and points drawn {options.line_width:g} pixels wide: {strokes}.")
    return reading


def _of_same_name(path: Path, images: Path | None) -> list[Path]:
    return [
        file
        for folder in dict.fromkeys((path.parent, images or path.parent))
        for file in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if file.stem == path.stem and file != path and file.suffix.lower() != ".json"
    ]


def _image(path: Path, value: dict[str, Any], own: list[Path], options: ReadOptions) -> Path:
    named = value.get("imagePath")
    finder = ImageFinder([options.images] if options.images else [path.parent])
    try:
        if not isinstance(named, str) or not named:
            raise DataError("names no image ('imagePath')")
        return finder.find(named)
    except DataError:
        if len(own) == 1:
            return own[0]
        raise


def _name(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name


def _size(value: dict[str, Any]) -> tuple[int, int] | None:
    size = value.get("imageHeight"), value.get("imageWidth")
    return size if all(type(side) is int and side > 0 for side in size) else None


def _labels(path: Path, shapes: list[Any], options: ReadOptions) -> tuple[Label, ...]:
    labels = []
    for number, value in enumerate(shapes, start=1):
        where = f"{path}, shape {number},"
        try:
            if not isinstance(value, dict) or value.get("label") in (None, ""):
                raise DataError("has no label")
            labels.append(Label(str(value["label"]), _shape(value, options), where))
        except DataError as error:
            raise DataError(f"{where} {str(error).rstrip('.')}.") from error
    return tuple(labels)


def _shape(value: dict[str, Any], options: ReadOptions) -> Shape:
    kind, points = value.get("shape_type") or "polygon", value.get("points")
    if not isinstance(points, list):
        raise DataError("has no list of points")
    if kind in ("polygon", "rotation", "oriented_rectangle"):
        return Polygon.of(points)
    if kind in _LINES:
        return line(points, options.line_width)
    corners = line(points, 1).points  # checked
    if kind == "rectangle" and len(corners) == 4:
        return Polygon.of(points)
    if kind in ("rectangle", "circle", "mask") and len(corners) != 2:
        raise DataError(f"is a {kind} of {len(corners)} points, where 2 are expected")
    if kind == "rectangle":
        return box(*corners.ravel().tolist())
    if kind == "circle":
        radius = math.dist(*corners.tolist())
        return circle(*corners[0].tolist(), radius) if radius else line(points[:1], 1)
    if kind == "mask":
        x, y = (int(side) for side in corners[0])
        return Bitmap(_bitmap(value.get("mask")), x, y)
    raise DataError(f"is a {kind}: expected polygon, rectangle, circle, line, linestrip, point or mask")


def _bitmap(text: Any) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            pixels = np.array(image.convert("L")) > 0
    except (TypeError, ValueError, binascii.Error, OSError) as error:
        raise DataError("has a mask that is no picture in base64") from error
    if not pixels.any():
        raise DataError("has an empty mask: draw it, or remove it")
    return pixels
