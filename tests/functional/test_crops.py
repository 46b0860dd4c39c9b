from __future__ import annotations

import torch

from augment.functional.masks import random_crops


def test_a_crop_shows_some_of_the_mask_and_keeps_latents_and_mask_together():
    m = torch.zeros(40, 1, 32, 32)
    m[::2, :, 3, 30] = 1
    m[1::2, :, 20:28, 5:9] = 1
    z = torch.arange(32.0 * 32).view(1, 1, 32, 32) + 5000 * m
    crops, holes = random_crops(z, m, 16, torch.Generator().manual_seed(0))
    assert crops.shape == holes.shape == (40, 1, 16, 16)
    assert (holes.sum(dim=(1, 2, 3)) > 0).all()
    assert torch.equal(crops >= 5000, holes > 0)
    assert len({float(crop.remainder(5000).min()) for crop in crops}) > 5  # at many places


def test_an_empty_mask_is_cropped_in_the_middle_and_a_small_grid_not_at_all():
    z, m = torch.randn(2, 4, 16, 16), torch.zeros(2, 1, 16, 16)
    assert random_crops(z, m, 8, torch.Generator().manual_seed(0))[0].shape == (2, 4, 8, 8)
    assert random_crops(z, m, 16, torch.Generator().manual_seed(0))[0] is z
