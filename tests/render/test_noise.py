from __future__ import annotations

import numpy as np
import pytest

from augment.render.noise import perlin_noise


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 16), (32, 2), (7, 3)])
def test_perlin_noise_is_bounded_centred_smooth_and_reproducible(rows, columns):
    noise = perlin_noise(np.random.default_rng(0), 128, rows, columns)
    assert noise.shape == (128, 128) and noise.dtype == np.float32
    assert np.abs(noise).max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 6 * rows / 128  # also across the cells' borders
    assert np.abs(np.diff(noise, axis=1)).max() < 6 * columns / 128
    assert np.array_equal(noise, perlin_noise(np.random.default_rng(0), 128, rows, columns))
    assert not np.array_equal(noise, perlin_noise(np.random.default_rng(1), 128, rows, columns))


def test_perlin_noise_is_0_at_the_corners_of_its_cells():
    noise = perlin_noise(np.random.default_rng(0), 512, 8, 8)
    corners = noise[63::64, 63::64]  # half a pixel off
    assert np.abs(corners).max() < 0.05 < 0.2 < noise.std()
    assert abs(float(noise.mean())) < 0.05
