"""The rendered sample data set: two small categories in MVTec layout, for the demo and the tests."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from augment.errors import WorkspaceError
from augment.render.scene import GOOD, render_scene


@dataclass(frozen=True)
class Series:
    """One category of the sample: a kind of `scene.KINDS`, its defects, and the seed of its design."""

    kind: str
    defects: tuple[str, ...]
    design: int


CATEGORIES: Mapping[str, Series] = {
    "bottle": Series("bottle", ("chipped", "contamination"), 12),
    "metal": Series("brushed metal", ("scratch", "crack"), 8),
}
"""An object with large defects on a dark, structured ground, and a texture with thin ones."""


def render_dataset(
    folder: Path | str,
    categories: Mapping[str, Series] = CATEGORIES,
    n_train: int = 40,
    n_good: int = 12,
    n_defect: int = 12,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Write a rendered data set in MVTec layout, and return its folder.

    ``CATEGORY/{train/good, test/good, test/DEFECT}/NNN.png`` and ``ground_truth/DEFECT/NNN_mask.png``: RGB
    pictures and 0/255 L masks, the same bytes for the same arguments. A category that exists is left as it
    is; a new one appears only when complete.

    Args:
        folder: of the data set; made where missing.
        categories: name -> what to render.
        n_train, n_good: normal pictures of train/good and of test/good.
        n_defect: pictures of each defect.
        size: side in pixels.
        seed: of the specimens.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, series in categories.items():
            if (folder / name).is_dir():
                continue
            with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
                target = Path(scratch) / name
                _write_category(target, name, series, (n_train, n_good, n_defect), size, seed)
                target.rename(folder / name)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write the sample data set to {folder}: {error.strerror or error}. "
            "Choose a folder that can be written, on a disk with room."
        ) from error
    return folder


def _write_category(
    target: Path, name: str, series: Series, counts: tuple[int, int, int], size: int, seed: int
) -> None:
    n_train, n_good, n_defect = counts
    groups = [("train", GOOD, n_train), ("test", GOOD, n_good)]
    groups += [("test", defect, n_defect) for defect in series.defects]
    for split, defect, count in groups:
        for index in range(count):
            rng = np.random.default_rng([seed, zlib.crc32(f"{name}/{split}/{defect}".encode()), index])
            scene = render_scene(rng, size, series.kind, defect, series.design)
            _save(target / split / defect / f"{index:03d}.png", scene.image)
            if defect != GOOD:
                mask = scene.mask.astype(np.uint8) * 255
                _save(target / "ground_truth" / defect / f"{index:03d}_mask.png", mask)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
