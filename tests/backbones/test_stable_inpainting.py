"""Stable Diffusion's inpainting U-Nets, which see the hole and the image around it."""

from __future__ import annotations

import pytest
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import load_backbone
from augment.functional.masked_image import MaskedImage, grey_holes
from augment.functional.masks import latent_mask
from augment.functional.noising import add_noise
from augment.methods.base import TrainingBatch
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import BackboneConfig, FitConfig, SynthesizeConfig
from augment.training import Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_stable_diffusion):
    return write_stable_diffusion(tmp_path_factory.mktemp("inpainting"), in_channels=9)


@pytest.fixture
def backbone(folder):
    return load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", "float32")


@pytest.fixture
def scene(backbone):
    generator = torch.Generator().manual_seed(0)
    images, masks = torch.rand(3, 3, 64, 64, generator=generator), torch.zeros(3, 1, 64, 64)
    masks[:, :, 11:41, 20:30] = 1
    return images, masks, latent_mask(masks, (32, 32))


def method_of(backbone, **changes):
    synthesize = SynthesizeConfig(**{"num_inference_steps": 3, "refinement": "attention", **changes})
    return DisentangledInversion(backbone, "bottle", "crack", FitConfig(crop_share=0.0), synthesize)


def test_the_channels_are_the_latents_the_hole_and_the_image_with_its_hole_grey(backbone, scene):
    images, _, m = scene
    z_0, inputs = backbone.encode_images(images), []
    backbone.unet.conv_in.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    known = backbone.surroundings(z_0, m, of_defect=True, images=images)
    z, t, condition = torch.randn(3, 4, 32, 32), torch.tensor([5, 300, 900]), torch.randn(3, 154, 32)
    backbone.predict(z, t, condition, AttentionRegion(m), known)
    latents, hole, around = inputs[0].split([4, 1, 4], dim=1)
    assert torch.equal(latents, z) and torch.equal(hole, m)
    grey = images.clone()
    grey[:, :, 10:42, 20:30] = 0.5  # the mask's rows, grown to whole cells of two pixels
    assert torch.allclose(around, backbone.encode_images(grey), atol=1e-5)


def test_nothing_of_the_hole_gets_through(backbone, scene):
    images, masks, m = scene
    other = torch.where(masks > 0, 1 - images, images)
    assert torch.equal(grey_holes(images, m), grey_holes(other, m))
    assert torch.equal(backbone.masked_images(images, m), backbone.masked_images(other, m))


@torch.no_grad()
def test_the_background_passes_are_told_nothing(backbone, scene):
    """Eq. (8) must not read the noise off an image it is told: its passes see a hole everywhere."""
    images, masks, m = scene
    z_0, inputs = backbone.encode_images(images), []
    backbone.unet.conv_in.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    generated = method_of(backbone).generate(images, masks, generators)
    assert (generated.background_error == 0).all()
    holes, seen = [x[:, 4:5] for x in inputs], {torch.equal(x[:, 4:5], m) for x in inputs}
    assert seen == {True, False}
    assert all(torch.equal(hole, m) or (hole == 1).all() for hole in holes)
    grey = backbone.encode_images(torch.full((1, 3, 64, 64), 0.5))
    background = [x[:, 5:] for x in inputs if (x[:, 4:5] == 1).all()]
    assert all(torch.allclose(around, grey.expand_as(z_0), atol=1e-5) for around in background)


def test_the_loss_is_two_forwards_with_and_without_the_image(backbone, scene):
    images, _, m = scene
    method = method_of(backbone)
    z_0 = backbone.encode_images(images)
    batch = TrainingBatch(z_0, m, 2, backbone.masked_images(images, m))
    told = []
    plain = backbone.predict
    backbone.predict = lambda *args: told.append(args[-1]) or plain(*args)
    Trainer(backbone.unet, learning_rate=1e-4).step(
        lambda step: method.loss(batch, torch.Generator().manual_seed(step))
    )
    (known,) = told
    assert isinstance(known, MaskedImage) and len(known.m) == 3  # two defects, one row of Eq. (7)
    assert torch.equal(known.m[:2], m[:2]) and (known.m[2] == 1).all()
    assert torch.equal(known.z[:2], batch.reference[:2])


@torch.no_grad()
def test_it_starts_from_examples_as_any_stable_diffusion(backbone, scene):
    images, masks, _ = scene
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    method = method_of(backbone, strength=(0.7, 0.7), refinement="contrast")
    generated = method.generate(images, masks, generators, None, images.flip(0))
    assert (generated.background_error == 0).all() and generated.origin is not None


def test_noise_level_by_level_it_predicts_what_its_scheduler_says(backbone, scene):
    images, _, m = scene
    z_0, a_t = backbone.encode_images(images), backbone.alphas_cumprod[500]
    z_t = add_noise(z_0, torch.randn(z_0.shape), a_t)
    known, region = backbone.surroundings(z_0, m, of_defect=True, images=images), AttentionRegion(m)
    with torch.no_grad():
        t, condition = torch.full((3,), 500), torch.randn(3, 154, 32)
        output = backbone.predict(z_t, t, condition, region, known)
        assert torch.equal(backbone.predict_noise(z_t, 500, a_t, condition, region, known), output)
