"""What the trainable methods share of a loss: it splits into terms, and noise levels may count less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from augment.backbones.load import load_backbone
from augment.functional.losses import min_snr_weight
from augment.methods.base import TrainingBatch, parts
from augment.recipe import BackboneConfig, FitConfig, SynthesizeConfig
from augment.registry import METHODS

FIT = FitConfig(regulariser_batch_size=None, prior_preservation=True)


@pytest.fixture(scope="module")
def backbone(small_backbone):
    return load_backbone(BackboneConfig(model=str(small_backbone), resolution=64), "cpu", "float32")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    z_0, m = torch.randn(5, 4, 8, 8, generator=generator), torch.zeros(5, 1, 8, 8)
    m[:, :, 2:5, 2:5] = 1
    return TrainingBatch(z_0, m, 3)


def make(backbone, name, fit):
    return METHODS.get(name)(backbone, "washer", "scratch", fit, SynthesizeConfig())


def gradients(backbone, terms):
    backbone.unet.zero_grad()
    value = 0.0
    for term in terms:
        value += float(term.detach())
        term.backward()
    return value, torch.cat([p.grad.flatten() for p in backbone.unet.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", ["disentangled_inversion", "dreambooth"])
@pytest.mark.parametrize("changes", [{}, {"min_snr_gamma": 5.0, "prior_preservation": False}])
def test_a_few_rows_at_a_time_add_up_to_the_loss_and_its_gradient(backbone, batch, name, changes):
    method = make(backbone, name, replace(FIT, **changes))
    whole, gradient = gradients(backbone, [method.loss(batch, torch.Generator().manual_seed(0))])
    for rows in (1, 2, 4, 99):
        calls = []
        hook = backbone.unet.register_forward_pre_hook(
            lambda module, args, calls=calls: calls.append(len(args[0]))
        )
        value, found = gradients(backbone, method.losses(batch, torch.Generator().manual_seed(0), rows))
        hook.remove()
        assert max(calls) <= rows and len(calls) == -(-sum(calls) // rows)
        assert value == pytest.approx(whole, rel=1e-5)
        assert torch.allclose(found, gradient, atol=1e-5)


def test_min_snr_weighs_each_row_by_its_noise_level(backbone, batch):
    one = TrainingBatch(batch.z_0[:1], batch.m[:1], 1)
    plain, weighted = (
        float(make(backbone, "dreambooth", replace(FIT, min_snr_gamma=gamma)).loss(
            one, torch.Generator().manual_seed(0)
        ).detach())
        for gamma in (None, 5.0)
    )  # fmt: skip
    told = []
    hook = backbone.unet.register_forward_pre_hook(lambda module, args: told.append(int(args[1])))
    make(backbone, "dreambooth", FIT).loss(one, torch.Generator().manual_seed(0))
    hook.remove()
    weight = min_snr_weight(backbone.alphas_cumprod[told[0]], 5.0, backbone.prediction_type)
    assert weighted == pytest.approx(plain * float(weight), rel=1e-5)


def test_slices_cover_a_batch_once():
    assert [*parts(5, 2)] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert [*parts(5, 0)] == [*parts(5, 9)] == [slice(0, 5)]
