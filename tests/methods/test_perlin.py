from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from augment.jobs.painting import PaintJob, paint
from augment.methods import perlin
from augment.methods.base import TrainingBatch
from augment.methods.perlin import Perlin
from augment.recipe import FitConfig, Recipe, SynthesizeConfig
from augment.registry import METHODS


def make(refinement="none", unet=None, **changes):
    config = SynthesizeConfig(refinement=refinement, **changes)
    return Perlin(SimpleNamespace(unet=unet), "washer", "scratch", FitConfig(), config)


def generators(count=2, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


@pytest.fixture
def scene():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, 10:50, 5:55] = 1
    masks[1] = 1
    return images, masks


def test_the_registry_knows_it_and_it_needs_no_training():
    assert METHODS.get("perlin") is Perlin
    assert Perlin.trainable is False


def test_only_the_shape_in_the_mask_changes(scene):
    images, masks = scene
    generated = make().generate(images, masks, generators())
    shape = generated.refined
    assert torch.equal(shape * masks, shape)
    outside = (shape == 0).expand_as(images)
    assert torch.equal(generated.images[outside], images[outside])
    assert (generated.images != images)[~outside].float().mean() > 0.9
    assert generated.images.min() >= 0 and generated.images.max() <= 1
    assert not generated.fell_back.any() and (generated.background_error == 0).all()


def test_shapes_are_a_part_of_the_mask_and_of_many_kinds():
    masks = torch.ones(24, 1, 64, 64)
    refined = make().generate(torch.rand(24, 3, 64, 64), masks, generators(24)).refined
    shares = refined.mean(dim=(1, 2, 3))
    assert (shares > 0.02).all() and (shares < 0.5).all() and 0.03 < shares.median() < 0.1
    assert len({tuple(shape.flatten().tolist()) for shape in refined}) == 24


def test_a_mask_the_noise_never_meets_is_painted_whole(scene, monkeypatch):
    images, masks = scene
    drawn = []
    monkeypatch.setattr(
        perlin, "perlin_noise", lambda rng, size, *cells: drawn.append(cells) or np.zeros((size, size), "f4")
    )
    generated = make().generate(images, masks, generators())
    assert len(drawn) == 2 * 20 and generated.fell_back.all()
    assert torch.equal(generated.refined, masks)
    assert (generated.images != images)[masks.expand_as(images) > 0].float().mean() > 0.9


def test_a_small_mask_is_met_by_drawing_again(scene):
    images, masks = scene[0], torch.zeros(2, 1, 64, 64)
    masks[:, :, 30:34, 30:34] = 1
    generated = make().generate(images, masks, generators())
    assert (generated.refined.sum(dim=(1, 2, 3)) >= 4).all()


def test_textures_are_of_both_kinds_and_blended_at_several_strengths():
    """On grey, a window's own texture stays plain, whatever the augmentation; a surface does not."""
    grey = torch.full((1, 3, 64, 64), 0.5)
    roughness, change = [], []
    for seed in range(40):
        painted = make().generate(grey, torch.ones(1, 1, 64, 64), generators(1, seed))
        inside = painted.refined[0, 0] > 0
        roughness.append(float(painted.images[0, 0][inside].std()))
        change.append(float((painted.images - grey).abs().amax()))
    plain = np.array(roughness) < 1e-3
    assert 8 < plain.sum() < 32
    assert min(change) < 0.15 and max(change) > 0.4


def test_an_image_depends_on_its_own_generator_alone(scene):
    images, masks = scene
    together = make().generate(images, masks, generators()).images
    alone = make().generate(images[1:], masks[1:], generators()[1:]).images
    other = make().generate(images, masks, generators(seed=9)).images
    assert torch.equal(together[1:], alone)
    assert not torch.equal(together, other)


@pytest.mark.parametrize("augment", range(len(perlin._AUGMENT)))
def test_every_augmentation_changes_a_texture_and_keeps_its_shape(augment):
    texture = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    changed = perlin._AUGMENT[augment](texture, np.random.default_rng(0))
    assert changed.shape == texture.shape and changed.dtype == texture.dtype
    assert torch.isfinite(changed).all() and not torch.allclose(changed, texture, atol=1e-3)


def test_refinement_keeps_what_is_visible_of_the_shape(scene):
    images, masks = scene
    shape = make().generate(images, masks, generators()).refined
    visible = make("difference").generate(images, masks, generators()).refined
    assert torch.equal(visible * shape, visible) and visible.any()
    unseen = make("difference", refinement_threshold=1.1).generate(images, masks, generators())
    assert unseen.fell_back.all() and torch.equal(unseen.refined, shape)


def test_its_loss_moves_no_weight():
    unet = torch.nn.Linear(2, 2)
    batch = TrainingBatch(torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8), 1)
    loss = make(unet=unet).loss(batch, torch.Generator())
    loss.backward()
    assert float(loss.detach()) == 0
    assert all((parameter.grad == 0).all() for parameter in unet.parameters())


def test_it_paints_whole_images_through_the_jobs_own_path():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 200), dtype=np.uint8)
    mask = np.zeros((80, 200), dtype=bool)
    mask[30:45, 100:140] = True
    painted = paint(make(), [PaintJob(image, mask, generators(1)[0])], Recipe())[0]
    assert painted.image.shape == image.shape
    assert np.array_equal(painted.image[~painted.mask], image[~painted.mask])
    assert not np.array_equal(painted.image[mask], image[mask])
