from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from augment.data.correlation import best_correlations, structures
from augment.data.duplicates import group_near_duplicates
from augment.data.images import list_images, read_image

TILES = 12


def surface(seed, height=96, width=120):
    """A part's own texture: smooth noise at several scales, on a shape that all parts share."""
    rng = np.random.default_rng(seed)
    texture = np.zeros((height, width), dtype=np.float32)
    for cell in (2, 4, 8, 16):
        coarse = rng.uniform(0, 255, (height // cell + 1, width // cell + 1)).astype(np.uint8)
        grown = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        texture += np.asarray(grown, dtype=np.float32) / 4
    texture[:, width // 2 :] *= 0.7
    return texture.astype(np.uint8)


def shot_again(image, seed):
    """Other exposure, crop, sensor noise, and JPEG."""
    rng = np.random.default_rng([seed, 1])
    height, width = image.shape[:2]
    top, bottom, left, right = (rng.integers(0, int(0.07 * side)) for side in (height, height, width, width))
    cut = image[top : height - bottom, left : width - right] / 255
    light = np.linspace(rng.uniform(0.5, 1), rng.uniform(0.5, 1), cut.shape[1])
    cut = cut ** rng.uniform(0.7, 1.5) * (light if cut.ndim == 2 else light[:, None])
    noisy = (255 * cut + rng.normal(0, 4, cut.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=70)
    return np.array(Image.open(file))


def test_shots_of_one_part_are_grouped_and_parts_are_told_apart():
    parts = [surface(seed) for seed in range(TILES)]
    again = [shot_again(parts[i], i) for i in range(4)]
    labels = group_near_duplicates([*parts, *again])
    assert labels.tolist() == [*range(TILES), 0, 1, 2, 3]


def test_labels_count_up_from_the_first_image_whatever_the_order():
    parts = [surface(seed) for seed in range(6)]
    images = [parts[3], parts[1], shot_again(parts[3], 7), parts[0], shot_again(parts[1], 8), parts[2]]
    assert group_near_duplicates(images).tolist() == [0, 1, 0, 2, 1, 3]


def test_colour_and_grey_shots_compare():
    parts = [surface(seed) for seed in range(5)]
    colour = np.repeat(shot_again(parts[2], 1)[..., None], 3, axis=2)
    assert group_near_duplicates([*parts, colour]).tolist() == [0, 1, 2, 3, 4, 2]


def test_few_images_take_their_baseline_from_others():
    parts = [surface(seed) for seed in range(8)]
    pair = [parts[0], shot_again(parts[0], 3)]
    assert group_near_duplicates(pair, others=parts[1:]).tolist() == [0, 0]
    assert group_near_duplicates(parts[:2], others=parts[2:]).tolist() == [0, 1]


def test_small_and_flat_images_are_no_trouble():
    flat = np.full((20, 20), 90, dtype=np.uint8)
    assert group_near_duplicates([]).tolist() == []
    assert group_near_duplicates([flat]).tolist() == [0]
    assert group_near_duplicates([surface(0), surface(1)]).tolist() == [0, 1]
    assert group_near_duplicates([surface(0), surface(0)]).tolist() == [0, 0]
    assert len(group_near_duplicates([flat, surface(0), surface(1), surface(2)])) == 4


def test_the_correlation_of_shifted_parts_is_nearly_one():
    whole = surface(0, 140, 160)
    parts = structures([whole[:100, :120], whole[20:120, 25:145], surface(1, 100, 120)])
    same, other = best_correlations(parts, np.array([[0, 1], [0, 2]]))
    assert same > 0.9 > 0.5 > other


def bottles(real_data, count):
    files = list_images(real_data / "mvtec" / "bottle" / "test" / "broken_large")[:count]
    return [np.array(Image.fromarray(read_image(file)).resize((300, 300))) for file in files]


def test_bottles_that_look_alike_are_not_one_bottle(real_data):
    images = bottles(real_data, 14)
    again = [shot_again(images[i], i) for i in range(3)]
    assert group_near_duplicates([*images, *again]).tolist() == [*range(14), 0, 1, 2]


@pytest.mark.parametrize("defect, numbers", [("crack", ("3191", "3211", "3223", "3234", "3247", "3279"))])
def test_the_six_shots_of_a_tile_are_found(real_data, defect, numbers):
    """These six were looked at side by side: one tile, six exposures, six crops."""
    files = list_images(real_data / "magnetic_tile" / "tile" / "test" / defect)
    files = [
        file
        for file in files
        if file.stem[:4] in ("exp1", "exp3", "exp6") or file.stem.split("_")[-1] in numbers
    ]
    labels = group_near_duplicates([read_image(file) for file in files])
    tile = {label for file, label in zip(files, labels, strict=True) if file.stem.split("_")[-1] in numbers}
    assert len(tile) == 1
    assert np.count_nonzero(labels == tile.pop()) == len(numbers)
    assert 9 <= len(set(labels)) <= 13
