"""Places that suit a defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augment.data.masks import TargetPlace
from augment.data.places import best_place, surroundings_gap
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
    home = TargetPlace(mask, 0, np.stack([x, y, np.ones_like(x)], axis=2))
    assert surroundings_gap(home, image, image) == 0
    assert surroundings_gap(home, image - 30, image) == 0
    shifted = TargetPlace(mask, 0, np.stack([x + 30, y, np.ones_like(x)], axis=2))
    assert surroundings_gap(shifted, image, image) > 5
    nowhere = TargetPlace(mask, 0, np.stack([x, y, np.zeros_like(x)], axis=2))
    assert surroundings_gap(nowhere, image, image) == 64
    full = TargetPlace(np.ones_like(mask), 0, home.field)
    assert surroundings_gap(full, image, image) == 0
