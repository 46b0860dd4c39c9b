"""A U-Net that sees what lies around the hole."""

from __future__ import annotations

import pytest
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.build import build_backbone, save_backbone, widen_to_inpainting
from augment.backbones.load import load_backbone
from augment.errors import BackboneError
from augment.recipe import BackboneConfig, PretrainConfig

CONFIG = PretrainConfig(latent_channels=4, block_channels=(16, 32), text_width=32)


def make(**changes):
    config = PretrainConfig(**{**CONFIG.__dict__, **changes})
    return build_backbone(config, ["a photo of a washer"], resolution=64, device=torch.device("cpu"))


@pytest.fixture
def call():
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(2, 4, 8, 8, generator=generator)
    m = torch.zeros(2, 1, 8, 8)
    m[:, :, 2:5, 3:6] = 1
    return z_0, m, torch.tensor([3, 700]), torch.randn(2, 64, 32, generator=generator)


@torch.no_grad()
def test_a_widened_unet_predicts_what_it_did_until_it_is_trained(call):
    z_0, m, t, condition = call
    backbone = make(inpainting=False)
    assert not backbone.is_inpainting and backbone.surroundings(z_0, m, of_defect=True) is None
    before = backbone.predict(z_0, t, condition, AttentionRegion(m))
    backbone.unet = widen_to_inpainting(backbone.unet)
    assert backbone.is_inpainting and backbone.latent_channels == 4
    assert torch.allclose(before, backbone.predict(z_0, t, condition, AttentionRegion(m)), atol=1e-5)


@torch.no_grad()
def test_surroundings_change_the_prediction_and_hide_what_the_hole_holds(call):
    z_0, m, t, condition = call
    backbone = make()
    backbone.autoencoder.fit_components(torch.rand(4, 3, 64, 64) * 2 - 1)
    z = torch.randn(2, 4, 8, 8)

    def predict(clean):
        known = None if clean is None else backbone.surroundings(clean, m, of_defect=False)
        return backbone.predict(z, t, condition, AttentionRegion(m), known)

    assert torch.equal(predict(z_0), predict(z_0 + 9 * m))
    assert not torch.equal(predict(z_0), predict(z_0 + 1 - m))
    assert not torch.equal(predict(z_0), predict(None))


def test_weights_are_taken_from_a_run_and_others_refused(tmp_path, call):
    backbone, other = make(), make(block_channels=(16, 48))
    backbone.save_unet(tmp_path)
    again = make()
    with torch.no_grad():
        again.unet.conv_in.weight.zero_()
    again.load_unet(tmp_path)
    assert torch.allclose(again.unet.conv_in.weight, backbone.unet.conv_in.weight, atol=1e-3)
    with pytest.raises(BackboneError, match="--force"):
        other.load_unet(tmp_path)
    with pytest.raises(BackboneError, match="--force"):
        other.load_unet(tmp_path / "missing")


def test_a_saved_backbone_does_not_say_where_it_was_loaded_from(tmp_path, small_backbone):
    backbone = load_backbone(BackboneConfig(model=str(small_backbone), resolution=64), "cpu", "float32")
    save_backbone(backbone, tmp_path)
    for path in tmp_path.rglob("config.json"):
        assert str(small_backbone) not in path.read_text()
    load_backbone(BackboneConfig(model=str(tmp_path), resolution=64), "cpu", "float32")
