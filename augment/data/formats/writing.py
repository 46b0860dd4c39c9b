"""What a writer of labels is handed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.data.formats.shapes import Size
from augment.data.images import read_mask


@dataclass(frozen=True)
class ExportImage:
    """One image of an export.

    Attributes:
        name: path below the export's `images` folder, with `/`: "test/crack/0000.png".
        size: (H, W).
        defect: its type; "good" for a good one.
        mask: a file, or a folder of files that are merged; None for a good image.
        is_test: a good image that is there to test on.
    """

    name: str
    size: Size
    defect: str
    mask: Path | None
    is_test: bool = False

    def read_mask(self) -> np.ndarray:
        """bool (H, W).

        Raises:
            DataError: unreadable, empty, or not of the image's size.
        """
        return read_mask(self.mask, self.size)
