"""Writing a category in MVTec's layout, such that anomalib's `MVTecAD` and `Folder` open it unchanged.

What that takes: PNG files only, masks of 0 and 255 in one channel and of the image's size, copies and no
links, one number of digits everywhere (else masks sort unlike images), and nothing else in the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from augment.data.images import is_plain_png, read_image, write_png
from augment.data.sample import GOOD, Sample
from augment.errors import DataError
from augment.workspace.files import atomic_path

_DIGITS = 4


class MvtecWriter:
    """Writes `ROOT/CATEGORY/{train/good, test/good, test/DEFECT, ground_truth/DEFECT}`, file by file.

    Every file is whole or absent, so a killed job goes on where it stopped.

    Args:
        root: the folder that will hold the category; manifests and previews belong here, beside it.
        category: the category's name.
    """

    def __init__(self, root: Path, category: str):
        self.folder = Path(root) / category

    def write_good(self, train: Sequence[Sample], test: Sequence[Sample]) -> None:
        """Copy normal images to `train/good` and `test/good`, numbered in the order given; skip those there.

        8-bit grey and RGB PNGs keep their bytes; all else is decoded (see `read_image`) and written as PNG.

        Raises:
            DataError: a source is unreadable.
            WorkspaceError: the disk is full or read-only.
        """
        for part, samples in (("train", train), ("test", test)):
            for index, sample in enumerate(samples):
                path = self.folder / part / GOOD / f"{_number(index)}.png"
                if not path.exists():
                    copy_image(sample.image, path)

    def paths(self, defect: str, index: int) -> tuple[Path, Path]:
        """Where image and mask number `index` (0 to 9999) of a defect go."""
        name = _number(index)
        mask = self.folder / "ground_truth" / defect / f"{name}_mask.png"
        return self.folder / "test" / defect / f"{name}.png", mask

    def has(self, defect: str, index: int) -> bool:
        """Whether both files are there."""
        return all(path.exists() for path in self.paths(defect, index))

    def write(self, defect: str, index: int, image: np.ndarray, mask: np.ndarray) -> tuple[Path, Path]:
        """Write one image, uint8 (H, W) or (H, W, 3), and its mask, bool (H, W); return their paths.

        Raises:
            DataError: the mask is empty or not of the image's size.
            WorkspaceError: the disk is full or read-only.
        """
        image_path, mask_path = self.paths(defect, index)
        if mask.shape != image.shape[:2] or not mask.any():
            raise DataError(
                f"{image_path} needs a mask of its size {image.shape[:2]} with a defect in it; "
                f"got {mask.shape} with {int(mask.sum())} defect pixels."
            )
        write_png(mask_path, mask.astype(bool))
        write_png(image_path, image)
        return image_path, mask_path


def copy_image(source: Path, path: Path) -> None:
    """Write an image as PNG: an 8-bit grey or RGB PNG keeps its bytes, all else is decoded (`read_image`).

    Raises:
        DataError: the source is unreadable.
        WorkspaceError: the disk is full or read-only.
    """
    image = read_image(source)  # also where the bytes are copied: a truncated file must not be
    if is_plain_png(source):
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
    else:
        write_png(path, image)


def _number(index: int) -> str:
    if not 0 <= index < 10**_DIGITS:
        raise DataError(
            f"An exported folder holds at most {10**_DIGITS} images of a defect; number {index} is too many."
        )
    return f"{index:0{_DIGITS}d}"
