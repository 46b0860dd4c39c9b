"""Several defects in one image: where each may go, and painting them one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from augment.errors import RecipeError
from augment.jobs.painting import PaintedPiece, Piece, paint_pieces
from augment.methods.base import Method
from augment.recipe import Recipe

_GAP = 4  # pixels that two defects lie apart at least


def draw_number(limits: tuple[int, int], rng: np.random.Generator) -> int:
    """How many defects an image is to have, between the limits.

    Raises:
        RecipeError: the limits are no range of numbers above 0.
    """
    low, high = limits
    if not 1 <= low <= high:
        raise RecipeError(
            f"synthesize.defects_per_image holds the fewest and the most, as in [1, 3], not [{low}, {high}]."
        )
    return int(rng.integers(low, high + 1))


def is_apart(piece: Piece, others: Iterable[Piece]) -> bool:
    """Whether a target mask lies at least 4 pixels off those of other pieces of the same image."""
    grown = ndimage.binary_dilation(np.pad(piece.mask, _GAP), np.ones((3, 3), bool), iterations=_GAP)
    window = piece.window
    window = replace(
        window,
        top=window.top - _GAP,
        left=window.left - _GAP,
        height=window.height + 2 * _GAP,
        width=window.width + 2 * _GAP,
    )
    for other in others:
        shared = window.overlap(other.window)
        if shared is not None and (grown[shared[0]] & other.mask[shared[1]]).any():
            return False
    return True


def paint_in_turn(
    method: Method,
    images: Sequence[Sequence[Piece]],
    recipe: Recipe,
    first: Sequence[PaintedPiece] | None = None,
) -> list[list[PaintedPiece]]:
    """Paint a batch of images, each with one or more defects.

    A defect is painted onto what the ones before it have left of its window. Every turn is a batch of the
    same size, for the same bytes: an image that has no more defects keeps its place in it, and what comes
    of that is dropped.

    Args:
        method: paints.
        images: the pieces of each image, in order; at least one each.
        recipe: as for `paint`.
        first: the first piece of each, where it is painted already.

    Returns:
        The painted pieces of each image; a later one holds what earlier ones have painted in its window.
    """
    done: list[list[PaintedPiece]] = [[] for _ in images] if first is None else [[piece] for piece in first]
    for turn in range(0 if first is None else 1, max(map(len, images))):
        batch = [
            _onto(pieces[min(turn, len(pieces) - 1)], before)
            for pieces, before in zip(images, done, strict=True)
        ]
        painted = paint_pieces(method, batch, recipe)
        for pieces, before, piece in zip(images, done, painted, strict=True):
            if turn < len(pieces):
                before.append(piece)
    return done


def _onto(piece: Piece, before: Sequence[PaintedPiece]) -> Piece:
    """A piece that shows what was painted before."""
    image = None
    for other in before:
        shared = piece.window.overlap(other.window)
        if shared is not None:
            image = piece.image.copy() if image is None else image
            image[shared[0]] = other.image[shared[1]]
    return piece if image is None else replace(piece, image=image)
