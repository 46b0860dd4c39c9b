from __future__ import annotations

import numpy as np
import pytest

from augment.data.windows import Window, carry_detail, crop, paste, random_window, window_around
from augment.errors import DataError
from augment.recipe import WindowConfig

RNG = np.random.default_rng(0)
CONFIG = WindowConfig(context=1.6, minimum=32, jitter=0.2)


def box(shape, top, left, height, width):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_the_window_is_a_centred_square_with_context():
    window = window_around(box((400, 500), 100, 200, 50, 20), CONFIG)
    assert window == Window(top=85, left=170, height=80, width=80)


def test_a_small_defect_gets_the_smallest_window():
    window = window_around(box((400, 500), 100, 200, 2, 2), CONFIG)
    assert (window.height, window.width) == (32, 32)


def test_at_the_border_the_window_stays_inside():
    assert window_around(box((400, 500), 0, 480, 20, 20), CONFIG) == Window(0, 468, 32, 32)


@pytest.mark.parametrize(
    ("shape", "expected"), [((20, 500), (20, 80)), ((500, 20), (80, 20)), ((20, 24), (20, 24))]
)
def test_an_image_smaller_than_the_window_is_taken_whole(shape, expected):
    mask = box(shape, 0, 0, min(50, shape[0]), min(50, shape[1]))
    mask[-1 if shape[0] < 50 else 49, 0] = True
    window = window_around(mask, WindowConfig(context=1.6, minimum=80))
    assert (window.height, window.width) == expected


def test_a_defect_as_large_as_the_image():
    assert window_around(np.ones((60, 90), bool), CONFIG, np.random.default_rng(0)) == Window(0, 0, 60, 90)


@pytest.mark.parametrize("context", [0.5, 1.0, 1.6, 3.0])
def test_jitter_keeps_the_defect_inside_and_the_window_in_the_image(context):
    rng = np.random.default_rng(0)
    config = WindowConfig(context=context, minimum=8, jitter=0.5)
    windows = set()
    for _ in range(300):
        height, width = rng.integers(1, 40, 2)
        mask = box((60, 80), rng.integers(0, 61 - height), rng.integers(0, 81 - width), height, width)
        window = window_around(mask, config, rng)
        assert mask[window.slices].sum() == mask.sum()
        assert window.top >= 0 and window.left >= 0
        assert window.top + window.height <= 60 and window.left + window.width <= 80
        windows.add(window)
    assert len(windows) > 50  # many are the whole image


def test_jitter_is_reproducible():
    mask = box((200, 200), 50, 60, 30, 30)
    first, second = (window_around(mask, CONFIG, np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_an_empty_mask_has_no_window():
    with pytest.raises(DataError, match="empty"):
        window_around(np.zeros((9, 9), bool), CONFIG)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)], ids=["grey", "rgb"])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_crop_then_paste_with_alpha_0_is_the_identity(shape, size):
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    window = Window(10, 20, 32, 32)
    patch = crop(image, window, size)
    assert patch.shape == (size, size, *shape[2:])
    assert np.array_equal(paste(image, patch, window, np.zeros((64, 80))), image)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)], ids=["grey", "rgb"])
def test_paste_touches_only_where_alpha_does(shape):
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    patch = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    window = Window(10, 20, 32, 32)
    alpha = RNG.uniform(0, 1, (64, 80)).astype(np.float32) * box((64, 80), 5, 15, 20, 20)
    result = paste(image, patch, window, alpha)
    inside = (alpha > 0) & box((64, 80), 10, 20, 32, 32)
    assert result.shape == image.shape
    assert np.array_equal(result[~inside], image[~inside])
    assert (result != image).any()
    assert np.array_equal(image, before)


def test_where_alpha_is_1_the_patch_shows():
    image = np.zeros((64, 80, 3), np.uint8)
    patch = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    window = Window(10, 20, 32, 32)
    result = paste(image, patch, window, np.ones((64, 80), np.float32))
    assert np.array_equal(result[window.slices], patch)
    assert result.sum() == patch.sum()


def test_paste_blends_linearly():
    image = np.full((4, 4), 100, np.uint8)
    patch = np.full((4, 4), 200, np.uint8)
    result = paste(image, patch, Window(0, 0, 4, 4), np.full((4, 4), 0.25))
    assert np.array_equal(result, np.full((4, 4), 125))


def test_grey_patch_on_a_colour_image():
    result = paste(
        np.zeros((8, 8, 3), np.uint8), np.full((4, 4), 9, np.uint8), Window(0, 0, 8, 8), np.ones((8, 8))
    )
    assert np.array_equal(result, np.full((8, 8, 3), 9))


def test_cropped_masks_lose_no_defect_pixel():
    for _ in range(50):
        mask = np.zeros((97, 131), bool)
        mask[RNG.integers(97), RNG.integers(131)] = True
        patch = crop(mask, Window(0, 0, 97, 131), 16, is_mask=True)
        assert patch.dtype == bool
        assert 1 <= patch.sum() <= 4  # the pixel may lie across cells


def test_cropped_masks_grow_by_the_nearest_pixel():
    mask = box((8, 8), 2, 2, 2, 3)
    grown = crop(mask, Window(0, 0, 8, 8), 32, is_mask=True)
    assert np.array_equal(grown, np.kron(mask, np.ones((4, 4), bool)))


def test_crop_of_the_same_size_is_exact():
    image = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(crop(image, Window(3, 4, 32, 32), 32), image[3:35, 4:36])


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = crop(stripes, Window(0, 0, 64, 64), 16)
    assert small.min() > 110 and small.max() < 145


@pytest.mark.parametrize("shape", [(60, 90), (40, 20), (300, 200)])
def test_a_random_window_is_a_square_inside_the_image(shape):
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(200):
        window = random_window(shape, 32, rng)
        assert window.height == window.width
        assert 0 <= window.top <= shape[0] - window.height and 0 <= window.left <= shape[1] - window.width
        sides.add(window.height)
    assert min(sides) >= min(32, *shape) and max(sides) <= min(shape)


def grain(shape, strength=12):
    return np.clip(np.random.default_rng(1).normal(120, strength, (*shape, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (150, 130), (40, 40)])
def test_a_window_painted_as_reconstructed_gives_back_the_source(shape):
    source, base = grain(shape), np.full((64, 64, 3), 120 / 255)
    assert np.array_equal(carry_detail(source, base, base), source)


def test_a_changed_place_keeps_the_sources_noise_and_not_its_structure():
    source, base = grain((128, 128), strength=4), np.full((64, 64, 3), 120 / 255)
    source[60:64] = 250  # a line the codec has lost
    result = carry_detail(source, base - 0.3, base).astype(int)
    flat = np.delete(result, slice(56, 68), axis=0)
    assert flat.mean() == pytest.approx(120 - 0.3 * 255, abs=1)
    assert 3 < flat.std() < 5
    assert result[60:64].mean() < flat.mean() + 25  # of 130 levels, only what noise may have


def test_the_structure_comes_from_what_the_painting_started_from_whatever_its_light():
    rng = np.random.default_rng(3)
    source = np.full((64, 64, 3), 90, dtype=np.uint8)
    shown = np.full((64, 64, 3), 120, dtype=np.uint8)
    shown[20:40, 30:32] = 255  # a fine line that the codec loses
    smooth = np.full((64, 64, 3), 120 / 255)
    plain = np.full((64, 64, 3), 90 / 255)
    result = carry_detail(source, smooth - 30 / 255, plain, (shown, smooth)).astype(int)
    assert result[30, 31, 0] == pytest.approx(90 + 135, abs=2)
    assert abs(result[50:, :20] - 90).max() <= 1
    repainted = smooth - 30 / 255 + 0.3 * rng.choice([-1, 1], (64, 64, 1))
    assert carry_detail(source, repainted, plain, (shown, smooth))[30, 31].max() < 225  # no longer the same
