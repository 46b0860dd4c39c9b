"""The square of the source image in which the model works: found, cut out, and pasted back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from augment.data.masks import resize_mask
from augment.errors import DataError
from augment.recipe import WindowConfig

_SAME = 12.0  # levels of change at which half of the structure is still put back


@dataclass(frozen=True)
class Window:
    """A rectangle of the source image, in its pixels; a square unless the image is too small for one."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window's rows and columns: `image[window.slices]`."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @classmethod
    def around(cls, windows: Sequence[Window]) -> Window:
        """The smallest one that holds all of some windows."""
        top, left = min(w.top for w in windows), min(w.left for w in windows)
        bottom, right = max(w.top + w.height for w in windows), max(w.left + w.width for w in windows)
        return cls(top, left, bottom - top, right - left)

    def overlap(self, other: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """What two windows share: its index within this one and within the other; None: nothing."""
        start = max(self.top, other.top), max(self.left, other.left)
        stop = (
            min(self.top + self.height, other.top + other.height),
            min(self.left + self.width, other.left + other.width),
        )
        if stop[0] <= start[0] or stop[1] <= start[1]:
            return None
        size = stop[0] - start[0], stop[1] - start[1]
        here, there = (
            Window(start[0] - window.top, start[1] - window.left, *size).slices for window in (self, other)
        )
        return here, there


def window_around(mask: np.ndarray, config: WindowConfig, rng: np.random.Generator | None = None) -> Window:
    """The window around a defect; it always holds the whole defect and lies inside the image.

    With `config.full_frame` it is the whole image. Else its side is `config.context` times the longer side of
    the defect's bounding box, and at least `config.minimum`; along an axis on which the image is smaller, the
    window spans the whole image.

    Args:
        mask: bool (H, W), the defect.
        config: the window's size, and how far it may move.
        rng: with it, the window grows by up to `config.jitter` of its side and moves by up to as much either
            way; without it, the defect is in the middle.

    Raises:
        DataError: the mask is empty.
    """
    if not mask.any():
        raise DataError("The mask is empty: there is no defect to put a window around.")
    if config.full_frame:
        return Window(0, 0, *mask.shape)
    spans = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] + (0, 1) for axis in (1, 0)]
    longer = max(int(stop - start) for start, stop in spans)
    side = max(longer, config.context * longer, config.minimum)
    if rng is not None:
        side *= 1 + rng.uniform(0, config.jitter)

    corners, sides = [], []
    for (start, stop), extent in zip(spans, mask.shape, strict=True):
        length = min(int(np.ceil(side)), extent)
        shift = side * rng.uniform(-config.jitter, config.jitter) if rng is not None else 0.0
        corner = round((start + stop - length) / 2 + shift)
        corners.append(int(np.clip(corner, max(0, stop - length), min(start, extent - length))))
        sides.append(length)
    return Window(*corners, *sides)


def random_window(shape: tuple[int, int], minimum: int, rng: np.random.Generator) -> Window:
    """A square window of random size and place, its side between `minimum` and the image's shorter side.

    Args:
        shape: (H, W) of the image.
        minimum: smallest side, pixels; an image smaller than that gives its largest square.
        rng: of size (log-uniform) and place.
    """
    shorter = min(shape)
    side = round(shorter * (min(minimum, shorter) / shorter) ** rng.random())
    top, left = (int(rng.integers(extent - side + 1)) for extent in shape)
    return Window(top, left, side, side)


def crop(array: np.ndarray, window: Window, size: int, *, is_mask: bool = False) -> np.ndarray:
    """Cut a window out and resize it to (size, size).

    Images are resized with antialiased bicubic interpolation. Masks stay binary: shrinking, every pixel the
    defect touches counts; growing, the nearest pixel decides.

    Args:
        array: uint8 (H, W) or (H, W, 3), or a bool (H, W) mask.
        window: where to cut.
        size: side of the result, pixels.
        is_mask: the array is a mask.
    """
    patch = array[window.slices]
    return resize_mask(patch, (size, size)) if is_mask else _resized(patch, size, size)


def paste(image: np.ndarray, patch: np.ndarray, window: Window, alpha: np.ndarray) -> np.ndarray:
    """Blend a painted window into its image: `(1 - alpha) * image + alpha * patch`, rounded.

    Where `alpha` is 0, and everywhere outside the window, the result is the image bit for bit.

    Args:
        image: uint8 (H, W) or (H, W, 3); the result has its shape.
        patch: uint8 (S, S) or (S, S, 3), resized to the window; becomes grey (luma) for a grey image.
        window: where to paste.
        alpha: float (H, W) in [0, 1], for the whole image.
    """
    if patch.ndim > image.ndim:
        patch = np.array(Image.fromarray(patch).convert("L"))
    patch = _resized(patch, window.height, window.width)
    if patch.ndim < image.ndim:
        patch = patch[..., None]
    weight = alpha[window.slices]
    touched = weight > 0
    if image.ndim == 3:
        weight = weight[..., None]
    result = image.copy()
    region = result[window.slices]
    region[touched] = np.rint((1 - weight) * region + weight * patch).astype(np.uint8)[touched]
    return result


def carry_detail(
    source: np.ndarray,
    generated: np.ndarray,
    reconstructed: np.ndarray,
    origin: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """A painted window at the source's own resolution, with the detail the model cannot carry.

    The residual of the source against its own reconstruction (resized and coded like the painted window) is
    what was lost: sensor noise, fine grain, sharp edges. Its noise, up to 2.5 robust deviations, is put back
    everywhere. The rest is structure: it comes from the window that the painting started from, and is put
    back where the painting leaves that window as it was, a smooth change of light and colour apart. A window
    painted just as reconstructed gives back the source.

    Args:
        source: uint8 (H, W, 3), the window of the source image.
        generated: float (S, S, 3) in [0, 1], the painted window.
        reconstructed: float (S, S, 3) in [0, 1], the source's window through the same codec.
        origin: the window that the painting started from, and it through the codec, as the two before; None:
            the source itself.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = source.shape[:2]
    grown = 255 * _resized_float(generated, height, width)
    base = 255 * _resized_float(reconstructed, height, width)
    noise, structure = _noise_and_structure(source, base)
    change = grown - base
    if origin is not None:
        base = 255 * _resized_float(origin[1], height, width)
        structure = _noise_and_structure(origin[0], base)[1]
        change = grown - base
        change -= cv2.GaussianBlur(change, (0, 0), max(height, width) / 16)
    reach = max(1.0, max(height, width) / 128)
    change = cv2.GaussianBlur(np.abs(change).max(axis=2), (0, 0), reach)[..., None]
    structure = structure / (1 + (change / _SAME) ** 2)
    return np.rint(np.clip(grown + noise + structure, 0, 255)).astype(np.uint8)


def _noise_and_structure(image: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a reconstruction lacks: up to 2.5 robust deviations of each channel, and the rest."""
    residual = image - base
    limit = 2.5 * 1.4826 * np.median(np.abs(residual), axis=(0, 1)) + 0.5
    noise = np.clip(residual, -limit, limit)
    return noise, residual - noise


def _resized_float(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image.astype(np.float32), (width, height), interpolation=method)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image.copy()
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
