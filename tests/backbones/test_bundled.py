"""The model that ships: it is whole, small, and paints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import BUNDLED, load_backbone
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import load_recipe
from augment.render import render_scene

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("tiny", ["synthesize.num_inference_steps=6", "synthesize.refinement=none"])


@pytest.fixture(scope="module")
def backbone(recipe):
    return load_backbone(recipe.backbone, "cpu", "float32")


@pytest.fixture(scope="module")
def scene():
    return render_scene(np.random.default_rng(0), kind="bottle", defect="contamination")


def as_batch(image):
    return torch.from_numpy(image).movedim(-1, 0)[None].float() / 255


def test_the_weights_are_small_and_have_a_card():
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*.safetensors")) < 60 * MEBIBYTE
    card = (BUNDLED / "README.md").read_text()
    for word in ("Data", "Command", "Licence", "Limits"):
        assert f"## {word}" in card


def test_the_codec_keeps_a_part_it_has_not_seen(backbone, scene):
    x = as_batch(scene.image)
    error = (backbone.decode_latents(backbone.encode_images(x)) - x).square().mean()
    assert -10 * torch.log10(error) > 30  # dB


def test_it_denoises_better_than_it_could_without_learning(backbone, recipe, scene):
    """Against the best linear guess a latent channel at a time (Wiener), at a middle noise level."""
    z_0 = backbone.encode_images(as_batch(scene.image))
    eps = torch.randn(z_0.shape, generator=torch.Generator().manual_seed(0))
    t, a = 500, backbone.alphas_cumprod[500]
    method = DisentangledInversion(backbone, "bottle", "contamination", recipe.fit, recipe.synthesize)
    z_t = a.sqrt() * z_0 + (1 - a).sqrt() * eps
    with torch.no_grad():
        region = AttentionRegion(torch.zeros(1, 1, 32, 32))
        noise = backbone.predict_noise(z_t, t, a, method.C_3[None], region)
    found = ((z_t - (1 - a).sqrt() * noise) / a.sqrt() - z_0).square().mean()
    variance = z_0.var(dim=(0, 2, 3))
    assert found < (variance * (1 - a) / (a * variance + 1 - a)).mean()


def test_it_paints_inside_the_mask_and_leaves_the_rest(backbone, recipe, scene):
    method = DisentangledInversion(backbone, "bottle", "contamination", recipe.fit, recipe.synthesize)
    mask = torch.from_numpy(scene.mask)[None, None].float()
    generated = method.generate(as_batch(scene.clean), mask, [torch.Generator().manual_seed(0)])
    assert float(generated.background_error) == 0
    assert torch.isfinite(generated.images).all()
    inside = mask.expand(1, 3, -1, -1) > 0
    assert (generated.images - as_batch(scene.clean))[inside].abs().mean() > 0.01
