from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from augment.jobs.painting import PaintJob, paint
from augment.methods.base import TrainingBatch
from augment.methods.cutpaste import CutPaste
from augment.recipe import FitConfig, Recipe, SynthesizeConfig
from augment.registry import METHODS


def make(refinement="none", unet=None):
    backbone = SimpleNamespace(unet=unet)
    return CutPaste(backbone, "washer", "scratch", FitConfig(), SynthesizeConfig(refinement=refinement))


def generators(count=2, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


@pytest.fixture
def scene():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, 20:40, 10:30] = 1
    masks[1] = 1  # nothing but the mask: the piece comes from the mirrored window
    return images, masks


def test_the_registry_knows_it_and_it_needs_no_training():
    assert METHODS.get("cutpaste") is CutPaste
    assert CutPaste.trainable is False


def test_only_the_mask_changes_and_it_changes(scene):
    images, masks = scene
    generated = make().generate(images, masks, generators())
    outside = (masks == 0).expand_as(images)
    assert torch.equal(generated.images[outside], images[outside])
    assert (generated.images != images)[~outside].float().mean() > 0.95
    assert generated.images.min() >= 0 and generated.images.max() <= 1
    assert torch.equal(generated.refined, masks)
    assert not generated.fell_back.any() and (generated.background_error == 0).all()


def test_the_piece_has_the_colours_of_the_image():
    """Grey stays grey, and levels stay within what brightness and contrast of +- 10 % can do."""
    grey = torch.full((1, 3, 32, 32), 0.5)
    grey[..., 16:, :] = 0.6
    painted = make().generate(grey, torch.ones(1, 1, 32, 32), generators(1)).images
    assert torch.allclose(painted[:, 0], painted[:, 1], atol=1e-5)
    assert painted.min() > 0.5 * 0.9 - 0.05 and painted.max() < 0.6 * 1.1 + 0.05


def test_an_image_depends_on_its_own_generator_alone(scene):
    images, masks = scene
    together = make().generate(images, masks, generators()).images
    alone = make().generate(images[1:], masks[1:], generators()[1:]).images
    other = make().generate(images, masks, generators(seed=9)).images
    assert torch.equal(together[1:], alone)
    assert not torch.equal(together, other)


def test_refinement_keeps_what_is_visible_and_falls_back_where_nothing_is(scene):
    images, masks = scene
    visible = make("difference").generate(images, masks, generators())
    assert torch.equal(visible.refined * masks, visible.refined) and visible.refined.any()
    flat = make("difference").generate(torch.zeros_like(images), masks, generators())  # black on black
    assert flat.fell_back.all() and torch.equal(flat.refined, masks)


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
