"""Parts on their ground, in single images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from augment.data.ground import SIDE, enlarged, find_part, shrunk

DISC = np.hypot(*(np.mgrid[:200, :240] - np.array([[[95]], [[130]]]))) < 60


def on_ground(ground, part, noise=3.0, seed=0):
    """A disc of one colour on a ground (a colour, or (200, 240, 3)), with a sensor's noise."""
    rng = np.random.default_rng(seed)
    image = np.where(DISC[..., None], part, np.broadcast_to(ground, (200, 240, 3)))
    return (image + rng.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)


def agrees(image, part=DISC):
    found = enlarged(find_part(image).mask, image.shape[:2])
    return (found & part).sum() / (found | part).sum()


@pytest.mark.parametrize("ground", [(250, 250, 250), (20, 22, 20), (120, 120, 122), (40, 60, 110)])
def test_a_part_is_found_on_ground_of_any_colour(ground):
    assert agrees(on_ground(ground, (180, 90, 60))) > 0.95


def test_noise_vignetting_a_lamp_to_one_side_and_grain_do_not_matter():
    y, x = np.mgrid[-1:1:200j, -1:1:240j]
    rng = np.random.default_rng(1)
    grain = cv2.GaussianBlur(rng.normal(0, 25, (200, 240)), (0, 0), 1.5)
    light = (1 - 0.25 * (x * x + y * y) / 2 + 0.15 * x)[..., None]
    assert agrees(on_ground(150 * light, (60, 50, 50), noise=8)) > 0.93
    assert agrees(on_ground((150 + grain)[..., None] * light, (50, 40, 40))) > 0.9


def test_a_part_that_reaches_the_frame_is_found_whole():
    image = on_ground((240, 240, 240), (60, 60, 70))
    part = DISC.copy()
    part[80:110, 130:] = True
    image[part & ~DISC] = (60, 60, 70)
    found = find_part(image)
    assert agrees(image, part) > 0.95
    assert 0.01 < found.on_frame < 0.1


def test_large_holes_that_show_the_ground_are_ground_and_others_are_part():
    image = on_ground((240, 240, 240), (60, 60, 70))
    y, x = np.mgrid[:200, :240]
    hole = np.hypot(y - 95, x - 130) < 25
    image[hole] = on_ground((240, 240, 240), (240, 240, 240), seed=1)[hole]
    assert agrees(image, DISC & ~hole) > 0.93
    image[hole] = 120
    assert agrees(image) > 0.95


def test_nothing_stands_out_on_an_even_image_or_a_texture():
    rng = np.random.default_rng(2)
    even = np.full((64, 64, 3), 90, dtype=np.uint8)
    noise = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for image in (even, noise, np.zeros((8, 8, 3), dtype=np.uint8)):
        assert not find_part(image).mask.any()


def test_the_same_image_gives_the_same_part():
    image = on_ground((120, 120, 122), (150, 140, 120), noise=10)
    cv2.setRNGSeed(7)
    first = find_part(image).mask
    cv2.setRNGSeed(8)
    assert np.array_equal(find_part(image).mask, first)


def test_sizes():
    assert shrunk(np.zeros((100, 400, 3), np.uint8)).shape == (SIDE // 4, SIDE, 3)
    assert shrunk(np.zeros((30, 40, 3), np.uint8)).shape == (30, 40, 3)
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 5:25] = True
    assert enlarged(mask, (20, 30)) is mask
    large = enlarged(mask, (80, 120))
    assert large.shape == (80, 120) and abs(large.mean() - mask.mean()) < 0.02
