from __future__ import annotations

import pytest
import torch

from augment.backbones.codec import PatchCodec


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(16, 3, 8, 8, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(small, size=(64, 64), mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def codec(images):
    codec = PatchCodec(patch=8, latent_channels=16, hidden=8)
    codec.fit_components(images)
    return codec.requires_grad_(False)


def test_all_components_reconstruct_exactly(images):
    codec = PatchCodec(patch=4, latent_channels=48, hidden=0)
    codec.fit_components(
        images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    )
    assert torch.allclose(codec.decode(codec.encode(images)), images, atol=1e-3)


def test_few_components_reconstruct_smooth_images(codec, images):
    error = (codec.decode(codec.encode(images)) - images).square().mean()
    assert error < 0.01 * images.var()


def test_latents_have_unit_mean_variance_and_fall_with_the_component(codec, images):
    variances = codec.encode(images).var(dim=(0, 2, 3))
    assert float(variances.mean()) == pytest.approx(1, rel=0.05)
    assert variances[0] > variances[5] > variances[15]


def test_the_encoder_is_strictly_local(codec, images):
    changed = images.clone()
    changed[:, :, 16:24, 40:48] = 1
    difference = (codec.encode(changed) - codec.encode(images)).abs().amax(dim=(0, 1))
    assert difference[2, 5] > 0
    difference[2, 5] = 0
    assert (difference == 0).all()


def test_an_untrained_decoder_is_the_linear_one(codec, images):
    z = codec.encode(images)
    assert torch.equal(codec.decode(z), codec.decode_linear(z))


def test_it_is_saved_and_loaded_by_diffusers(codec, images, tmp_path):
    codec.save_pretrained(tmp_path)
    assert torch.equal(PatchCodec.from_pretrained(tmp_path).encode(images), codec.encode(images))
