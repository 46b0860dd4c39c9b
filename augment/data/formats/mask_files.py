"""A folder of mask images, with the images in it or beside it: what is left when no format fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.data.formats.reading import Label, LabelledImage, Reading, ReadOptions, images_below
from augment.data.formats.shapes import Size, check_size
from augment.data.images import defect_pixels, image_size, mask_values
from augment.errors import DataError

SUFFIXES = ("_mask", "-mask", "_label", "-label", "_gt", "-gt", "_ground_truth")
_PLAIN = ("mask", "masks", "label", "labels", "gt", "ground_truth", "train", "test", "val", "images", "bad")


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file of its own, read when it is drawn."""

    path: Path

    def draw(self, size: Size) -> np.ndarray:
        """See `Shape`."""
        mask = defect_pixels(mask_values(self.path))
        check_size(mask.shape, size)
        return mask

    def reaches_out(self, size: Size) -> bool:
        """See `Shape`."""
        check_size(image_size(self.path), size)
        return False


def read(source: Path, options: ReadOptions) -> Reading:
    """Read a folder of masks.

    A mask has its image's name, alone or with one of `SUFFIXES`. With `options.images` every image in
    `source` is a mask; without, images and masks lie together, and those with a suffix are masks. The class
    is `options.defect`, else the name of the mask's folder, else "defect". An image whose mask is black, or
    that has none, is good.

    Raises:
        DataError: `source` is no folder, or holds no masks.
    """
    if not source.is_dir():
        raise DataError(f"{source} is no folder: name the one that holds the masks.")
    root = options.images or source
    everything = images_below(source)
    if options.images:
        masks = [path for path in everything if not path.is_relative_to(root) or root == source]
        images = images_below(root)
    else:
        masks = [path for path in everything if _bare(path.stem) != path.stem]
        images = [path for path in everything if _bare(path.stem) == path.stem]
    if not masks:
        raise DataError(f"{source} holds no masks: without --images, masks have names such as 001_mask.png.")
    by_stem: dict[str, list[Path]] = {}
    for image in images:
        by_stem.setdefault(image.stem, []).append(image)
    reading = Reading(files=masks)
    labels: dict[Path, list[Label]] = {image: [] for image in images}
    black = 0
    for mask in masks:
        try:
            image = _image_of(mask, source, root, by_stem)
        except DataError as error:
            reading.refuse(str(mask), error)
            continue
        try:
            if mask_values(mask).max() <= 0:
                black += 1
                continue
        except DataError as error:
            reading.problems.append(str(error))
            labels.pop(image, None)
            continue
        name = options.defect or _class_of(mask, source)
        if image in labels:
            labels[image].append(Label(name, MaskFile(mask), f"{mask}"))
    if black:
        reading.notes.append(f"Good, since their masks are black: {black} images.")
    reading.images = [
        LabelledImage(image, image.relative_to(root).as_posix(), tuple(found), _size(found))
        for image, found in labels.items()
    ]
    return reading


def _size(labels: list[Label]) -> Size | None:
    """That of the masks, which may lie as the camera's sensor did."""
    sizes = {image_size(label.shape.path) for label in labels}
    return sizes.pop() if len(sizes) == 1 else None


def _bare(stem: str) -> str:
    for suffix in SUFFIXES:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem


def _image_of(mask: Path, source: Path, root: Path, by_stem: dict[str, list[Path]]) -> Path:
    """The image in the same place below its folder, else the only one of the name."""
    found = by_stem.get(mask.stem) or by_stem.get(_bare(mask.stem), [])
    place = mask.parent.relative_to(source)
    near = [image for image in found if image.parent.relative_to(root) == place] or found
    if len(near) != 1:
        what = f"has {len(near)} images of its name in {root}"
        raise DataError(f"{what}: {near[0]} and {near[1]}; rename them" if near else f"{what}: add its image")
    return near[0]


def _class_of(mask: Path, source: Path) -> str:
    folders = [part for part in mask.relative_to(source).parts[:-1] if part.lower() not in _PLAIN]
    return folders[-1] if folders else "defect"
