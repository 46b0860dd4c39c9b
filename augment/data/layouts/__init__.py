"""Category folders -> `Category` records. A layout has a file: MVTec AD's and its kin, VisA's, KolektorSDD's.

A layout is three functions: `matches` tells a category folder by its folders, `defect_names` lists its
defects, and `list_files` all its files, whatever state they are in. The first layout that matches is taken.
Extensions may be png, jpg, jpeg, bmp, tif, tiff in any case; other files and hidden files are passed over.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from augment.data.cards import Card, CategoryCard
from augment.data.images import image_size, size_mismatch
from augment.data.layouts import kolektor, mvtec, visa
from augment.data.layouts.listing import CategoryFiles, DefectFiles, mask_files, match_files, subfolders
from augment.data.sample import GOOD, Category, Sample
from augment.errors import DataError

__all__ = [
    "CategoryFiles",
    "DefectFiles",
    "defect_names",
    "is_category",
    "list_files",
    "mask_files",
    "match_files",
    "read_category",
    "subfolders",
]

LAYOUTS: tuple[ModuleType, ...] = (mvtec, visa, kolektor)


def is_category(folder: Path) -> bool:
    """Whether `folder` looks like a category of a known layout."""
    return any(layout.matches(folder) for layout in LAYOUTS)


def defect_names(root: Path) -> list[str]:
    """The defect types of a category folder, sorted."""
    return _layout(root).defect_names(root)


def list_files(root: Path) -> CategoryFiles:
    """The files of a category folder, whatever state they are in.

    Raises:
        DataError: a table of the layout cannot be read.
    """
    return _layout(root).list_files(root)


def read_category(root: Path, dataset: str, card: Card | None = None) -> Category:
    """List a category folder and check that every defect image has one mask of its size, and the reverse.

    Only directories and image headers are read, so a whole dataset takes about a second.

    Args:
        root: the category folder; its name is the category's.
        dataset: the dataset's name, the first part of every key.
        card: gives the words, licence and citation; without one, words are the names with spaces.

    Raises:
        DataError: no normal training image, a defect without images, an image without mask, a mask without
            image, two files of one name, a mask of another size, or a file that is no image.
    """
    files = list_files(root)
    if not files.train_good:
        raise DataError(
            f"{files.train_folder} holds no images: put the normal images there (png, jpg, bmp or tif)."
        )
    for folder, expected in files.stray_masks.items():
        raise DataError(f"The masks in {folder} have no images: expected the folder {expected}.")
    defects = {name: _usable(found) for name, found in files.defects.items()}
    words = (card and card.category(root.name)) or CategoryCard(_spoken(root.name))
    return Category(
        dataset=dataset,
        name=root.name,
        root=root,
        train_good=_good(files.train_good),
        test_good=_good(files.test_good),
        defects=defects,
        words=words.words,
        defect_words={
            name: words.defects.get(name) or files.words.get(name) or _spoken(name) for name in defects
        },
        licence=card.licence if card else None,
        citation=card.citation if card else None,
        anomalous=tuple(sample for samples in defects.values() for sample in samples),
    )


def _layout(root: Path) -> ModuleType:
    return next((layout for layout in LAYOUTS if layout.matches(root)), mvtec)


def _good(paths: tuple[Path, ...]) -> tuple[Sample, ...]:
    return tuple(Sample(path, None, GOOD) for path in paths)


def _usable(files: DefectFiles) -> tuple[Sample, ...]:
    """The images of one defect with their masks, sorted by name, all of which can be used."""
    if files.doubles:
        first, second = files.doubles[0]
        raise DataError(f"{first} and {second.name} have the same name: rename or remove one of them.")
    if not files.samples and not files.unmasked:
        raise DataError(
            f"{files.image_folder} holds no images (png, jpg, bmp or tif): add some or remove the folder."
        )
    for image in files.unmasked:
        also = f" or {image.stem}.png beside it" if files.mask_folder else ""
        raise DataError(f"{image} has no mask: expected {files.expected_mask(image)}{also}.")
    for sample in files.samples:
        _check_sizes(sample)
    for mask in files.surplus:
        raise DataError(f"The mask {mask} has no image: expected one of its name in {files.image_folder}.")
    return files.samples


def _check_sizes(sample: Sample) -> None:
    masks = mask_files(sample.mask)
    if not masks:
        raise DataError(f"{sample.image} has no mask: the folder {sample.mask} holds no images.")
    expected = image_size(sample.image)
    for mask in masks:
        found = image_size(mask)
        if found != expected:
            raise size_mismatch(mask, found, expected)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
