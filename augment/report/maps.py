"""The picture a benchmark ends with: test images beside the truth and the maps of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

_CELL, _GAP, _CAPTION, _HEADER, _MARGIN = 200, 6, 24, 34, 20
_MAX_ROWS = 20
_HEAT = np.array(
    [(13, 8, 60), (106, 23, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]
)  # dark to light


def map_sheet(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw up to 20 test images: image, truth, and one anomaly map for each column.

    Colours run from the lowest to the highest score within a column, so a normal image stays dark.

    Args:
        rows: `image` uint8 (H, W[, 3]), `mask` bool (H, W), `caption`, and `maps`: column -> float (h, w).
            All rows have the same columns. A `kind` ("best", "worst") is put before the caption.
        path: PNG to write.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    rows = rows[:_MAX_ROWS]
    columns = list(rows[0]["maps"])
    names = ["test image", "truth", *columns]
    ranges = {name: score_range([row["maps"][name] for row in rows]) for name in columns}
    width = 2 * _MARGIN + len(names) * (_CELL + _GAP) - _GAP
    height = _MARGIN // 2 + _HEADER + len(rows) * (_CELL + _CAPTION + _GAP) + _MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(names):
        write(
            draw,
            (_MARGIN + place * (_CELL + _GAP) + _CELL / 2, _MARGIN / 2 + _HEADER / 2),
            fit_text(name, 16, _CELL),
            16,
            anchor="mm",
        )
    for line, row in enumerate(rows):
        top = _MARGIN // 2 + _HEADER + line * (_CELL + _CAPTION + _GAP)
        size = size_within(row["image"].shape, _CELL)
        image = shrink(row["image"], *size)
        cells = [image, overlay(image, shrink_mask(row["mask"], *size), TARGET_COLOUR)]
        for name in columns:
            heat = Image.fromarray(coloured(row["maps"][name], *ranges[name]))
            cells.append(heat.resize(size, Image.Resampling.BILINEAR))
        for place, cell in enumerate(cells):
            paste_into_cell(sheet, cell, _MARGIN + place * (_CELL + _GAP), top, _CELL)
        caption = f"{row['kind']}: {row['caption']}" if "kind" in row else row["caption"]
        caption = fit_text(caption, 13, width - 2 * _MARGIN)
        write(draw, (_MARGIN, top + _CELL + _CAPTION / 2), caption, 13, MUTED)
    return save_picture(sheet, path)


def score_range(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """The lowest and the highest score of some maps."""
    return min(float(m.min()) for m in maps), max(float(m.max()) for m in maps)


def coloured(anomaly_map: np.ndarray, low: float, high: float) -> np.ndarray:
    """(h, w) scores as uint8 (h, w, 3); `low` is darkest, `high` lightest."""
    share = (anomaly_map.astype(np.float64) - low) / max(high - low, 1e-12)
    stops = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(share, stops, _HEAT[:, channel]) for channel in range(3)], axis=-1).astype(
        np.uint8
    )
