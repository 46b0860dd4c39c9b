"""How well two images' fine structure agrees, at the shift where it agrees best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from augment.data.images import image_size, read_image
from augment.progress import Progress, no_progress

Picture = np.ndarray | Path
"""uint8 (H, W) or (H, W, 3), or a file that holds it."""

_SIDE = 144  # the median image's longer side after shrinking, pixels
_FINE, _COARSE = 0.7, 3.0  # the band of structure compared: deviations of two Gaussians, pixels
_OVERLAP = 0.5  # share of the smaller image that two images of one part must have in common
_STEP = 8  # halved structures are cut to multiples of this, pixels
_BLOCK = 256  # images whose spectra are kept at a time
_AT_ONCE = 50_000  # points transformed at a time, which stay in the processor's cache
_LONG = 3000  # pairs that are worth a progress bar

Shape = tuple[int, int]


def structures(images: Sequence[Picture], progress: Progress = no_progress) -> list[np.ndarray]:
    """Each image's fine structure, float32 (h, w) of mean 0 and deviation 1, the same for every exposure.

    Images are shrunk by one common factor, their logarithm is band-passed and divided by its local deviation:
    neither exposure nor uneven light changes that. Files are read one after the other.

    Raises:
        DataError: a file cannot be read.
    """
    sizes = [image_size(image) if isinstance(image, Path) else image.shape[:2] for image in images]
    scale = min(1.0, _SIDE / float(np.median([max(size) for size in sizes]))) if sizes else 1.0
    return [
        _structure(read_image(image) if isinstance(image, Path) else image, scale)
        for image in progress(images, desc="reading images", unit="image")
    ]


def halved(structure: np.ndarray) -> np.ndarray:
    """A structure at half the resolution, again of mean 0 and deviation 1.

    It is cut to whole multiples of 8 pixels, so that many are of one shape and are compared in one go.
    """
    height, width = (side // 2 // _STEP * _STEP or side // 2 for side in structure.shape)
    cells = structure[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return _standardised(cells.mean(axis=(1, 3)))


def best_correlations(
    structures: Sequence[np.ndarray], pairs: np.ndarray, progress: Progress = no_progress
) -> np.ndarray:
    """The normalised cross-correlation of pairs of structures, at the shift where it is highest.

    All shifts are compared whose overlap is at least half of the smaller structure.

    Args:
        structures: float32 (h, w), of any sizes; many of one shape are compared faster.
        pairs: int (P, 2), indices into `structures`.
        progress: makes a bar where there are many pairs.

    Returns:
        float32 (P,) in [0, 1]; 0 for shapes that never overlap enough.
    """
    sums = [_summed_squares(structure) for structure in structures]
    result = np.zeros(len(pairs), dtype=np.float32)
    bar = progress if len(pairs) > _LONG else no_progress
    with bar(total=len(pairs), desc="comparing images", unit="pair") as moved:
        for numbers, block in _blocks(structures, pairs):
            for chosen, found in _block_correlations(structures, sums, block):
                result[numbers[chosen]] = found
                moved.update(len(chosen))
    return result


def _structure(image: np.ndarray, scale: float) -> np.ndarray:
    grey = Image.fromarray(image).convert("L")
    if scale < 1:
        width, height = (max(8, round(side * scale)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BOX)
    light = np.log(np.asarray(grey, dtype=np.float32) + 8)
    band = ndimage.gaussian_filter(light, _FINE) - ndimage.gaussian_filter(light, _COARSE)
    deviation = np.sqrt(ndimage.gaussian_filter(band * band, 2 * _COARSE))
    return _standardised(np.clip(band / (deviation + 1e-2), -3, 3))


def _standardised(band: np.ndarray) -> np.ndarray:
    band = band - band.mean()
    return (band / max(float(band.std()), 1e-6)).astype(np.float32)


def _blocks(structures: Sequence[np.ndarray], pairs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs whose first structures are of one shape, and their second ones: numbers (n,), pairs (n, 2)."""
    keys = [(*structure.shape, i // _BLOCK) for i, structure in enumerate(structures)]
    kind = np.unique(np.array(keys).reshape(-1, 3), axis=0, return_inverse=True)[1].ravel()
    swapped = kind[pairs[:, 0]] > kind[pairs[:, 1]]
    pairs = np.where(swapped[:, None], pairs[:, ::-1], pairs)
    codes = kind[pairs] @ [len(keys), 1]
    order = np.lexsort([pairs[:, 1], pairs[:, 0], codes])
    for numbers in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(numbers):
            yield numbers, pairs[numbers]


def _block_correlations(
    structures: Sequence[np.ndarray], sums: Sequence[np.ndarray], pairs: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The correlations of one block, sorted by its first structures: places in it, and float32 values."""
    first, second = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
    shape_a, shape_b = structures[first[0]].shape, structures[second[0]].shape
    overlap = _Overlap.of(shape_a, shape_b)
    if overlap is None:
        yield np.arange(len(pairs)), np.zeros(len(pairs), dtype=np.float32)
        return
    # Shifts of half an image are the farthest looked at, so no more padding is needed.
    sides = [max(a, b) + (1 - _OVERLAP) * min(a, b) for a, b in zip(shape_a, shape_b, strict=True)]
    size = tuple(fft.next_fast_len(int(side) + 1, real=True) for side in sides)
    spectra_a = fft.rfft2(np.stack([structures[i] for i in first]), size)
    spectra_b = fft.rfft2(np.stack([structures[i][::-1, ::-1] for i in second]), size)
    energies_a = [_energy(sums[i], overlap.spans_a) for i in first]
    energies_b = np.stack([_energy(sums[i], overlap.spans_b) for i in second])

    at_once = max(1, _AT_ONCE // (size[0] * size[1]))
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(pairs)], strict=True):
        a = np.searchsorted(first, pairs[start, 0])
        for place in range(start, stop, at_once):
            chosen = np.arange(place, min(place + at_once, stop))
            b = np.searchsorted(second, pairs[chosen, 1])
            product = fft.irfft2(spectra_a[a] * spectra_b[b], size)[:, *overlap.inside]
            yield chosen, _peaks(product / np.sqrt(energies_a[a] * energies_b[b]), overlap.is_enough)


def _peaks(correlation: np.ndarray, is_enough: np.ndarray) -> np.ndarray:
    """The highest value of each map (n, rows, columns), between its points where it lies there; in [0, 1].

    Shifts are rarely whole pixels, and structure this fine is half lost at half a pixel: along each axis a
    parabola is laid through the highest value and its neighbours.
    """
    count, rows, columns = correlation.shape
    place = (correlation * is_enough).reshape(count, -1).argmax(axis=1)
    each = np.arange(count)
    row, column = np.divmod(place, columns)
    height = correlation[each, row, column]
    peak = height.copy()
    for before, after in (
        ((row - 1, column), ((row + 1) % rows, column)),
        ((row, column - 1), (row, (column + 1) % columns)),
    ):
        low, high = correlation[each, *before], correlation[each, *after]
        bend = 2 * height - low - high
        is_peak = np.maximum(low, high) < height  # else it is the edge of what overlaps enough
        peak += np.where(is_peak, (high - low) ** 2 / np.where(is_peak, 8 * bend, 1), 0)
    return np.clip(peak * is_enough.ravel()[place], 0, 1)


@dataclass(frozen=True)
class _Overlap:
    """The shifts of two shapes that overlap enough.

    Attributes:
        inside: where they are in the convolution with the mirrored second structure; rows, columns.
        spans_a, spans_b: what each shift covers of the first and of the second: starts, stops of rows, then
            of columns.
        is_enough: float32 (rows, columns), 1 where the overlap is large enough.
    """

    inside: tuple[slice, slice]
    spans_a: tuple[np.ndarray, ...]
    spans_b: tuple[np.ndarray, ...]
    is_enough: np.ndarray

    @classmethod
    def of(cls, a: Shape, b: Shape) -> _Overlap | None:
        """None where no shift overlaps enough."""
        needed = _OVERLAP * min(a[0] * a[1], b[0] * b[1])
        common = np.minimum(a, b)
        least = np.ceil(needed / common[::-1]).astype(int)
        if (least > common).any():
            return None
        spans_a, spans_b, extents, inside = [], [], [], []
        for first, second, overlap in zip(a, b, least.tolist(), strict=True):
            shift = np.arange(overlap - second, first - overlap + 1)
            start, stop = np.maximum(0, shift), np.minimum(first, second + shift)
            spans_a += [start, stop]
            spans_b += [start - shift, stop - shift]
            extents.append((stop - start).astype(np.float32))
            inside.append(slice(overlap - 1, overlap - 1 + len(shift)))
        return cls(
            tuple(inside), tuple(spans_a), tuple(spans_b), (np.outer(*extents) >= needed).astype(np.float32)
        )


def _summed_squares(structure: np.ndarray) -> np.ndarray:
    """float32 (h + 1, w + 1): the sum of squares above and to the left of each corner."""
    sums = np.zeros((structure.shape[0] + 1, structure.shape[1] + 1), dtype=np.float32)
    sums[1:, 1:] = np.square(structure, dtype=np.float64).cumsum(axis=0).cumsum(axis=1)
    return sums


def _energy(sums: np.ndarray, spans: tuple[np.ndarray, ...]) -> np.ndarray:
    """float32 (rows, columns): the sum of squares of what each shift covers, at least a pixel's."""
    top, bottom, left, right = spans
    rows = sums.take(bottom, axis=0) - sums.take(top, axis=0)
    return np.maximum(rows.take(right, axis=1) - rows.take(left, axis=1), 1)
