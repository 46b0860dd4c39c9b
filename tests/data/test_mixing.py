"""A start made of two real defects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augment.data.foreground import Foreground
from augment.data.mixing import mixed, second_place
from augment.data.places import Parts
from augment.data.poses import agreement
from augment.recipe import MaskConfig

CONFIG = MaskConfig(flips=True, rotation=10, scale=(0.9, 1.1), translation=0.02, elastic=0.2)


def box(top: int, left: int, height: int, width: int, shape=(240, 320)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize("shape", [(240, 320), (600, 800)])
def test_on_a_texture_a_defect_of_the_same_outline_is_found_wherever_it_lies(shape):
    target = box(20, 40, 30, 50, shape)
    other = box(180, 220, 34, 46, shape)
    place = second_place(other, target, CONFIG, np.random.default_rng(0))
    assert place.shape == shape and agreement(place.mask, target) > 0.7
    again = second_place(other, target, CONFIG, np.random.default_rng(0))
    assert np.array_equal(place.mask, again.mask)


def test_one_of_another_outline_is_not():
    line, blob = box(20, 20, 4, 120), box(100, 100, 60, 60)
    assert second_place(line, blob, CONFIG, np.random.default_rng(0)) is None
    assert second_place(blob, line, CONFIG, np.random.default_rng(0)) is None


def test_nor_one_that_is_too_small_to_show_two_looks():
    place = second_place(box(100, 100, 22, 22), box(20, 20, 22, 22), CONFIG, np.random.default_rng(0))
    assert place is not None
    small = second_place(box(100, 100, 18, 18), box(20, 20, 18, 18), CONFIG, np.random.default_rng(0))
    assert small is None


def test_on_a_part_it_stays_where_its_own_changes_carry_it():
    plate = box(20, 20, 200, 280)
    parts = Parts(plate, plate, Foreground(True, True, flips=(False, False), usual=plate))
    config = replace(CONFIG, rotation=0, translation=0)
    rng = np.random.default_rng(0)
    assert second_place(box(180, 220, 30, 50), box(40, 40, 30, 50), config, rng, parts) is None
    target = box(176, 226, 30, 50)
    place = second_place(box(180, 220, 30, 50), target, config, rng, parts)
    assert agreement(place.mask, target) > 0.5


@pytest.mark.parametrize("shared", [box(60, 80, 60, 90), box(0, 0, 240, 320), box(5, 7, 1, 1)])
def test_the_second_shows_in_patches_of_what_is_shared_alone(shared):
    first, second = np.full((2, 240, 320, 3), [[[[50]]], [[[200]]]], dtype=np.uint8)
    found = mixed(first, second, shared, np.random.default_rng(0))
    assert found.dtype == np.uint8 and (found[~shared] == 50).all()
    if shared.sum() > 1:
        assert 0.3 < (found[shared] > 125).mean() < 0.55  # half, less the blend
        assert (found[shared] == 50).any() and (found[shared] == 200).any()
        assert not np.array_equal(found, mixed(first, second, shared, np.random.default_rng(1)))
    assert np.array_equal(found, mixed(first, second, shared, np.random.default_rng(0)))
