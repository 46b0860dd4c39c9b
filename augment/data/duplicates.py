"""Images of one physical part, found from the images themselves: other exposure, other crop, other name.

A random split that does not know them tests on parts it has trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import fft, ndimage
from scipy.sparse.csgraph import connected_components

_SIDE = 144  # the median image's longer side after shrinking, pixels
_FINE, _COARSE = 0.7, 3.0  # the band of structure compared: deviations of two Gaussians, pixels
_OVERLAP = 0.5  # share of the smaller image that two images of one part must have in common
_THRESHOLD = 0.6  # of the similarity, see `near_duplicate_similarity`
_BASELINE = 4  # images below which what is common to all cannot be told from what is common to two
_RAW_THRESHOLD = 0.9  # of the correlation, where there is no such baseline


def group_near_duplicates(images: Sequence[np.ndarray], others: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Label images such that those of one physical part share a label.

    Two images are of one part where `near_duplicate_similarity` reaches 0.6; what is linked through a third
    image is one group. On magnetic tiles shot six times, most pairs of one tile reach 0.6 to 1, and every
    shot reaches it with some other; pairs of two tiles stay below 0.5. MVTec's bottles all look alike: copies
    of one with other exposure, crop, noise and JPEG reach 0.7 to 0.95, two bottles stay below 0.6 (but for
    three pairs of the first 100 normal images, one of which plainly is one bottle shot twice).

    Turned, mirrored or rescaled copies are not found, nor are shots whose common part is less than half of
    the smaller one. In fewer than four images (with `others`) the plain correlation must reach 0.9.

    Args:
        images: uint8 (H, W) or (H, W, 3), of any sizes, at one scale.
        others: more images of the same kind, such as normal ones; they tell what all such images share.

    Returns:
        int (N,), labels 0, 1, ... in the order of each group's first image.
    """
    count = len(images)
    if count == 0:
        return np.zeros(0, dtype=int)
    every = [*images, *others]
    if len(every) < _BASELINE:
        linked = correlations(every) >= _RAW_THRESHOLD
    else:
        linked = near_duplicate_similarity(every) >= _THRESHOLD
    labels = connected_components(linked[:count, :count], directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def near_duplicate_similarity(images: Sequence[np.ndarray]) -> np.ndarray:
    """How alike each pair is beyond what all the images have in common: about 0 for unrelated ones.

    The partial correlation ``(r_ab - q_a q_b) / sqrt((1 - q_a^2)(1 - q_b^2))`` under one common factor, with
    r of `correlations` and q_a^2 an image's median correlation with the others, so that ten pictures of
    ten equal bottles, which correlate at 0.8, are not taken for one bottle. Groups may hold up to half of the
    images.

    Returns:
        float (N, N), symmetric, at most 1.
    """
    r = correlations(images)
    off_diagonal = np.where(np.eye(len(r), dtype=bool), np.nan, r)
    typical = max(float(np.nanmedian(off_diagonal)), 1e-6)
    q = np.clip(np.nanmedian(off_diagonal, axis=1) / np.sqrt(typical), 0, 0.99)
    similarity = (r - np.outer(q, q)) / np.sqrt(np.outer(1 - q**2, 1 - q**2))
    np.fill_diagonal(similarity, 1)
    return np.minimum(similarity, 1)


def correlations(images: Sequence[np.ndarray]) -> np.ndarray:
    """The normalised cross-correlation of each pair's fine structure, at the shift where it is highest.

    Images are shrunk by one common factor, their logarithm is band-passed and divided by its local deviation:
    neither exposure nor uneven light changes that. All shifts are compared whose overlap is at least half of
    the smaller image.

    Args:
        images: uint8 (H, W) or (H, W, 3).

    Returns:
        float (N, N), symmetric, in [0, 1], 1 on the diagonal.
    """
    scale = min(1.0, _SIDE / float(np.median([max(image.shape[:2]) for image in images])))
    structures = [_structure(image, scale) for image in images]
    shapes = np.array([structure.shape for structure in structures])
    # Shifts of half an image are the farthest looked at, so no more padding is needed.
    size = [fft.next_fast_len(int((2 - _OVERLAP) * extent) + 1, real=True) for extent in shapes.max(axis=0)]
    values = [fft.rfft2(structure, size) for structure in structures]
    energies = [fft.rfft2(structure**2, size) for structure in structures]
    places = [fft.rfft2(np.ones_like(structure), size) for structure in structures]

    result = np.eye(len(images))
    for a in range(len(images)):
        for b in range(a):
            rows, columns = (_overlap(shapes[a][axis], shapes[b][axis], size[axis]) for axis in (0, 1))
            overlap = np.outer(rows, columns)
            enough = overlap >= _OVERLAP * min(shapes[a].prod(), shapes[b].prod())
            product = fft.irfft2(values[a] * values[b].conj(), size)[enough]
            energy_a = fft.irfft2(energies[a] * places[b].conj(), size)[enough]
            energy_b = fft.irfft2(places[a] * energies[b].conj(), size)[enough]
            energy = np.sqrt(np.maximum(energy_a, 1) * np.maximum(energy_b, 1))  # at least a pixel's
            result[a, b] = result[b, a] = np.clip((product / energy).max(initial=0.0), 0, 1)
    return result


def _structure(image: np.ndarray, scale: float) -> np.ndarray:
    """float32 (h, w) of mean 0 and deviation 1, the same for every exposure."""
    grey = Image.fromarray(image).convert("L")
    if scale < 1:
        width, height = (max(8, round(side * scale)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BOX)
    light = np.log(np.asarray(grey, dtype=np.float32) + 8)
    band = ndimage.gaussian_filter(light, _FINE) - ndimage.gaussian_filter(light, _COARSE)
    deviation = np.sqrt(ndimage.gaussian_filter(band * band, 2 * _COARSE))
    band = np.clip(band / (deviation + 1e-2), -3, 3)
    band -= band.mean()
    return band / max(float(band.std()), 1e-6)


def _overlap(first: int, second: int, size: int) -> np.ndarray:
    """How many pixels two lines share at each cyclic shift (size,), as `irfft2` orders the shifts."""
    shift = np.arange(size)
    shift = np.where(shift < first, shift, shift - size)
    return np.clip(np.minimum(first, second + shift) - np.maximum(0, shift), 0, None)
