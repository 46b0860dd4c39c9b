from __future__ import annotations

import torch

from augment.functional.masks import (
    contrast_evidence,
    difference_evidence,
    latent_mask,
    or_target,
    refine_mask,
)


def test_a_single_pixel_survives_on_the_latent_grid():
    mask = torch.zeros(1, 1, 64, 64)
    mask[0, 0, 13, 50] = 1
    m = latent_mask(mask, (8, 8))
    assert m.sum() == 1 and m[0, 0, 1, 6] == 1
    assert latent_mask(mask, (8, 8), dilation=1).sum() == 9
    assert set(m.unique().tolist()) <= {0.0, 1.0}


def test_refinement_stays_inside_the_target_and_keeps_what_is_explained():
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:24, 8:24] = 1
    evidence = torch.zeros(1, 1, 8, 8)
    evidence[..., :4] = 1
    refined = refine_mask(target, evidence)
    assert torch.equal(refined, refined * target)
    assert refined[..., 8:24, 8:14].all() and not refined[..., 18:].any()
    assert torch.equal(refine_mask(target, torch.ones(1, 1, 4, 4)), target)


def test_contrast_finds_the_loud_half():
    generator = torch.Generator().manual_seed(4)
    m = torch.ones(1, 1, 16, 16)
    background = torch.randn(1, 4, 16, 16, generator=generator)
    defect = background + 0.01 * torch.randn(1, 4, 16, 16, generator=generator)
    defect[..., 8:] += 1
    evidence = contrast_evidence(defect, background, m)
    assert (evidence[..., 8:] > 0.5).all() and (evidence[..., :8] < 0.5).all()
    assert (contrast_evidence(background, background, m) == 1).all()


def test_difference_finds_what_is_visible():
    source = torch.full((1, 3, 32, 32), 0.5)
    generated = source.clone()
    generated[..., 10:20, 10:20] += 0.2
    generated[..., 24:, 24:] += 0.01
    evidence = difference_evidence(generated, source)
    assert (evidence[..., 11:19, 11:19] > 0.5).all()
    assert (evidence[..., 24:, 24:] < 0.5).all()
    assert (difference_evidence(source, source) == 0).all()


def test_a_mask_refined_to_nearly_nothing_is_the_target_again():
    target = torch.zeros(2, 1, 20, 20)
    target[..., :10, :10] = 1
    refined = torch.zeros_like(target)
    refined[0, 0, :3, :3] = refined[1, 0, :3, :4] = 1  # 9 and 12 of 100 pixels
    kept, fell_back = or_target(refined, target, 0.1)
    assert fell_back.tolist() == [True, False]
    assert torch.equal(kept[0], target[0]) and torch.equal(kept[1], refined[1])
