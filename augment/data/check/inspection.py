"""What is in a category folder, in whatever state it is: every file read once, nothing raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.data.images import (
    ImageKind,
    defect_pixels,
    file_sha256,
    holds_labels,
    image_kind,
    is_folder,
    listed,
    mask_values,
    read_image,
)
from augment.data.layouts import CategoryFiles, DefectFiles, list_files, mask_files
from augment.data.sample import GOOD, Category, Sample
from augment.data.targets import CategoryFolder
from augment.errors import DataError
from augment.progress import Progress, no_progress

_UNSUPPORTED = (".webp", ".gif", ".avif", ".heic", ".jp2", ".ppm", ".pgm", ".npy", ".dng", ".json", ".xml")


@dataclass(frozen=True)
class MaskKind:
    """What a mask file holds.

    Attributes:
        shape: (H, W).
        is_empty: no pixel is above 0.
        is_binary: there are two values, or small class numbers, of which all above 0 count.
        share: of the pixels that count as defect.
    """

    shape: tuple[int, int]
    is_empty: bool
    is_binary: bool
    share: float

    @classmethod
    def read(cls, path: Path) -> MaskKind:
        """Read a mask file.

        Raises:
            DataError: missing or unreadable.
        """
        values = mask_values(path)
        is_empty = bool(values.max() <= 0)
        is_binary = holds_labels(values) or len(np.unique(values)) <= 2
        share = 0.0 if is_empty else float(defect_pixels(values).mean())
        return cls(values.shape, is_empty, is_binary, share)


@dataclass(frozen=True)
class Inspection:
    """One category folder.

    Attributes:
        folder: which, and the defects that were asked for.
        files: all that is there, of every defect of the folder, asked for or not.
        unsupported: images of formats that are not read, which all commands pass over.
        kinds: of every image that can be read.
        masks: of every mask file that can be read.
        unreadable: image or mask file -> why it cannot be read.
        hashes: SHA-256 of every image that can be read.
        usable: the category as far as it can be used: readable images, whose masks are readable, not empty
            and of their size; `anomalous` has all readable ones, so that parts are found as in a fit.
    """

    folder: CategoryFolder
    files: CategoryFiles
    unsupported: tuple[Path, ...]
    kinds: dict[Path, ImageKind]
    masks: dict[Path, MaskKind]
    unreadable: dict[Path, str]
    hashes: dict[Path, str]
    usable: Category

    @property
    def train_good(self) -> tuple[Path, ...]:
        """All files of good parts to learn from."""
        return self.files.train_good

    @property
    def test_good(self) -> tuple[Path, ...]:
        """All files of good parts to test on."""
        return self.files.test_good

    @property
    def defects(self) -> dict[str, DefectFiles]:
        """The files of every defect."""
        return self.files.defects

    def images_of(self, defect: str) -> tuple[Path, ...]:
        """All images of a defect, with and without mask, sorted by name."""
        files = self.defects[defect]
        return tuple(sorted((*(sample.image for sample in files.samples), *files.unmasked)))

    def image_folders(self) -> dict[str, tuple[Path, ...]]:
        """`train/good`, `test/good` and `test/DEFECT` of each defect asked for -> its images."""
        good = {f"train/{GOOD}": self.train_good, f"test/{GOOD}": self.test_good}
        return good | {f"test/{defect}": self.images_of(defect) for defect in self.folder.defects}


def inspect_category(folder: CategoryFolder, progress: Progress = no_progress) -> Inspection:
    """Read every image and mask of a category folder, and note what is there."""
    root = folder.root
    everything = list_files(root)
    train_good, test_good, defects = everything.train_good, everything.test_good, everything.defects

    kinds: dict[Path, ImageKind] = {}
    masks: dict[Path, MaskKind] = {}
    hashes: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    images = [*train_good, *test_good]
    for files in defects.values():
        images += [*(sample.image for sample in files.samples), *files.unmasked]
    wanted = [(path, _read_image(kinds, hashes)) for path in images]
    for files in defects.values():
        for sample in files.samples:
            wanted += [(path, _read_mask(masks)) for path in mask_files(sample.mask)]
    for path, read in progress(wanted, desc=f"reading {folder.key}", unit="file"):
        try:
            read(path)
        except DataError as error:
            unreadable[path] = str(error).removeprefix(f"{path} ")

    def is_usable(sample: Sample) -> bool:
        found = [masks.get(path) for path in mask_files(sample.mask)]
        return sample.image in kinds and all(
            mask is not None and not mask.is_empty and mask.shape == kinds[sample.image].shape
            for mask in found or [None]
        )

    samples = {name: tuple(filter(is_usable, files.samples)) for name, files in defects.items()}
    good = [
        tuple(Sample(path, None, GOOD) for path in paths if path in kinds)
        for paths in (train_good, test_good)
    ]
    usable = Category(
        dataset=folder.dataset,
        name=root.name,
        root=root,
        train_good=good[0],
        test_good=good[1],
        defects=samples,
        words=root.name,
        defect_words={},
        licence=None,
        citation=None,
        anomalous=tuple(
            sample for files in defects.values() for sample in files.samples if sample.image in kinds
        ),
    )
    unsupported = [
        path
        for part in everything.folders
        if is_folder(part)
        for path in listed(part, lambda path: path.suffix.lower() in _UNSUPPORTED)
        if not path.name.startswith(".")
    ]
    return Inspection(
        folder=folder,
        files=everything,
        unsupported=tuple(unsupported),
        kinds=kinds,
        masks=masks,
        unreadable=unreadable,
        hashes=hashes,
        usable=usable,
    )


def _read_image(kinds: dict[Path, ImageKind], hashes: dict[Path, str]) -> Callable[[Path], None]:
    """A reader that notes what it finds; a file that cannot be decoded leaves nothing."""

    def read(path: Path) -> None:
        read_image(path)
        hashes[path] = file_sha256(path)
        kinds[path] = image_kind(path)

    return read


def _read_mask(masks: dict[Path, MaskKind]) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        masks[path] = MaskKind.read(path)

    return read
