"""Places that suit a defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augment.data.places import best_place, plain_ground, share_on, surroundings_gap
from augment.data.target_place import TargetPlace
from augment.recipe import MaskConfig

CONFIG = MaskConfig(flips=False, rotation=0, scale=(1, 1), translation=0.1, elastic=0)


@pytest.fixture
def part():
    """A dark plate on white ground (the same in every image), and the mask of a chip of its edge."""
    image = np.full((240, 240, 3), 250, dtype=np.uint8)
    image[:, :120] = 40
    mask = np.zeros((240, 240), dtype=bool)
    mask[110:130, 100:120] = True
    return image, mask


def test_a_chip_of_the_edge_stays_on_the_edge(part):
    image, mask = part

    def off_the_edge(candidates):
        config = replace(CONFIG, candidates=candidates)
        places = [best_place(mask, image, image, config, np.random.default_rng(seed)) for seed in range(12)]
        return np.mean([abs(np.flatnonzero(place.mask.any(axis=0))[-1] - 119) for place in places])

    assert off_the_edge(24) < off_the_edge(1) / 3


def test_the_same_seed_gives_the_same_place(part):
    image, mask = part
    first, second = (best_place(mask, image, image, CONFIG, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.mask, second.mask) and np.array_equal(first.field, second.field)
    assert first.mask.shape == mask.shape and first.mask.any()


def test_images_may_differ_in_size(part):
    image, mask = part
    place = best_place(mask[::2, ::2], image[::2, ::2], image, CONFIG, np.random.default_rng(0))
    assert place.mask.shape == image.shape[:2]


def test_the_gap_is_0_at_home_whatever_the_light_and_64_where_nothing_is_shown(part):
    image, mask = part
    y, x = np.mgrid[:240, :240].astype(np.float32)
    home = TargetPlace(mask.shape, 0, (0, 0), mask, np.stack([x, y, np.ones_like(x)], axis=2))
    assert surroundings_gap(home, image, image) == 0
    assert surroundings_gap(home, image - 30, image) == 0
    shifted = TargetPlace(mask.shape, 0, (0, 0), mask, np.stack([x + 30, y, np.ones_like(x)], axis=2))
    assert surroundings_gap(shifted, image, image) > 5
    nowhere = TargetPlace(mask.shape, 0, (0, 0), mask, np.stack([x, y, np.zeros_like(x)], axis=2))
    assert surroundings_gap(nowhere, image, image) == 64
    full = TargetPlace(mask.shape, 0, (0, 0), np.ones_like(mask), home.field)
    assert surroundings_gap(full, image, image) == 0


def test_plain_ground_is_what_surrounds_a_part_and_nothing_on_a_texture():
    rng = np.random.default_rng(0)
    image = rng.integers(245, 256, (100, 100, 3), dtype=np.uint8)
    y, x = np.mgrid[:100, :100]
    distance = np.hypot(y - 50, x - 50)
    ring = (distance < 40) & (distance > 15)  # its hole shows the ground too, but does not reach the frame
    image[ring] = 60
    assert np.array_equal(plain_ground(image), distance >= 40)
    assert not plain_ground(rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)).any()
    assert not plain_ground(np.full((100, 100, 3), 90, dtype=np.uint8)).any()
    assert share_on(distance >= 40, ring) == 0


def test_a_defect_that_may_lie_anywhere_on_a_part_stays_off_the_ground():
    image = np.full((240, 240, 3), 250, dtype=np.uint8)
    image[40:200, 40:200] = np.random.default_rng(1).integers(0, 250, (160, 160, 3), dtype=np.uint8)
    mask = np.zeros((240, 240), dtype=bool)
    mask[150:190, 150:190] = True

    def overhang(candidates):
        config = replace(CONFIG, translation=0.15, candidates=candidates)
        places = [best_place(mask, image, image, config, np.random.default_rng(seed)) for seed in range(12)]
        return np.mean([share_on(plain_ground(image), place.mask) for place in places])

    assert overhang(1) > 0.1 and overhang(8) == 0
