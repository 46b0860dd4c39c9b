"""What every layout's reader gives: the files of a category, whatever state they are in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from augment.data.images import check_name, is_folder, is_image, list_images, listed
from augment.data.sample import Sample

MASK_SUFFIXES = ("_mask", "")  # between a mask's name and its extension


@dataclass(frozen=True)
class DefectFiles:
    """One defect's images and masks, matched by name; whether they can be read is not looked at.

    Attributes:
        samples: images with their masks, sorted by name.
        unmasked: images without a mask.
        surplus: masks without an image.
        doubles: pairs of files of one name; the second of each is in nothing else.
        image_folder: where the images lie, or should.
        mask_folder: where the masks lie, or should; None: beside their images.
        mask_name: what a mask is called, with its image's name for `{}`.
    """

    samples: tuple[Sample, ...]
    unmasked: tuple[Path, ...]
    surplus: tuple[Path, ...]
    doubles: tuple[tuple[Path, Path], ...]
    image_folder: Path
    mask_folder: Path | None
    mask_name: str = "{}_mask.png"

    def expected_mask(self, image: Path) -> Path:
        """Where the mask of an image should be."""
        return (self.mask_folder or image.parent) / self.mask_name.format(image.stem)


@dataclass(frozen=True)
class CategoryFiles:
    """All files of a category.

    Attributes:
        train_good, test_good: images, sorted by name.
        defects: by name, sorted.
        train_folder, test_folder: where good images lie, or should.
        stray_masks: mask folders of defects without image folder -> where their images should be.
        folders: every folder that holds images or masks.
        words: defects whose words the data set itself gives.
    """

    train_good: tuple[Path, ...]
    test_good: tuple[Path, ...]
    defects: dict[str, DefectFiles]
    train_folder: Path
    test_folder: Path
    stray_masks: dict[Path, Path] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    words: dict[str, str] = field(default_factory=dict)


def subfolders(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, sorted by name; none where it does not exist."""
    if not is_folder(folder):
        return []
    return listed(folder, lambda path: path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images directly in `folder`, sorted by name; none where it does not exist."""
    return tuple(list_images(folder)) if is_folder(folder) else ()


def mask_files(mask: Path) -> list[Path]:
    """The files of which a sample's mask is made; none of an empty folder."""
    return list_images(mask) if mask.is_dir() else [mask]


def match_files(defect: str, image_folder: Path, mask_folder: Path) -> DefectFiles:
    """The images in one folder and their masks in another: 000_mask.png, 000.png, or a folder 000."""
    images, double_images = by_stem(images_in(image_folder))
    masks, double_masks = by_stem(
        [check_name(path) for path in listed(mask_folder, _is_mask)] if is_folder(mask_folder) else ()
    )
    samples, unmasked = [], []
    for stem, image in images.items():
        mask = next((masks.pop(stem + end) for end in MASK_SUFFIXES if stem + end in masks), None)
        if mask is None:
            unmasked.append(image)
        else:
            files = mask_files(mask)
            samples.append(Sample(image, files[0] if len(files) == 1 else mask, defect))
    return DefectFiles(
        tuple(samples),
        tuple(unmasked),
        tuple(masks.values()),
        (*double_images, *double_masks),
        image_folder,
        mask_folder,
    )


def by_stem(paths: Iterable[Path]) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Name without extension, in Unicode's composed form (macOS writes the other), -> path; and doubles."""
    stems: dict[str, Path] = {}
    doubles = []
    for path in sorted(paths):
        stem = unicodedata.normalize("NFC", path.name if path.is_dir() else path.stem)
        if stem in stems:
            doubles.append((stems[stem], path))
        stems.setdefault(stem, path)
    return stems, doubles


def _is_mask(path: Path) -> bool:
    return is_image(path) or (path.is_dir() and not path.name.startswith("."))
