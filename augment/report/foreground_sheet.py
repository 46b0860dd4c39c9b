"""Good images with what counts as the part in each, to be looked at before anything is painted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from augment.report.drawing import (
    MUTED,
    PAPER,
    TARGET_COLOUR,
    fit_text,
    overlay,
    paste_into_cell,
    save_picture,
    shrink,
    shrink_mask,
    size_within,
    write,
)

_CELL, _GAP, _HEADER, _MARGIN, _ACROSS = 180, 6, 34, 16, 6


def foreground_sheet(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], count: int, caption: str, path: Path
) -> Path:
    """Draw images with their foreground tinted and outlined; not where it is the whole image.

    Args:
        pairs: an image, uint8 (H, W) or (H, W, 3), of any size, and its foreground, bool (H, W); held one at
            a time, should they come one at a time.
        count: of them.
        caption: a line above them.
        path: PNG to write.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    across = min(_ACROSS, count)
    lines = math.ceil(count / across)
    width = 2 * _MARGIN + max(across * (_CELL + _GAP) - _GAP, 3 * _CELL)
    sheet = Image.new("RGB", (width, _HEADER + lines * (_CELL + _GAP) + _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (_MARGIN, _HEADER / 2), fit_text(caption, 14, width - 2 * _MARGIN), 14, MUTED)
    for number, (image, mask) in enumerate(pairs):
        size = size_within(mask.shape, _CELL)
        cell = shrink(image, *size)
        if not mask.all():
            cell = overlay(cell, shrink_mask(mask, *size), TARGET_COLOUR)
        line, column = divmod(number, across)
        left, top = _MARGIN + column * (_CELL + _GAP), _HEADER + line * (_CELL + _GAP)
        paste_into_cell(sheet, cell, left, top, _CELL)
    return save_picture(sheet, path)
