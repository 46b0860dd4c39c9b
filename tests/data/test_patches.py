from __future__ import annotations

import numpy as np

from augment.data.patches import cut_to_image, is_inside, own_places, placed

LAYER = np.arange(12).reshape(3, 4)


def at(top, left):
    return placed(LAYER, np.array([top, left]), LAYER.shape)


def test_a_patch_is_cut_where_it_sticks_out_of_the_canvas():
    assert np.array_equal(at(1, -2), [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0]])
    assert not at(5, 0).any() and not at(0, -4).any()
    assert np.array_equal(at(0, 0), LAYER)


def test_a_part_cut_to_the_image_keeps_what_lies_in_it():
    corner, size, shape = np.array([-1, 2]), (3, 4), (5, 4)
    mask, field = np.ones(size, bool), own_places(corner, size)
    start, cut, places = cut_to_image(corner, mask, field, shape)
    assert start.tolist() == [0, 2] and cut.shape == (2, 2)
    assert np.array_equal(places, own_places(start, cut.shape))
    assert is_inside(corner, size, shape).sum() == cut.size
    start, cut, places = cut_to_image(np.array([9, 9]), mask, field, shape)  # nothing of it does
    assert cut.shape == (1, 1) and not cut.any() and not places.any()
