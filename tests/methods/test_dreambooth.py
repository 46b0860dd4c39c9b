"""The naive baseline on a small random backbone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import load_backbone
from augment.functional.ddim import ddim_step
from augment.functional.masks import latent_mask
from augment.functional.noising import add_noise, prediction_target, stratified_timesteps
from augment.jobs.painting import PaintJob, paint
from augment.methods.base import TrainingBatch
from augment.methods.dreambooth import DreamBooth
from augment.recipe import BackboneConfig, FitConfig, Recipe, SynthesizeConfig
from augment.registry import METHODS

FIT = FitConfig()
SYNTHESIZE = SynthesizeConfig(num_inference_steps=4, refinement="none", temperature=1.0)


@pytest.fixture(scope="module")
def backbone(small_backbone):
    return load_backbone(BackboneConfig(model=str(small_backbone), resolution=64), "cpu", "float32")


def make(backbone, fit=FIT, **changes):
    return DreamBooth(backbone, "washer", "scratch", fit, replace(SYNTHESIZE, **changes))


@pytest.fixture
def scene():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, 0, 20:40, 10:30] = masks[1, 0, 30:60, 30:60] = 1
    return images, masks


def generators(count=2, seed=7):
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def batch(n_defect=2, size=3, side=1 << 30, cells=8):
    z_0 = torch.randn(size, 4, cells, cells, generator=torch.Generator().manual_seed(1))
    m = torch.zeros(size, 1, cells, cells)
    m[:, :, 2:5, 2:5] = 1
    return TrainingBatch(z_0, m, n_defect, side=side)


def test_the_registry_knows_it_and_it_is_trained():
    assert METHODS.get("dreambooth") is DreamBooth
    assert DreamBooth.trainable is True


def test_the_loss_is_eq_2_on_the_whole_defect_windows(backbone):
    method, data = make(backbone), batch()
    loss = method.loss(data, torch.Generator().manual_seed(2))
    g, z_0 = torch.Generator().manual_seed(2), data.z_0[:2]
    eps, t = torch.randn(z_0.shape, generator=g), stratified_timesteps(1000, 2, g)
    a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
    defect = backbone.encode_prompts(["a photo of a washer with sks scratch"])[0].embedding
    condition = torch.cat([defect, defect]).expand(2, -1, -1)
    with torch.no_grad():
        region = AttentionRegion(torch.ones(2, 1, 8, 8))
        prediction = backbone.predict(add_noise(z_0, eps, a_t), t, condition, region)
    expected = (prediction_target(z_0, eps, a_t, backbone.prediction_type) - prediction).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_masks_and_normal_windows_do_not_count(backbone):
    data = batch()
    moved = replace(data, m=data.m.roll(3, -1), z_0=torch.cat([data.z_0[:2], data.z_0[2:] + 1]))
    a, b = (make(backbone).loss(d, torch.Generator().manual_seed(2)) for d in (data, moved))
    assert torch.equal(a, b)


def test_prior_preservation_adds_the_normal_windows_under_the_background_prompt(backbone):
    seen = []
    spy = replace(backbone)
    spy.predict = lambda z, t, condition, *rest: (
        seen.append(condition) or backbone.predict(z, t, condition, *rest)
    )
    method = make(spy, replace(FIT, prior_preservation=True))
    method.loss(batch(), torch.Generator().manual_seed(2))
    (condition,) = seen
    assert [torch.equal(row, method.C_bg) for row in condition] == [False, False, True]
    assert [torch.equal(row, method.C) for row in condition] == [True, True, False]


def test_a_step_of_crops_sees_squares_and_moves_the_weights(backbone):
    shapes = []
    spy = replace(backbone)
    spy.predict = lambda z, *rest: shapes.append(tuple(z.shape)) or backbone.predict(z, *rest)
    loss = make(spy).loss(batch(side=8, cells=16), torch.Generator().manual_seed(2))
    assert shapes == [(2, 4, 8, 8)]
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.unet.parameters())
    backbone.unet.zero_grad()


def test_painting_is_ddim_with_the_noised_source_around_it(backbone, scene):
    """Against the loop written out, with the noises drawn in the same order."""
    images, masks = scene
    method = make(backbone, temperature=0.7)
    z_0 = backbone.encode_images(images)
    m, schedule, sources = latent_mask(masks, z_0.shape[-2:]), backbone.schedule(4), generators()
    a = schedule.a.float()

    def noise():
        return torch.stack([torch.randn(4, 8, 8, generator=g) for g in sources])

    with torch.no_grad():
        z = (1 - m) * add_noise(z_0, noise(), a[4]) + m * 0.7 * noise()
        for level in range(4, 0, -1):
            region = AttentionRegion(torch.ones(2, 1, 8, 8))
            condition = method.C.expand(2, -1, -1)
            eps = backbone.predict_noise(z, schedule.timesteps[level], a[level], condition, region)
            z = ddim_step(z, eps, a[level], a[level - 1])
            z = (1 - m) * (add_noise(z_0, noise(), a[level - 1]) if level > 1 else z_0) + m * z
        expected = backbone.decode_latents(z)
    generated = method.generate(images, masks, generators())
    assert torch.allclose(generated.images, expected, atol=1e-5)
    assert torch.equal(generated.refined, masks) and (generated.background_error == 0).all()


def test_images_depend_on_their_own_generator_alone_and_on_no_example(backbone, scene):
    images, masks = scene
    method = make(backbone, strength=(0.5, 0.5))
    whole = method.generate(images, masks, generators()).images
    alone = method.generate(images[1:], masks[1:], generators()[1:], images[:1], 1 - images[1:]).images
    assert torch.allclose(whole[1:], alone, atol=1e-4)
    assert not torch.equal(whole, method.generate(images, masks, generators(seed=9)).images)


def test_guidance_changes_the_hole(backbone, scene):
    plain, guided = (make(backbone, guidance_scale=s).generate(*scene, generators()) for s in (1.0, 4.0))
    inside = scene[1].expand_as(scene[0]) > 0
    assert (plain.images - guided.images)[inside].abs().mean() > 1e-4


@pytest.mark.parametrize("refinement", ["attention", "contrast", "difference", "none"])
def test_refined_masks_lie_in_the_target_and_are_never_empty(backbone, scene, refinement):
    generated = make(backbone, refinement=refinement).generate(*scene, generators())
    masks = scene[1]
    assert torch.equal(generated.refined * masks, generated.refined)
    assert (generated.refined.sum(dim=(1, 2, 3)) > 0).all()
    if refinement != "difference":
        assert torch.equal(generated.refined, masks)


def test_it_paints_whole_images_through_the_jobs_own_path(backbone):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 120, 3), dtype=np.uint8)
    mask = np.zeros((80, 120), dtype=bool)
    mask[30:45, 50:80] = True
    recipe = Recipe(backbone=BackboneConfig(resolution=64))
    painted = paint(make(backbone), [PaintJob(image, mask, generators(1)[0])], recipe)[0]
    assert np.array_equal(painted.image[~painted.mask], image[~painted.mask])
    assert not np.array_equal(painted.image[mask], image[mask])
