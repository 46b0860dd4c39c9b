"""LoRA and DoRA: what is trained, what is written, and that it is read back exactly."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import load_backbone
from augment.backbones.weights import (
    ADAPTER,
    attach_adapter,
    detach_adapter,
    has_adapter,
    load_adapter,
    weights_file,
)
from augment.errors import BackboneError, RecipeError
from augment.recipe import BackboneConfig, LoraConfig
from augment.training import Trainer

KINDS = pytest.mark.parametrize("kind", ["lora", "dora"])


def load(folder, **options):
    return load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", "float32", **options)


@torch.no_grad()
def predict(backbone, width=32):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 4, 8, 8, generator=generator)
    condition = torch.randn(2, 64, width, generator=generator)
    return backbone.predict(z, torch.tensor([30, 700]), condition, AttentionRegion(torch.zeros(2, 1, 8, 8)))


def trained(folder, kind, targets=("to_q", "to_k", "to_v", "to_out.0"), alpha=None):
    backbone = load(folder)
    attach_adapter(backbone.unet, LoraConfig(rank=3, alpha=alpha, targets=targets), kind)
    trainer = Trainer(backbone.unet, learning_rate=1e-2)
    for _ in range(3):
        trainer.step(lambda step: backbone.unet(
            torch.ones(1, backbone.unet.config.in_channels, 8, 8), torch.tensor([9]), torch.ones(1, 64, 32)
        ).sample.square().mean())  # fmt: skip
    return backbone


@KINDS
def test_a_new_one_changes_nothing_and_alone_is_trained(small_backbone, kind):
    backbone = load(small_backbone)
    before, state = predict(backbone), torch.get_rng_state()
    attach_adapter(backbone.unet, LoraConfig(rank=3), kind, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(predict(backbone), before, atol=1e-5)
    names = [name for name, p in backbone.unet.named_parameters() if p.requires_grad]
    assert names and all("lora_" in name for name in names)
    detach_adapter(backbone.unet)
    assert not has_adapter(backbone.unet) and torch.equal(predict(backbone), before)
    assert all(p.requires_grad for p in backbone.unet.parameters())


@KINDS
@pytest.mark.parametrize("targets", [("to_q", "to_out.0"), ("conv1", "ff.net.2")])
def test_it_is_saved_small_and_read_back_exactly(small_backbone, tmp_path, kind, targets):
    backbone = trained(small_backbone, kind, targets, alpha=6.0)
    backbone.save_unet(tmp_path)
    assert weights_file(tmp_path).name == ADAPTER and not (tmp_path / "unet" / "config.json").exists()
    assert weights_file(tmp_path).stat().st_size < 100_000
    data = weights_file(tmp_path).read_bytes()
    for _ in range(6):  # the library's own order of the metadata is one of chance
        backbone.save_unet(tmp_path)
        assert weights_file(tmp_path).read_bytes() == data
    again = load(small_backbone)
    load_adapter(again.unet, tmp_path)
    ours, theirs = backbone.unet.state_dict(), again.unet.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(predict(again), predict(backbone))
    assert not torch.allclose(predict(load(small_backbone)), predict(backbone), atol=1e-3)


@KINDS
def test_a_loaded_backbone_has_it_in_its_weights(small_backbone, tmp_path, kind):
    backbone = trained(small_backbone, kind)
    backbone.save_unet(tmp_path)
    merged = load(small_backbone, unet_folder=tmp_path)
    assert not has_adapter(merged.unet)
    assert merged.unet.state_dict().keys() == load(small_backbone).unet.state_dict().keys()
    assert torch.allclose(predict(merged), predict(backbone), atol=1e-4)


def test_diffusers_reads_it_too(tmp_path, write_stable_diffusion):
    from diffusers import StableDiffusionPipeline

    folder = write_stable_diffusion(tmp_path / "sd")
    backbone = trained(folder, "lora")
    backbone.save_unet(tmp_path)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.load_lora_weights(tmp_path / "unet", weight_name=ADAPTER)
    generator = torch.Generator().manual_seed(0)
    z, condition = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 64, 32, generator=generator)
    with torch.no_grad():
        found, expected = (unet(z, 9, condition).sample for unet in (pipeline.unet, backbone.unet))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_first_factors_depend_on_the_seed_alone(small_backbone):
    def factors(seed):
        backbone = load(small_backbone)
        attach_adapter(backbone.unet, LoraConfig(rank=3), "lora", seed)
        return torch.cat([p.flatten() for name, p in backbone.unet.named_parameters() if "lora_A" in name])

    assert torch.equal(factors(0), factors(0)) and not torch.equal(factors(0), factors(1))


@pytest.mark.parametrize(
    ("changes", "words"), [({"targets": ("no_such_layer",)}, "conv1"), ({"rank": 0}, "1 or more")]
)
def test_settings_that_cannot_be_are_refused(small_backbone, changes, words):
    backbone = load(small_backbone)
    with pytest.raises(RecipeError, match=words):
        attach_adapter(backbone.unet, LoraConfig(**changes), "lora")
    assert not has_adapter(backbone.unet)


def test_another_models_or_a_broken_one_is_refused(small_backbone, tmp_path, write_stable_diffusion):
    trained(small_backbone, "lora").save_unet(tmp_path)
    other = write_stable_diffusion(tmp_path / "sd")
    with pytest.raises(BackboneError, match="--force"):
        load(other, unet_folder=tmp_path)
    weights = safetensors.torch.load_file(weights_file(tmp_path))
    safetensors.torch.save_file(weights, weights_file(tmp_path))  # without its settings
    with pytest.raises(BackboneError, match="--force"):
        load(small_backbone, unet_folder=tmp_path)
