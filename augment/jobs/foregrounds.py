"""Showing what was taken for the parts of a category: a line in the log, and a picture in the run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from augment.data.foreground import Foreground, spread
from augment.data.images import read_image
from augment.data.sample import Category
from augment.report.foreground_sheet import foreground_sheet

_SHOWN = 12

log = logging.getLogger(__name__)


def show_foreground(foreground: Foreground, category: Category, folder: Path) -> Path:
    """Write `foreground.png` into a run folder, where it is not there yet, and log what it shows.

    Raises:
        DataError: an image cannot be read.
        WorkspaceError: the picture cannot be written.
    """
    path = folder / "foreground.png"
    log.info("%s: %s", category.key, foreground)
    if not path.exists():
        files = spread([sample.image for sample in category.train_good], _SHOWN)

        def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for file in files:
                image = read_image(file)
                yield image, foreground.mask(image, file)

        foreground_sheet(pairs(), len(files), f"{category.key}: {foreground}", path)
    return path
