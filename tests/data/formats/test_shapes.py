from __future__ import annotations

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from augment.data.formats.outlines import parts, rings
from augment.data.formats.shapes import Bitmap, Polygon, box, circle, fill, line
from augment.errors import DataError


def random_masks(count=150):
    rng = np.random.default_rng(0)
    for _ in range(count):
        mask = rng.random(rng.integers(1, 14, 2)) < rng.random()
        if mask.any():
            yield mask


def test_any_mask_is_drawn_again_from_its_rings():
    for mask in random_masks():
        assert np.array_equal(fill(rings(mask), mask.shape), mask)


def test_parts_have_one_outline_each_and_make_the_mask():
    for mask in random_masks():
        whole = np.zeros_like(mask)
        for part in parts(mask):
            assert np.array_equal(fill((part.outline, *part.holes), mask.shape), part.mask)
            assert np.array_equal(fill((part.single_ring(),), mask.shape), part.mask)
            x, y, width, height = part.box
            assert part.mask[y : y + height, x : x + width].sum() == part.area
            whole |= part.mask
        assert np.array_equal(whole, mask)


def test_coco_draws_the_same_pixels_from_an_outline():
    for mask in random_masks():
        for part in parts(mask):
            if not part.holes:
                runs = coco_mask.frPyObjects([part.outline.ravel().tolist()], *mask.shape)
                assert np.array_equal(coco_mask.decode(runs)[..., 0], part.mask)


def test_a_ring_is_one_part_with_one_hole():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    (part,) = parts(mask)
    assert len(part.holes) == 1 and len(part.outline) == len(part.holes[0]) == 4


def test_outlines_agree_with_coco_on_freehand_polygons():
    rng = np.random.default_rng(1)
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * math.pi, 12))
        radii = rng.uniform(15, 40, 12)
        points = np.stack([50 + radii * np.cos(angles), 48 + radii * np.sin(angles)], axis=1)
        mine = Polygon.of(points).draw((96, 100))
        theirs = coco_mask.decode(coco_mask.frPyObjects([points.ravel().tolist()], 96, 100))[..., 0] > 0
        assert (mine & theirs).sum() / (mine | theirs).sum() > 0.97


def test_a_box_covers_its_pixels_and_is_cut_off_at_the_edge():
    mask = box(2, 1, 5, 3).draw((4, 8))
    assert mask[1:3, 2:5].all() and mask.sum() == 6
    assert box(-3, -3, 2, 2).draw((4, 8)).sum() == 4
    assert box(5, 3, 2, 1).draw((4, 8)).sum() == 6  # corners in any order


def test_a_hairline_polygon_marks_the_pixels_it_runs_through():
    mask = Polygon.of([(1.1, 2.1), (7.9, 2.1), (7.9, 2.2), (1.1, 2.2)]).draw((5, 10))
    assert mask[2, 1:8].all() and mask.sum() == 7


def test_circles_and_strokes_have_their_sizes():
    assert circle(50, 50, 30).draw((100, 100)).sum() == pytest.approx(math.pi * 900, rel=0.01)
    bar = line([(20, 50), (80, 50)], 6).draw((100, 100))
    assert bar.sum() == pytest.approx(60 * 6 + math.pi * 9, rel=0.03)
    assert line([(5.5, 5.5)], 0.1).draw((10, 10)).sum() == 1
    assert line([(1, 1), (8, 1), (8, 8)], 1).draw((10, 10)).sum() >= 14


def test_bitmaps_are_put_in_their_place_and_cut_off():
    pixels = np.ones((3, 4), bool)
    assert Bitmap(pixels, 2, 1).draw((8, 8))[1:4, 2:6].all()
    assert Bitmap(pixels, 6, 6).draw((8, 8)).sum() == 4
    assert Bitmap(pixels, -2, -1).draw((8, 8)).sum() == 4


def test_shapes_say_where_they_lie():
    assert not box(-0.9, 0, 5, 5).reaches_out((10, 10))  # rounding of tools
    assert box(-2, 0, 5, 5).reaches_out((10, 10))
    with pytest.raises(DataError, match="outside of its image, at x 20 to 30"):
        box(20, 1, 30, 5).reaches_out((10, 10))
    with pytest.raises(DataError, match="outside"):
        Bitmap(np.ones((3, 3), bool), -9, 0).reaches_out((10, 10))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "0 points"),
        ([1, 2, 3, 4], "2 points"),
        ([1, 2, 3, 4, 5], "odd number"),
        ([1, 2, 3, 4, 5, "x"], "no numbers"),
        ([[1, 2], [3], [4, 5]], "no numbers"),
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], "pairs"),
        ([1, 2, 3, 4, 5, math.nan], "finite"),
        ([1, 2, 3, 4, 5, 10**400], "no numbers"),
        ([1, 2, 3, 4, 5, 1e9], "far from"),
    ],
)
def test_bad_points_are_named(points, words):
    with pytest.raises(DataError, match=words):
        Polygon.of(points)
