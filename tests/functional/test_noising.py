from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from augment.functional.noising import (
    add_noise,
    mask_latents,
    predicted_noise,
    prediction_target,
    stratified_timesteps,
)


@pytest.fixture
def latents():
    generator = torch.Generator().manual_seed(0)
    z_0, eps = torch.randn(2, 2, 4, 8, 8, generator=generator)
    m = (torch.rand(2, 1, 8, 8, generator=generator) > 0.7).float()
    return z_0, eps, m


def test_forward_noising_equals_diffusers(latents):
    z_0, eps, _ = latents
    scheduler = DDIMScheduler(beta_schedule="scaled_linear")
    t = torch.tensor([10, 700])
    a_t = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    assert torch.equal(add_noise(z_0, eps, a_t), scheduler.add_noise(z_0, eps, t))


def test_masking_the_noised_is_noising_the_masked(latents):
    """The last equality of Eq. (7), which holds for a binary mask only."""
    z_0, eps, m = latents
    a_t = torch.tensor(0.3)
    expected = a_t.sqrt() * ((1 - m) * z_0) + (1 - a_t).sqrt() * ((1 - m) * eps)
    assert torch.allclose(mask_latents(add_noise(z_0, eps, a_t), m), expected, atol=1e-6)


def test_masked_latents_hold_nothing_of_the_hole(latents):
    z_0, _, m = latents
    assert torch.equal(mask_latents(z_0, m), mask_latents(z_0 + 1000 * m, m))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_gives_back_the_noise(latents, prediction_type):
    z_0, eps, _ = latents
    a_t = torch.tensor([0.9, 0.05]).view(-1, 1, 1, 1)
    output = prediction_target(z_0, eps, a_t, prediction_type)
    noise = predicted_noise(output, add_noise(z_0, eps, a_t), a_t, prediction_type)
    assert torch.allclose(noise, eps, atol=1e-5)


def test_velocity_equals_diffusers(latents):
    z_0, eps, _ = latents
    scheduler = DDIMScheduler(beta_schedule="scaled_linear")
    t = torch.tensor([10, 700])
    a_t = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    expected = scheduler.get_velocity(z_0, eps, t)
    assert torch.allclose(prediction_target(z_0, eps, a_t, "v_prediction"), expected)


def test_stratified_timesteps_cover_the_range_evenly():
    t = stratified_timesteps(1000, 10, torch.Generator().manual_seed(0))
    assert sorted((t // 100).tolist()) == list(range(10))
    assert t.tolist() != sorted(t.tolist())
    many = torch.cat([stratified_timesteps(1000, 3, torch.Generator().manual_seed(i)) for i in range(400)])
    assert many.min() >= 0 and many.max() <= 999 and abs(many.double().mean() - 499.5) < 10
