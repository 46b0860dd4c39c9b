"""Noise and distance fields: the raw stuff of which surfaces, parts and defects are made.

Every field is a float32 array (size, size); lengths are in pixels. Noise is drawn at low resolution and
enlarged, which is what keeps a scene in the tens of milliseconds.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

Field = np.ndarray
"""A float32 array (size, size)."""


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> tuple[Field, Field]:
    """The x and y coordinate of every pixel, read-only."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def local_grid(size: int, centre: tuple[float, float], angle: float) -> tuple[Field, Field]:
    """Pixel coordinates in a frame at `centre` (x, y) whose first axis is turned by `angle` (radians)."""
    x, y = pixel_grid(size)
    x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """From 1 inside to 0 outside a signed distance (negative inside), over a ramp `softness` px wide."""
    return np.clip(0.5 - distance / np.float32(softness), 0, 1)


def box_distance(x: Field, y: Field, half_width: float, half_height: float, corner: float = 0.0) -> Field:
    """Signed distance to a rectangle about the origin, with corners rounded by `corner`."""
    dx, dy = np.abs(x) - (half_width - corner), np.abs(y) - (half_height - corner)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(corner)


def polygon_distance(x: Field, y: Field, radius: float, sides: int) -> Field:
    """Signed distance to a regular polygon about the origin, `radius` px to the middle of a side."""
    angles = 2 * np.pi * np.arange(sides) / sides
    reach = [np.float32(np.cos(a)) * x + np.float32(np.sin(a)) * y for a in angles]
    return np.maximum.reduce(reach) - np.float32(radius)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur; `field` may have channels. A sigma under 0.3 px is the identity."""
    if sigma < 0.3:
        return field
    if sigma < 6:
        return cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    side = max(8, round(field.shape[0] * 3 / sigma))
    small = cv2.resize(field, (side, side), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * side / field.shape[0], borderType=cv2.BORDER_REFLECT)
    return cv2.resize(small, field.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def _enlarge(rng: np.random.Generator, height: int, width: int, rows: int, columns: int) -> np.ndarray:
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def smooth_noise(rng: np.random.Generator, size: int, cell: float) -> Field:
    """Noise of zero mean and unit deviation whose features are about `cell` px across."""
    if cell <= 1:
        return rng.standard_normal((size, size), dtype=np.float32)
    cells = int(np.ceil(size / cell)) + 3
    extent = max(size, int(cells * cell))
    noise = _enlarge(rng, extent, extent, cells, cells)[-size:, -size:]
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def fractal_noise(
    rng: np.random.Generator, size: int, cell: float, octaves: int = 4, gain: float = 0.5
) -> Field:
    """Unit-deviation sum of smooth noises, each half as large and `gain` times as strong as the last."""
    total = sum(np.float32(gain**k) * smooth_noise(rng, size, cell / 2**k) for k in range(octaves))
    return total / (total.std() + np.float32(1e-6))


def perlin_noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> Field:
    """Perlin's gradient noise, within [-1, 1], about 0, over `rows` by `columns` cells.

    Perlin: "An Image Synthesizer", SIGGRAPH 1985, with the fade curve of 2002.
    """
    turn = rng.uniform(0, 2 * np.pi, (rows + 1, columns + 1))
    y, x = ((np.arange(size) + 0.5) * cells / size for cells in (rows, columns))
    i, j = y.astype(int), x.astype(int)
    v, u = (y - i)[:, None], (x - j)[None]

    def slope(below: int, right: int) -> np.ndarray:
        angle = turn[i + below][:, j + right]
        return np.cos(angle) * (u - right) + np.sin(angle) * (v - below)

    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))
    above, beneath = (slope(k, 0) + fade_u * (slope(k, 1) - slope(k, 0)) for k in (0, 1))
    return (np.sqrt(2) * (above + fade_v * (beneath - above))).astype(np.float32)


def streaks(rng: np.random.Generator, size: int, length: float, width: float, angle: float) -> Field:
    """Unit-deviation noise drawn out to lines `length` by `width` px, running along `angle` (radians)."""
    extent = int(size * 1.45)
    rows, columns = max(4, round(extent / width)), max(4, round(extent / length))
    noise = _enlarge(rng, extent, extent, rows, columns)
    turn = cv2.getRotationMatrix2D((extent / 2, extent / 2), -np.degrees(angle), 1.0)
    turn[:, 2] -= (extent - size) / 2
    noise = cv2.warpAffine(noise, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def voronoi(rng: np.random.Generator, size: int, cell: float) -> tuple[np.ndarray, Field]:
    """Cells about `cell` px wide: their labels (int32, from 1), and the distance to the nearest border."""
    margin = int(2 * cell)
    extent = size + 2 * margin
    count = max(2, int(extent / cell))
    ticks = (np.arange(count) + 0.5) * extent / count
    points = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    points = np.clip(points + rng.uniform(-0.48, 0.48, points.shape) * extent / count, 0, extent - 1).astype(
        int
    )
    canvas = np.full((extent, extent), 255, np.uint8)
    canvas[points[:, 1], points[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    inner = np.ones_like(canvas)
    inner[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    inner[1:] &= labels[1:] == labels[:-1]
    distance = cv2.distanceTransform(inner, cv2.DIST_L2, 5)
    window = slice(margin, margin + size)
    return labels[window, window], distance[window, window]


def per_label(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Spread `values` (n, ...) over cells: label i takes values[i % n]."""
    return values[labels % len(values)]
