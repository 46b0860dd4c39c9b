"""Outlines of defects: where they lie, lines that wander, blobs, shards. All float32 (size, size)."""

from __future__ import annotations

import cv2
import numpy as np

from augment.render.noise import Field, fractal_noise, local_grid
from augment.render.optics import Material

Point = tuple[float, float]


def ring_arc(rng: np.random.Generator, east: Field, south: Field, spread: float) -> Field:
    """A random stretch of a ring, `spread` radians long, fading at its ends.

    Args:
        rng: of the direction in which it lies.
        east, south: the direction of each pixel from the ring's centre, as a unit vector's parts.
        spread: radians.
    """
    at = rng.uniform(0, 2 * np.pi)
    away = 1 - np.float32(np.cos(at)) * east - np.float32(np.sin(at)) * south
    return np.exp(-2 * away / np.float32(spread**2))


def place(rng: np.random.Generator, material: Material, margin: float) -> Point:
    """A random (x, y) on the part, `margin` px from its border and the picture's, or as far as it can be."""
    inside = cv2.copyMakeBorder(material.part.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return _pick(rng, depth >= min(margin, 0.8 * depth.max()))


def place_on_edge(rng: np.random.Generator, material: Material) -> Point:
    """A random (x, y) where the part may chip: its brittle zone or its border, else anywhere."""
    core = cv2.erode(material.part.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    edge = material.part & (core == 0) if material.brittle is None else material.brittle
    return _pick(rng, edge if edge.any() else material.part)


def _pick(rng: np.random.Generator, candidates: np.ndarray) -> Point:
    rows, columns = np.nonzero(candidates)
    chosen = int(rng.integers(len(rows)))
    return float(columns[chosen]), float(rows[chosen])


def walk(
    rng: np.random.Generator,
    start: Point,
    heading: float,
    length: float,
    step: float,
    turn: float,
    drift: float,
) -> np.ndarray:
    """Points (n, 2) of a path through `start`, whose heading jitters by `turn` and drifts by `drift`."""
    count = max(2, int(length / step) + 1)
    headings = heading + np.cumsum(rng.normal(0, drift, count)) + rng.normal(0, turn, count)
    moves = step * np.stack([np.cos(headings), np.sin(headings)], 1)
    path = np.cumsum(moves, 0)
    return path - path[count // 2] + start


def draw_lines(size: int, paths: list[np.ndarray], widths: list[np.ndarray]) -> Field:
    """Antialiased coverage in [0, 1] of paths (n, 2), each point with its own width in pixels."""
    scale, shift = 3, 4
    canvas = np.zeros((size * scale, size * scale), np.uint8)
    for path, width in zip(paths, widths, strict=True):
        points = np.int32(np.round((path + 0.5) * scale * 2**shift))
        for k in range(len(points) - 1):
            thickness = max(1, round(float(width[k]) * scale))
            cv2.line(canvas, points[k], points[k + 1], 255, thickness, cv2.LINE_AA, shift)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def blob(rng: np.random.Generator, size: int, centre: Point, radius: float, roughness: float) -> Field:
    """Depth in pixels inside an irregular patch (negative outside); `roughness` 0 is an ellipse."""
    x, y = local_grid(size, centre, rng.uniform(0, np.pi))
    stretch = np.float32(rng.uniform(0.7, 1.4))
    distance = np.hypot(x * stretch, y / stretch)
    return (
        np.float32(radius) - distance + np.float32(roughness * radius) * fractal_noise(rng, size, radius, 4)
    ).astype(np.float32)


def shard(rng: np.random.Generator, size: int, centre: Point, radius: float, sides: int = 5) -> Field:
    """Depth in pixels inside an angular splinter (negative outside)."""
    x, y = local_grid(size, centre, rng.uniform(0, 2 * np.pi))
    angles = (np.arange(sides) + rng.uniform(-0.35, 0.35, sides)) * 2 * np.pi / sides
    reach = radius * rng.uniform(0.35, 1.25, sides)
    planes = [
        np.float32(r) - np.float32(np.cos(a)) * x - np.float32(np.sin(a)) * y
        for a, r in zip(angles, reach, strict=True)
    ]
    return np.minimum.reduce(planes).astype(np.float32)
