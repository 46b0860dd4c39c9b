"""How images and masks reach a detector's size; the same rules for training and for scoring."""

from __future__ import annotations

import numpy as np
from PIL import Image

from augment.data.images import to_rgb


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) as uint8 (size, size, 3): bilinear, antialiased where it shrinks."""
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return to_rgb(np.asarray(resized))


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A bool mask (H, W) at another shape (h, w), by nearest pixel."""
    resized = Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized)
