from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from augment.data.images import write_png
from augment.data.masks import (
    closed,
    feather,
    random_mask,
    read_mask_folder,
    resize_mask,
    with_margin,
)
from augment.data.target_place import target_place
from augment.errors import DataError
from augment.recipe import MaskConfig

CONFIG = MaskConfig()
STILL = MaskConfig(flips=False, rotation=0.0, scale=(1.0, 1.0), translation=0.0, elastic=0.0)
EIGHT = np.ones((3, 3))


def target_mask(*arguments) -> np.ndarray:
    return target_place(*arguments).mask


def shapes() -> dict[str, np.ndarray]:
    rows, columns = np.mgrid[:96, :128]
    return {
        "disc": (rows - 40) ** 2 + (columns - 80) ** 2 < 15**2,
        "thin line": (rows == 50) & (columns > 10) & (columns < 110),
        "diagonal": (rows == columns) & (rows > 20) & (rows < 80),
        "corner": (rows < 12) & (columns < 9),
        "point": (rows == 30) & (columns == 40),
        "corner point": (rows == 0) & (columns == 127),
        "whole image": rows >= 0,
        "two parts": ((rows - 20) ** 2 + (columns - 20) ** 2 < 64)
        | ((rows - 70) ** 2 + (columns - 100) ** 2 < 64),
    }


@pytest.mark.parametrize("name", shapes())
def test_target_masks_are_never_empty_and_keep_their_scale(name):
    mask = shapes()[name]
    for seed in range(20):
        changed = target_mask([mask], mask.shape, CONFIG, np.random.default_rng(seed))
        assert changed.dtype == bool
        assert changed.shape == mask.shape
        assert 0.6 * mask.sum() <= changed.sum() <= 3 * mask.sum()


@pytest.mark.parametrize("name", ["disc", "thin line", "two parts"])
def test_target_masks_differ_from_the_training_mask_and_have_no_specks(name):
    mask = shapes()[name]
    masks = [target_mask([mask], mask.shape, CONFIG, np.random.default_rng(seed)) for seed in range(20)]
    assert all((changed != mask).any() for changed in masks)
    assert len({changed.tobytes() for changed in masks}) == 20
    for changed in masks:
        labels, parts = ndimage.label(changed, EIGHT)
        assert min(np.bincount(labels.ravel())[1:]) >= 4
        assert parts <= 6


def test_target_masks_are_reproducible_and_leave_the_global_state_alone():
    mask = shapes()["disc"]
    state = np.random.get_state()[1].copy()
    first, second = (
        target_mask([mask, shapes()["corner"]], mask.shape, CONFIG, np.random.default_rng([3, 1]))
        for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], state)


def test_nothing_changes_where_nothing_may():
    for mask in shapes().values():
        assert np.array_equal(target_mask([mask], mask.shape, STILL, np.random.default_rng(0)), mask)


@pytest.mark.parametrize(
    "change",
    [{"flips": True}, {"rotation": 20.0}, {"scale": (1.2, 1.25)}, {"translation": 0.1}, {"elastic": 1.0}],
)
def test_each_setting_changes_something(change):
    mask = shapes()["disc"]
    config = replace(STILL, **change)
    masks = [target_mask([mask], mask.shape, config, np.random.default_rng(seed)) for seed in range(8)]
    assert any((changed != mask).any() for changed in masks)


def centre(mask):
    return np.array(ndimage.center_of_mass(mask))


def test_scaling_keeps_a_defect_where_it_is():
    mask = shapes()["disc"]
    grown = target_mask([mask], mask.shape, replace(STILL, scale=(1.25, 1.25)), np.random.default_rng(0))
    assert grown.sum() == pytest.approx(1.25**2 * mask.sum(), rel=0.1)
    assert np.abs(centre(grown) - centre(mask)).max() < 1


def test_rotation_keeps_the_distance_from_the_image_centre():
    mask = np.zeros((128, 128), bool)
    mask[60:68, 100:108] = True
    middle = np.array([63.5, 63.5])
    for seed in range(10):
        turned = target_mask([mask], mask.shape, replace(STILL, rotation=90.0), np.random.default_rng(seed))
        radius = np.linalg.norm(centre(turned) - middle)
        assert radius == pytest.approx(np.linalg.norm(centre(mask) - middle), abs=1)


def test_every_training_mask_is_used():
    left, right = np.zeros((2, 32, 32), bool)
    left[10:20, 2:8] = True
    right[10:20, 24:30] = True
    sides = {
        target_mask([left, right], (32, 32), STILL, np.random.default_rng(s))[:, :16].any() for s in range(20)
    }
    assert sides == {True, False}


def test_masks_of_another_size_are_resized():
    mask = shapes()["disc"]
    changed = target_mask([mask], (192, 256), STILL, np.random.default_rng(0))
    assert np.array_equal(changed, np.kron(mask, np.ones((2, 2), bool)))


def test_without_training_masks_there_is_no_target_mask():
    with pytest.raises(DataError, match="no training masks"):
        target_mask([], (8, 8), CONFIG, np.random.default_rng(0))


def test_shrinking_keeps_thin_defects():
    line = np.zeros((90, 90), bool)
    line[41, 5:80] = True
    small = resize_mask(line, (16, 20))
    assert small.any(axis=0).sum() >= 16
    assert small.any(axis=1).sum() == 1


def test_a_users_own_masks(tmp_path):
    for name in ("b", "a"):
        write_png(tmp_path / f"{name}.png", shapes()["disc" if name == "a" else "corner"])
    first, second = read_mask_folder(tmp_path)
    assert np.array_equal(first, shapes()["disc"])
    assert np.array_equal(second, shapes()["corner"])


def test_a_mask_folder_without_masks(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(DataError, match="holds no masks"):
            read_mask_folder(folder)


@pytest.mark.parametrize("shape", [(256, 256), (32, 32), (48, 200)])
def test_random_masks_cover_the_share_asked_for(shape):
    rng = np.random.default_rng(0)
    masks = [random_mask(shape, rng, area=(0.01, 0.25)) for _ in range(100)]
    shares = np.array([mask.mean() for mask in masks])
    assert all(mask.shape == shape and mask.dtype == bool for mask in masks)
    assert shares.min() >= 0.01 and shares.max() <= 0.25
    assert shares.max() > 8 * shares.min()
    assert len({mask.tobytes() for mask in masks}) == 100


def test_random_masks_are_reproducible_and_never_empty():
    first, second = (random_mask((64, 64), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    rng = np.random.default_rng(0)
    assert all(random_mask((4, 4), rng).any() for _ in range(50))


@pytest.mark.parametrize("width", [0, 1, 2, 5])
@pytest.mark.parametrize("name", shapes())
def test_feather_is_0_outside_and_reaches_1_in_every_part(name, width):
    mask = shapes()[name]
    alpha = feather(mask, width)
    assert alpha.dtype == np.float32
    assert np.array_equal(alpha > 0, mask)
    labels, parts = ndimage.label(mask, EIGHT)
    assert (ndimage.maximum(alpha, labels, range(1, parts + 1)) == 1).all()


def test_feather_of_width_0_is_the_mask():
    mask = shapes()["disc"]
    assert np.array_equal(feather(mask, 0), mask)


def test_feather_ramps_over_its_width():
    mask = np.zeros((21, 21), bool)
    mask[3:18, :] = True  # touches the image's border, which is no edge
    ramp = feather(mask, 2)[:, 0]
    assert ramp[2:7] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert np.array_equal(feather(mask, 2), np.repeat(ramp[:, None], 21, axis=1))


def test_the_ramp_of_a_small_defect_is_no_wider_than_its_share():
    y, x = np.mgrid[:200, :200]
    small, large = (np.hypot(y - 100, x - 100) < radius for radius in (6, 90))
    assert np.array_equal(feather(large, 2, 0.05), feather(large, 2))
    alpha = feather(small, 2, 0.05)
    assert 0.7 < alpha[small].min() < 0.8 < feather(small, 2)[small].min() + 0.5
    assert alpha.sum() > 0.93 * small.sum() > 1.2 * feather(small, 2).sum()


@pytest.mark.parametrize(
    ("middle", "radius", "margin"), [(100, 60, 2), (100, 20, 1), (100, 6, 0), (190, 60, 2)]
)
def test_a_defect_with_a_margin_is_painted_in_full(middle, radius, margin):
    y, x = np.mgrid[:200, :200]
    distance = np.hypot(y - 100, x - middle)
    mask = distance <= radius
    grown = with_margin(mask, 2, 0.05)
    assert not (mask & ~grown).any()
    if margin:
        assert distance[grown].max() == pytest.approx(radius + margin, abs=0.3)
        assert feather(grown, 2, 0.05)[mask].min() > 0.65 > feather(mask, 2, 0.05)[mask].min()
    else:
        assert np.array_equal(grown, mask)


def test_a_thin_part_beside_a_thick_one_reaches_1():
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:20] = True
    mask[10:30, 22] = True
    alpha = feather(mask, 5)
    assert (alpha[10:30, 22] == 1).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_training_image_moves_with_its_mask(seed):
    """A disc painted red where its mask is: after the move, the target mask is red, and red is in it."""
    mask = shapes()["disc"]
    training = np.full((*mask.shape, 3), 90, np.uint8)
    training[mask] = (250, 20, 20)
    image = np.full((96, 128, 3), 90, np.uint8)
    place = target_place([mask], mask.shape, CONFIG, np.random.default_rng(seed))
    red = place.moved(training, image)[..., 0] > 170
    assert (red & place.mask).sum() / (red | place.mask).sum() > 0.9


def test_a_still_place_gives_the_training_image_back_and_other_sizes_are_resized():
    mask, rng = shapes()["disc"], np.random.default_rng(0)
    training = rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)
    place = target_place([mask], mask.shape, STILL, rng)
    image = np.zeros((96, 128, 3), np.uint8)
    assert np.array_equal(place.moved(training, image)[mask], training[mask])
    grown = target_place([mask], (192, 256), STILL, rng)
    assert grown.moved(training, np.zeros((192, 256, 3), np.uint8)).shape == (192, 256, 3)


def test_where_a_moved_image_has_no_place_the_image_stays():
    mask = shapes()["disc"]
    far = replace(STILL, translation=0.3)
    place = target_place([mask], mask.shape, far, np.random.default_rng(1))
    image = np.full((96, 128, 3), 7, np.uint8)
    moved = place.moved(np.full((96, 128, 3), 200, np.uint8), image)
    assert (moved[place.mask] == 200).all()
    assert (moved == 7).any()


def test_bays_gaps_and_holes_are_closed_and_the_outline_stays():
    rows, columns = np.mgrid[:80, :120]
    disc = (rows - 40) ** 2 + (columns - 60) ** 2 < 30**2
    ragged = disc.copy()
    ragged[38:42, 60:] = False  # a bay of 4 pixels
    ragged[30:34, 45:49] = False  # a hole
    assert (closed(ragged, 3) == disc).mean() > 0.999
    assert (closed(ragged, 3) >= ragged).all()
    assert not closed(ragged, 1)[40, 75] and closed(ragged, 1)[31, 46]  # a finer pen leaves the bay, no hole
    assert np.array_equal(closed(disc, 3), disc)
    two = np.zeros((40, 60), bool)
    two[10:20, 5:20] = two[10:20, 23:40] = True
    assert closed(two, 2)[12:18, 20:23].all() and not closed(two, 1)[:, 21].any()


@pytest.mark.parametrize("reach", [0, 4, 500])
def test_the_images_border_is_no_edge_when_a_mask_is_closed(reach):
    for name, mask in shapes().items():
        found = closed(mask, reach)
        assert found.shape == mask.shape and (found >= mask).all()
        if name != "two parts" or reach < 500:
            assert np.array_equal(found, mask) or name == "disc", name
    corner = shapes()["corner"].copy()
    corner[3:6, :4] = False  # a bay that opens to the image's border
    assert closed(corner, 2)[4, 0]
    assert not closed(np.zeros((5, 5), bool), 2).any()
