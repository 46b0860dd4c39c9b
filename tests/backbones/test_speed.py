"""Faster calls of the U-Net, each beside the plain one. On a CPU in float32 they agree to 1e-5."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from augment.backbones.load import load_backbone
from augment.backbones.speed import Runner, StaticCalls, speed_up
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import BackboneConfig, FitConfig, SpeedConfig, SynthesizeConfig


def load(folder, dtype="float32"):
    return load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", dtype)


@pytest.fixture
def scene():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, 0, 20:40, 10:30] = masks[1, 0, 5:15, 40:60] = 1
    return images, masks


def painted(backbone, scene, **changes):
    config = replace(SynthesizeConfig(num_inference_steps=3), **changes)
    method = DisentangledInversion(
        backbone, "washer", "scratch", FitConfig(mask_background_keys=True), config
    )
    return method.generate(*scene, [torch.Generator().manual_seed(i) for i in range(2)]).images


def capture_nothing(function):
    """Stands in for a CUDA graph: computes into the same memory again."""
    output = function()
    return output, lambda: output.copy_(function())


def test_the_defaults_leave_a_backbone_as_it_is(small_backbone):
    backbone = load(small_backbone)
    speed_up(backbone, SpeedConfig())
    assert backbone.runner is None
    speed_up(backbone, SpeedConfig(cuda_graph=True, half=True))  # nothing of it is for float32 on a CPU
    assert backbone.runner is None


@pytest.mark.parametrize("refinement", ["difference", "attention", "contrast"])
def test_another_memory_order_paints_the_same(small_backbone, scene, refinement):
    plain, other = load(small_backbone), load(small_backbone)
    speed_up(other, SpeedConfig(channels_last=False))
    assert other.unet.conv_in.weight.is_contiguous() and other.runner is not None
    a, b = (painted(backbone, scene, refinement=refinement) for backbone in (plain, other))
    assert torch.allclose(a, b, atol=1e-5)


def test_static_calls_paint_the_same_and_see_new_weights(small_backbone, scene):
    plain, other = load(small_backbone), load(small_backbone)
    speed_up(other, SpeedConfig(channels_last=False))
    other.runner.call = StaticCalls(other.runner.call, capture_nothing)
    assert torch.allclose(painted(plain, scene), painted(other, scene), atol=1e-5)
    with torch.no_grad():
        for backbone in (plain, other):
            backbone.unet.conv_out.bias.add_(0.1)
    assert torch.allclose(painted(plain, scene), painted(other, scene), atol=1e-5)


def test_static_calls_capture_each_shape_once_and_copy_their_results():
    captured = []

    def capture(function):
        captured.append(1)
        return capture_nothing(function)

    call = StaticCalls(lambda x, y: 2 * x if y is None else x + y, capture)
    ones = torch.ones(2)
    first = call(ones, None)
    second = call(3 * ones, None)
    assert first.tolist() == [2, 2] and second.tolist() == [6, 6] and len(captured) == 1
    assert call(ones, ones).tolist() == [2, 2] and len(captured) == 2
    for size in range(3, 7):  # the oldest shapes are forgotten
        call(torch.ones(size), None)
    assert call(ones, None).tolist() == [2, 2] and len(captured) == 7


def test_half_precision_throughout_is_near_and_far_from_nothing(small_backbone, scene):
    """bfloat16 has 8 bits: its mixture under autocast and it alone are both within 3 % of float32."""
    full, mixed, half = (
        load(small_backbone),
        load(small_backbone, "bfloat16"),
        load(small_backbone, "bfloat16"),
    )
    speed_up(half, SpeedConfig(half=True))
    assert half.unet.conv_in.weight.dtype == torch.bfloat16
    reference = painted(full, scene)
    for backbone in (mixed, half):
        assert 0 < (painted(backbone, scene) - reference).abs().mean() < 0.03


def test_the_call_is_one_graph_to_the_compiler(small_backbone):
    """Traced without a break and run as traced: what inductor makes of it is its own affair."""
    runner = Runner(load(small_backbone), SpeedConfig(channels_last=False))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 9, 8, 8, generator=generator)
    condition = torch.randn(1, 154, 32, generator=generator)
    m = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).float()
    inputs = (x, torch.tensor([500]), condition, m, torch.tensor([True]))
    traced = torch.compile(runner.call, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        assert torch.allclose(runner.call(*inputs), traced(*inputs), atol=1e-5)


def test_compiling_is_asked_of_the_runner(small_backbone):
    backbone = load(small_backbone)
    runner = Runner(backbone, SpeedConfig(compile=True))
    assert not runner.is_plain and runner.call != runner._forward
