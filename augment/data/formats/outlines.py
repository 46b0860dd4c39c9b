"""Masks -> outlines along pixel edges, from which the same masks can be drawn again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # right, down, left, up, as (x, y)


@dataclass(frozen=True)
class Part:
    """One connected part of a mask, diagonal neighbours included.

    Attributes:
        mask: bool (H, W), this part alone.
        outline: int (n, 2) of x, y corners, clockwise as seen on the screen.
        holes: the same for each hole.
    """

    mask: np.ndarray
    outline: np.ndarray
    holes: tuple[np.ndarray, ...]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        (x0, y0), (x1, y1) = self.outline.min(axis=0).tolist(), self.outline.max(axis=0).tolist()
        return x0, y0, x1 - x0, y1 - y0

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())

    def single_ring(self) -> np.ndarray:
        """int (n, 2): the outline, each hole joined to it by a cut of no width, for formats without holes."""
        ring = self.outline
        for hole in self.holes:
            distances, nearest = cKDTree(ring).query(hole)
            first = int(distances.argmin())
            at = int(nearest[first])
            around = np.roll(hole, -first, axis=0)
            ring = np.concatenate([ring[: at + 1], around, around[:1], ring[at:]])
        return ring


def parts(mask: np.ndarray) -> list[Part]:
    """The connected parts of a mask, bool (H, W), from top to bottom; none of an empty one."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), bool))
    found = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[rows, columns] == index
        offset = np.array([columns.start, rows.start])
        traced = [ring + offset for ring in rings(own)]
        whole = np.zeros(mask.shape, bool)
        whole[rows, columns] = own
        (outline,) = (ring for ring in traced if _signed_area(ring) > 0)
        found.append(Part(whole, outline, tuple(ring for ring in traced if _signed_area(ring) < 0)))
    return found


def rings(mask: np.ndarray) -> list[np.ndarray]:
    """The closed borders of a mask, int (n, 2) corners each: outlines clockwise, holes the other way.

    At a corner where two defect pixels touch diagonally the border goes on to the other one, so that each
    part has one outline.
    """
    inside = np.pad(mask, 1)
    edges: dict[tuple[int, int], list[int]] = {}  # corner -> directions that leave it, the mask to the right
    core = inside[1:-1, 1:-1]
    neighbours = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])  # up, right, ...
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))  # of a pixel's upper, right, lower and left side
    for direction, (neighbour, (dx, dy)) in enumerate(zip(neighbours, starts, strict=True)):
        for y, x in np.argwhere(core & ~neighbour).tolist():
            edges.setdefault((x + dx, y + dy), []).append(direction)
    found = []
    while edges:
        corner = next(iter(edges))
        direction = edges[corner][0]
        corners, previous = [], None
        while corner in edges:
            leaving = edges[corner]
            if previous is not None and len(leaving) > 1:
                direction = (previous - 1) % 4  # turn left: over to the pixel that touches diagonally
            elif previous is not None:
                direction = leaving[0]
            leaving.remove(direction)
            if not leaving:
                del edges[corner]
            if direction != previous:
                corners.append(corner)
            corner = (corner[0] + int(_STEPS[direction][0]), corner[1] + int(_STEPS[direction][1]))
            previous = direction
        found.append(np.array(corners))
    return found


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(float)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
