"""Places that suit a defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from augment.data import foreground as module
from augment.data.places import (
    Parts,
    at_same_scale,
    best_place,
    light_around,
    plain_ground,
    share_on,
    surroundings_gap,
)
from augment.data.target_place import TargetPlace, target_place
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


def disc(row, column, radius=45):
    y, x = np.mgrid[:160, :160]
    return np.hypot(y - row, x - column) < radius


def shown(part, seed=0):
    """A plate on white ground, with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 4, (160, 160, 3))
    return (np.where(part[..., None], (90, 80, 70), 245) + noise).clip(0, 255).astype(np.uint8)


def foreground(*parts):
    return module.described(list(parts), "drawn")


@pytest.mark.parametrize("aside", [0, 30])
def test_masks_stay_on_the_part_though_the_training_mask_is_drawn_wide(aside):
    """The same part in the middle of both images; then at another place in each."""
    there, here = disc(80, 80), disc(80 - aside, 80 + aside)
    known = foreground(*(disc(80 - step * aside / 4, 80 + step * aside / 4) for step in range(5)))
    assert known.is_aligned == (aside == 0)
    mask = disc(80, 120, 14)  # a third of it hangs over, where the training image shows bare ground
    loose = replace(CONFIG, translation=0.1, rotation=20, elastic=0.5)
    parts = Parts(there, here, known)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        place = best_place(mask, shown(there), shown(here, 1), loose, rng, parts)
        assert place.mask.sum() >= 0.5 * mask.sum()
        assert not (place.mask & ~here).any()
        assert ndimage.label(place.mask, np.ones((3, 3)))[1] == 1


def test_dirt_that_hangs_over_the_edge_may_hang_over_the_edge():
    part, dirt = disc(80, 80), disc(80, 122, 14)
    parts = Parts(part | dirt, part, foreground(part, part))
    usual = (dirt & ~part).sum() / dirt.sum()
    config = replace(CONFIG, translation=0.05)
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mask = best_place(dirt, shown(part | dirt), shown(part, 1), config, rng, parts).mask
        shares.append((mask & ~part).sum() / mask.sum())
    assert 0.1 < max(shares) <= usual


def test_where_no_place_is_on_the_part_the_nearest_that_is_is_taken():
    there, here = disc(80, 80), disc(40, 40, 25)
    parts = Parts(there, here, foreground(there, there))  # as if it lay where all others do
    mask = disc(110, 110, 10)
    place = best_place(mask, shown(there), shown(here), CONFIG, np.random.default_rng(0), parts)
    assert place.mask.sum() > 0.6 * mask.sum() and not (place.mask & ~here).any()


def test_a_texture_has_the_places_it_had_before(part):
    image, mask = part
    first = best_place(mask, image, image, CONFIG, np.random.default_rng(5), None)
    seeds = np.random.default_rng(5).integers(2**63, size=CONFIG.candidates)
    places = [target_place([mask], mask.shape, CONFIG, np.random.default_rng(seed)) for seed in seeds]
    assert any(np.array_equal(first.mask, place.mask) for place in places)


def spotted(shape, top, left, side):
    """A grey surface with a black square, and its mask."""
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    image = np.where(mask[..., None], 0, np.uint8(120)).repeat(3, axis=2).astype(np.uint8)
    return image, mask


def test_a_square_stays_square_on_a_piece_of_other_proportions():
    image, mask = spotted((100, 100), 20, 60, 16)
    moved, there = at_same_scale(image, mask, (60, 240))
    assert moved.shape == (60, 240, 3) and there.shape == (60, 240)
    assert there.sum() == 256 and (moved[there] == 0).all()
    near = ndimage.binary_dilation(there, iterations=15) & ~there  # farther off, what is mirrored may lie
    assert (moved[near] == 120).all()
    rows, columns = np.nonzero(there)
    assert rows.min() == round(20 / 84 * 44) and columns.min() == 160  # as far on the way across


def test_a_defect_at_an_edge_stays_there_and_one_without_room_is_shrunk():
    image, mask = spotted((100, 100), 0, 84, 16)
    _, there = at_same_scale(image, mask, (60, 240))
    assert there[:16, 224:].all()
    image, mask = spotted((100, 200), 0, 40, 100)
    _, there = at_same_scale(image, mask, (50, 300))
    assert there.any(axis=1).all() and there.any(axis=0).sum() == pytest.approx(50, abs=1)


def test_the_same_view_at_another_resolution_is_left_alone():
    image, mask = spotted((100, 120), 20, 60, 16)
    for shape in ((100, 120), (50, 60), (301, 360)):
        found = at_same_scale(image, mask, shape)
        assert found[0] is image and found[1] is mask


def test_the_light_around_a_defect_is_of_what_is_near_it_and_not_of_it():
    image, mask = spotted((100, 100), 40, 40, 10)
    image[:20] = 250  # far away
    assert light_around(image, mask) == 120
    assert light_around(image[..., 0], mask) == 120
    assert light_around(image, np.ones((100, 100), dtype=bool)) == pytest.approx(image.mean())


def test_on_a_texture_a_defect_lies_where_it_is_as_light_as_around_the_real_one():
    image = np.full((200, 200, 3), 120, dtype=np.uint8)
    image[:, :60] = 15  # a dark strip, and a hole beside it
    mask = np.zeros((200, 200), dtype=bool)
    mask[95:105, 85:95] = True
    config = replace(CONFIG, translation=0.3)

    def in_the_dark(candidates):
        places = [
            best_place(
                mask, image, image, replace(config, candidates=candidates), np.random.default_rng(seed)
            )
            for seed in range(20)
        ]
        return sum(bool(place.mask[:, :60].any()) for place in places)

    assert in_the_dark(1) >= 4
    assert in_the_dark(16) == 0
    place = TargetPlace((200, 200), 0, (0, 0), mask, None)
    assert surroundings_gap(place, image, image - 10, of_light=True) == 10
    assert surroundings_gap(place, image, image - 10) == 0
