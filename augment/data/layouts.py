"""Category folders -> `Category` records.

The layout is MVTec's, with the liberties users take::

    CATEGORY/
      train/good/*.png
      test/good/*.png                          may be absent
      test/DEFECT/000.png
      ground_truth/DEFECT/000_mask.png         or 000.png, in any image format
      ground_truth/DEFECT/000/000.png, ...     MVTec LOCO: one folder of masks an image, merged

Extensions may be png, jpg, jpeg, bmp, tif, tiff in any case; other files, hidden files, `ground_truth/good`
and LOCO's `validation` are passed over.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.data.cards import Card, CategoryCard
from augment.data.images import (
    check_name,
    image_size,
    is_folder,
    is_image,
    list_images,
    listed,
    size_mismatch,
)
from augment.data.sample import GOOD, Category, Sample
from augment.errors import DataError

_MASK_SUFFIX = "_mask"


def is_category(folder: Path) -> bool:
    """Whether `folder` looks like a category: it holds `train/good` or `test`."""
    return is_folder(folder / "train" / GOOD) or is_folder(folder / "test")


def subfolders(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, sorted by name; none where it does not exist."""
    if not is_folder(folder):
        return []
    return listed(folder, lambda path: path.is_dir() and not path.name.startswith("."))


def defect_names(root: Path) -> list[str]:
    """The defect types of a category folder, sorted: what `test` holds beside `good`."""
    return [check_name(path).name for path in subfolders(root / "test") if path.name != GOOD]


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
    train_good = _good(root / "train" / GOOD)
    if not train_good:
        raise DataError(
            f"{root / 'train' / GOOD} holds no images: put the normal images there (png, jpg, bmp or tif)."
        )
    names = defect_names(root)
    for folder in subfolders(root / "ground_truth"):
        if folder.name not in (*names, GOOD):
            raise DataError(
                f"The masks in {folder} have no images: expected the folder {root / 'test' / folder.name}."
            )
    defects = {name: _defect(root, name) for name in names}
    words = (card and card.categories.get(root.name)) or CategoryCard(_spoken(root.name))
    return Category(
        dataset=dataset,
        name=root.name,
        root=root,
        train_good=train_good,
        test_good=_good(root / "test" / GOOD),
        defects=defects,
        words=words.words,
        defect_words={name: words.defects.get(name, _spoken(name)) for name in names},
        licence=card.licence if card else None,
        citation=card.citation if card else None,
        anomalous=tuple(sample for samples in defects.values() for sample in samples),
    )


def _good(folder: Path) -> tuple[Sample, ...]:
    return tuple(Sample(path, None, GOOD) for path in list_images(folder)) if is_folder(folder) else ()


@dataclass(frozen=True)
class DefectFiles:
    """One defect's images and masks, matched by name; whether they can be read is not looked at.

    Attributes:
        samples: images with their masks, sorted by name.
        unmasked: images without a mask.
        surplus: masks without an image.
        doubles: pairs of files of one name; the second of each is in nothing else.
    """

    samples: tuple[Sample, ...]
    unmasked: tuple[Path, ...]
    surplus: tuple[Path, ...]
    doubles: tuple[tuple[Path, Path], ...]


def match_files(root: Path, defect: str) -> DefectFiles:
    """The images of one defect of a category folder and their masks."""
    image_folder, mask_folder = root / "test" / defect, root / "ground_truth" / defect
    images, double_images = _by_stem(list_images(image_folder) if is_folder(image_folder) else ())
    masks, double_masks = _by_stem(
        [check_name(path) for path in listed(mask_folder, _is_mask)] if is_folder(mask_folder) else ()
    )
    samples, unmasked = [], []
    for stem, image in images.items():
        mask = masks.pop(stem + _MASK_SUFFIX, None) or masks.pop(stem, None)
        if mask is None:
            unmasked.append(image)
        else:
            files = list_images(mask) if mask.is_dir() else [mask]
            samples.append(Sample(image, files[0] if len(files) == 1 else mask, defect))
    return DefectFiles(
        tuple(samples), tuple(unmasked), tuple(masks.values()), (*double_images, *double_masks)
    )


def mask_files(mask: Path) -> list[Path]:
    """The files of which a sample's mask is made; none of an empty folder."""
    return list_images(mask) if mask.is_dir() else [mask]


def _defect(root: Path, defect: str) -> tuple[Sample, ...]:
    """The images of one defect with their masks, sorted by name, all of which can be used."""
    image_folder, mask_folder = root / "test" / defect, root / "ground_truth" / defect
    files = match_files(root, defect)
    if files.doubles:
        first, second = files.doubles[0]
        raise DataError(f"{first} and {second.name} have the same name: rename or remove one of them.")
    if not files.samples and not files.unmasked:
        raise DataError(
            f"{image_folder} holds no images (png, jpg, bmp or tif): add some or remove the folder."
        )
    for image in files.unmasked:
        expected = mask_folder / f"{image.stem}{_MASK_SUFFIX}.png"
        raise DataError(f"{image} has no mask: expected {expected} or {image.stem}.png beside it.")
    for sample in files.samples:
        _check_sizes(sample)
    for mask in files.surplus:
        raise DataError(f"The mask {mask} has no image: expected one of its name in {image_folder}.")
    return files.samples


def _is_mask(path: Path) -> bool:
    return is_image(path) or (path.is_dir() and not path.name.startswith("."))


def _check_sizes(sample: Sample) -> None:
    masks = mask_files(sample.mask)
    if not masks:
        raise DataError(f"{sample.image} has no mask: the folder {sample.mask} holds no images.")
    expected = image_size(sample.image)
    for mask in masks:
        found = image_size(mask)
        if found != expected:
            raise size_mismatch(mask, found, expected)


def _by_stem(paths: Sequence[Path]) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Name without extension, in Unicode's composed form (macOS writes the other), -> path; and doubles."""
    stems: dict[str, Path] = {}
    doubles = []
    for path in paths:
        stem = unicodedata.normalize("NFC", path.name if path.is_dir() else path.stem)
        if stem in stems:
            doubles.append((stems[stem], path))
        stems.setdefault(stem, path)
    return stems, doubles


def _spoken(name: str) -> str:
    return name.replace("_", " ")
