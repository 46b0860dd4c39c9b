"""The looks of a real defect in a mask of another shape."""

from __future__ import annotations

import numpy as np
import pytest

from augment.data.lending import elongation, lent

SURFACE = 200


def box(top: int, left: int, height: int, width: int, shape=(240, 320)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def striped(mask: np.ndarray, along: int) -> np.ndarray:
    """A surface with a defect that is striped along an axis, of a colour that is nowhere else."""
    image = np.full((*mask.shape, 3), SURFACE, dtype=np.uint8)
    stripes = np.indices(mask.shape)[along] % 8 < 4
    image[mask & stripes], image[mask & ~stripes] = (90, 20, 20), (30, 20, 20)
    return image


@pytest.mark.parametrize(
    "mask",
    [
        box(100, 40, 30, 200),
        box(0, 0, 240, 320),
        box(10, 300, 200, 20),
        box(120, 160, 1, 1),
        box(9, 9, 90, 90),
    ],
)
@pytest.mark.parametrize("example_mask", [box(60, 80, 20, 90), box(0, 0, 3, 3), box(5, 7, 1, 1)])
def test_all_of_a_mask_shows_the_defect_and_nothing_else_does(mask, example_mask):
    image = np.full((240, 320, 3), 120, dtype=np.uint8)
    found = lent(image, mask, striped(example_mask, 1), example_mask)
    assert found.dtype == np.uint8 and (found[~mask] == 120).all() and (image == 120).all()
    assert (found[mask][:, 1:] == 20).all()


def test_what_runs_along_a_defect_runs_along_the_mask():
    example_mask = box(100, 60, 40, 160)  # lies flat, with stripes along it
    example = striped(example_mask, 0)
    upright = box(20, 140, 160, 40)
    found = lent(np.full((240, 320, 3), 120, np.uint8), upright, example, example_mask)
    inside = found[24:176, 144:176, 0].astype(float)
    assert inside.mean(axis=0).std() > 20 > 5 > inside.mean(axis=1).std()


def test_an_outline_of_another_size_is_filled_by_mirroring():
    small = box(100, 100, 16, 16)
    found = lent(np.full((240, 320, 3), 120, np.uint8), box(20, 20, 200, 200), striped(small, 1), small)
    assert (found[20:220, 20:220, 1] == 20).all()
    assert {30, 90} <= set(np.unique(found[20:220, 20:220, 0]))


def test_a_large_image_costs_no_more_than_its_defect():
    import tracemalloc

    mask, image = box(900, 1200, 20, 20, (3000, 4000)), np.zeros((3000, 4000, 3), np.uint8)
    target = box(10, 10, 30, 60)
    tracemalloc.start()
    lent(np.zeros((240, 320, 3), np.uint8), target, image, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes / 2


def test_elongation_is_of_the_shape_alone():
    assert elongation(box(10, 20, 40, 40)) == pytest.approx(1, abs=0.01)
    assert elongation(box(10, 20, 20, 80)) == pytest.approx(4, rel=0.02)
    assert elongation(box(10, 20, 160, 40)) == elongation(box(60, 70, 160, 40)) == pytest.approx(4, rel=0.02)
    assert elongation(box(5, 5, 1, 1)) == 1
