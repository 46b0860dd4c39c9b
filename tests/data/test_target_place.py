"""Target places in images that are too large to be turned as a whole."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from scipy import ndimage

from augment.data import target_place as module
from augment.data.masks import feather, resize_mask
from augment.data.moves import move_between
from augment.data.target_place import target_place
from augment.recipe import MaskConfig

SHAPE = (360, 480)
DEFECTS = {"middle": (180, 210), "corner": (4, 6), "edge": (335, 240)}


def defect(shape, top, left):
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + 14, left : left + 22] = True
    mask[top + 8 : top + 20, left : left + 9] = True
    return mask


@pytest.mark.parametrize("where", DEFECTS)
def test_a_part_turned_is_the_whole_image_turned(where, monkeypatch):
    mask = defect(SHAPE, *DEFECTS[where])
    rng = np.random.default_rng(0)
    training = ndimage.gaussian_filter(rng.uniform(0, 255, (*SHAPE, 3)), (3, 3, 0)).astype(np.uint8)
    image = np.zeros((*SHAPE, 3), np.uint8)
    agreements = []
    for seed in range(8):
        whole = target_place([mask], SHAPE, MaskConfig(), np.random.default_rng(seed))
        monkeypatch.setattr(module, "_WHOLE", 100)
        part = target_place([mask], SHAPE, MaskConfig(), np.random.default_rng(seed))
        monkeypatch.undo()
        both, either = (whole.mask & part.mask).sum(), (whole.mask | part.mask).sum()
        agreements.append(both / either)
        if both / either > 0.8:  # the same attempt was taken
            change = whole.moved(training, image).astype(int) - part.moved(training, image)
            assert np.median(np.abs(change[whole.mask & part.mask])) <= 8
    assert np.median(agreements) > 0.85


def test_a_window_of_what_is_moved_is_that_part_of_the_whole():
    mask, rng = defect(SHAPE, 180, 210), np.random.default_rng(1)
    training, image = rng.integers(0, 256, (2, *SHAPE, 3)).astype(np.uint8)
    window = (slice(120, 270), slice(180, 400))
    for config in (MaskConfig(), MaskConfig(scale=(9.0, 9.0))):  # the second finds no place: all stays
        place = target_place([mask], SHAPE, config, rng)
        whole = place.moved(training, image)
        assert np.array_equal(place.moved(training, image, window), whole[window])


def test_what_is_moved_keeps_its_grain():
    mask, rng = defect(SHAPE, 180, 210), np.random.default_rng(1)
    training = rng.normal(128, 20, (*SHAPE, 3)).clip(0, 255).astype(np.uint8)
    for seed in range(4):
        place = target_place([mask], SHAPE, MaskConfig(), np.random.default_rng(seed))
        inside = ndimage.binary_erosion(place.mask, iterations=4)
        shown = place.moved(training, np.full_like(training, 128))[inside]
        assert shown.std() > 0.8 * training[mask].std()  # bilinear: 0.66


def test_a_small_defect_of_a_large_image_costs_little_memory():
    mask = defect((3000, 4000), 1500, 2000)
    target_place([mask[1400:1700, 1900:2200]], (300, 300), MaskConfig(), np.random.default_rng(0))
    tracemalloc.start()
    place = target_place([mask], mask.shape, MaskConfig(), np.random.default_rng(0))
    resize_mask(mask, (120, 160))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert place.part.size < 100_000
    assert used < 20e6  # the image's field alone would be 144 MB


def test_the_blend_at_the_edges_is_the_same_wherever_the_mask_lies():
    rng = np.random.default_rng(2)
    small = ndimage.binary_dilation(rng.random((40, 50)) > 0.97, iterations=3)
    small[:2], small[-2:], small[:, :2], small[:, -2:] = False, False, False, False
    large = np.zeros((400, 300), dtype=bool)
    large[100:140, 200:250] = small
    alpha = feather(large, 3)
    assert np.array_equal(alpha[100:140, 200:250], feather(small, 3))
    assert (alpha > 0).sum() == (alpha[100:140, 200:250] > 0).sum()


@pytest.mark.parametrize("angle", [0.0, 35.0, 200.0])
def test_a_defect_carried_to_a_part_elsewhere_is_so_in_a_large_image_too(angle, monkeypatch):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    there = (np.abs(rows - 180) < 30) & (np.abs(columns - 200) < 110) | (
        np.hypot(rows - 180, columns - 300) < 50
    )
    turn = cv2.getRotationMatrix2D((240, 180), angle, 0.9)
    here = cv2.warpAffine(there.astype(np.uint8), turn, SHAPE[::-1]) > 0
    move = move_between(there, here, (True, True))
    mask = defect(SHAPE, 165, 250)
    agreements = []
    for seed in range(6):
        whole = target_place([mask], SHAPE, MaskConfig(), np.random.default_rng(seed), move)
        monkeypatch.setattr(module, "_WHOLE", 100)
        part = target_place([mask], SHAPE, MaskConfig(), np.random.default_rng(seed), move)
        monkeypatch.undo()
        assert part.way.shape[0] < 120
        agreements.append((whole.mask & part.mask).sum() / (whole.mask | part.mask).sum())
    assert min(agreements) > 0.75 and np.median(agreements) > 0.85


def test_a_place_shifted_and_cut():
    mask, rng = defect(SHAPE, 100, 120), np.random.default_rng(3)
    training, image = rng.integers(0, 256, (2, *SHAPE, 3)).astype(np.uint8)
    for config in (MaskConfig(), MaskConfig(scale=(9.0, 9.0))):  # the second finds no place: all stays
        place = target_place([mask], SHAPE, config, np.random.default_rng(0))
        moved = place.shifted((30, -20))
        assert np.array_equal(moved.mask[30:, :-20], place.mask[:-30, 20:])
        before, after = place.moved(training, image), moved.moved(training, image)
        assert np.array_equal(after[moved.mask], before[place.mask])
        half = moved.mask & (np.arange(SHAPE[0]) < np.nonzero(moved.mask)[0].mean())[:, None]
        assert np.array_equal(moved.within(half).mask, half)


@pytest.mark.parametrize("radius", [3.5, 5, 6.5])
def test_a_small_round_defect_comes_out_without_corners(radius):
    y, x = np.mgrid[:120, :120]
    mask = np.hypot(y - 60, x - 60) < radius
    solid = []
    for seed in range(30):
        found = target_place([mask], mask.shape, MaskConfig(), np.random.default_rng(seed)).mask
        (outline,), _ = cv2.findContours(
            found.repeat(4, 0).repeat(4, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        solid.append(cv2.contourArea(outline) / cv2.contourArea(cv2.convexHull(outline)))
    assert np.quantile(solid, 0.1) > 0.84  # 1: convex; an L or a plus has less


@pytest.mark.parametrize("middle", [(0, 120), (100, 0), (199, 130), (90, 259), (0, 259)])
def test_a_defect_cut_off_by_its_images_edge_is_cut_off_by_an_edge_again(middle):
    y, x = np.mgrid[:200, :260]
    mask = np.hypot(y - middle[0], x - middle[1]) < 24
    along = [axis for axis, extent in enumerate(mask.shape) if middle[axis] in (0, extent - 1)]
    places = [target_place([mask], mask.shape, MaskConfig(), np.random.default_rng(i)) for i in range(20)]
    for place in places:
        for axis in along:
            ends = np.moveaxis(place.mask, axis, 0)[[0, -1]]
            assert ends.any(axis=1).sum() == 1
    assert len({place.mask.tobytes() for place in places}) > 10


def test_a_defect_inside_its_image_or_right_across_it_is_not_drawn_to_an_edge():
    across, inside = np.zeros((200, 260), dtype=bool), np.zeros((200, 260), dtype=bool)
    across[:, 100:110], inside[4:14, 100:120] = True, True
    config = MaskConfig(flips=False, rotation=0, scale=(1, 1), translation=0, elastic=0)
    for mask in (across, inside):
        assert np.array_equal(target_place([mask], mask.shape, config, np.random.default_rng(0)).mask, mask)
