from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from augment.data.references import References
from augment.data.sample import Sample

RNG = np.random.default_rng(0)


def stripes(angle, light=0, size=80):
    y, x = np.mgrid[:size, :size]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 4)
    return np.clip(120 + 60 * wave + light, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.fixture
def samples(tmp_path):
    found = []
    for number, angle in enumerate((0.0, 0.7, 1.5)):
        Image.fromarray(stripes(angle)).save(tmp_path / f"{number}.png")
        found.append(Sample(tmp_path / f"{number}.png", None, "good"))
    return found


def test_the_most_alike_surroundings_win_whatever_the_hole_shows_and_however_bright_it_is(samples):
    mask = np.zeros((80, 80), dtype=bool)
    mask[30:50, 30:50] = True
    image = stripes(0.7, light=25)
    image[mask] = stripes(0.0)[mask]
    found = References(samples).match(image, mask, RNG, among=1)
    assert np.array_equal(found, stripes(0.7))


def test_it_comes_in_the_images_size_and_an_image_can_be_skipped(samples):
    references = References(samples)
    mask = np.zeros((50, 60), dtype=bool)
    mask[10:20, 10:20] = True
    image = np.array(Image.fromarray(stripes(0.7)).resize((60, 50)))
    assert references.match(image, mask, RNG, among=1).shape == (50, 60, 3)
    whole = np.ones((80, 80), dtype=bool)  # nothing to compare
    other = references.match(stripes(0.7), whole, RNG, skip=samples[1].image, among=3)
    assert not np.array_equal(other, stripes(0.7))


def test_without_good_images_there_is_none(samples):
    mask = np.ones((80, 80), dtype=bool)
    assert References([]).match(stripes(0), mask, RNG) is None
    assert References(samples[:1]).match(stripes(0), mask, RNG, skip=samples[0].image) is None


def test_a_part_that_lies_elsewhere_is_moved_onto_the_image(tmp_path):
    scene = np.kron(RNG.integers(40, 200, (40, 40), dtype=np.uint8), np.ones((5, 5), dtype=np.uint8))
    scene = scene[..., None].repeat(3, axis=2)  # (200, 200, 3), larger than the images cut from it
    Image.fromarray(scene[23:143, 16:136]).save(tmp_path / "moved.png")
    image, mask = scene[20:140, 20:140] // 2 + 30, np.zeros((120, 120), dtype=bool)
    mask[50:70, 50:70] = True
    (sample,) = [Sample(tmp_path / "moved.png", None, "good")]
    found = References([sample]).match(image, mask, RNG)
    inner = slice(8, -8)  # at the border the other image ends
    assert np.array_equal(found[inner, inner], scene[20:140, 20:140][inner, inner])


@pytest.mark.parametrize("shape", [(120, 160), (1100, 1500)])
def test_a_part_of_what_is_found_is_that_part_of_the_whole(tmp_path, shape):
    """Also of an image that is larger than the pictures that are kept, of which only the part is enlarged."""
    rng = np.random.default_rng(4)
    small = np.asarray(Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)))
    scene = np.array(Image.fromarray(small).resize((shape[1] + 20, shape[0] + 20), Image.Resampling.BICUBIC))
    Image.fromarray(scene[5 : 5 + shape[0], 3 : 3 + shape[1]]).save(tmp_path / "moved.png")
    image, mask = scene[: shape[0], : shape[1]], np.zeros(shape, dtype=bool)
    mask[60:75, 70:80] = True
    found = References([Sample(tmp_path / "moved.png", None, "good")]).find(image, mask, RNG)
    whole, part = found.part(0, 0, *shape), found.part(40, 50, 60, 50)
    assert np.abs(whole[40:100, 50:100].astype(int) - part).max() <= 1
    assert np.abs(part.astype(int) - image[40:100, 50:100]).mean() < 3  # it was moved onto the image
