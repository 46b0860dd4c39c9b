"""What surroundings say about a hole."""

from __future__ import annotations

import pytest
import torch

from augment.backbones.codec import PatchCodec
from augment.functional.inpainting import Surroundings, smooth_fill


@pytest.fixture
def codec():
    codec = PatchCodec(patch=4, latent_channels=12, hidden=0)
    coarse = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codec.fit_components(torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear"))
    return codec


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(2, 12, 16, 16, generator=generator)
    m = torch.zeros(2, 1, 16, 16)
    m[:, :, 4:10, 5:12] = 1
    return z_0, m


def test_a_fill_keeps_what_is_known_and_stays_within_it():
    z = torch.rand(3, 2, 13, 21)
    known = torch.ones(3, 1, 13, 21)
    known[:, :, 3:9, 4:15] = 0
    known[2] = 0
    filled = smooth_fill(z, known)
    assert torch.equal(filled * known, z * known)
    assert filled[:2].min() >= 0 and filled[:2].max() <= 1
    assert not filled[2].any()
    flat = smooth_fill(torch.full_like(z, 0.7), known)
    assert torch.allclose(flat[:2], torch.full_like(z, 0.7)[:2], atol=1e-6)


def test_nothing_of_the_hole_is_used(codec, scene):
    z_0, m = scene
    for reference in (None, torch.randn_like(z_0)):
        a, b = (Surroundings.of(z, m, codec, reference) for z in (z_0, z_0 + 100 * m))
        assert torch.equal(a.fill, b.fill) and torch.equal(a.spread, b.spread)
        assert torch.equal(a.fill * (1 - m), z_0 * (1 - m))


def test_a_reference_is_moved_to_meet_the_surroundings(codec, scene):
    z_0, m = scene
    brighter = codec.encode(codec.decode_linear(z_0) + 0.25)
    exact, moved, alone = (Surroundings.of(z_0, m, codec, r) for r in (z_0, brighter, None))
    assert torch.allclose(exact.fill, z_0, atol=1e-4)
    gap = codec.decode_linear(moved.fill) - codec.decode_linear(z_0)
    assert gap.abs().mean() < 0.01
    assert (alone.fill - z_0).square().mean() > 10 * (moved.fill - z_0).square().mean()
    assert exact.spread.mean() < alone.spread.mean()


def test_a_defect_may_stray_further(codec, scene):
    z_0, m = scene
    wide = Surroundings.of(z_0, m, codec, z_0, defect_spread=torch.full((1, 12, 1, 1), 2.0))
    assert (wide.spread >= 2).all()


@pytest.mark.parametrize("level", [0.001, 0.3, 0.999])
def test_the_prior_alone_is_the_best_guess_for_latents_of_its_kind(codec, scene, level):
    """With z_0 ~ N(fill, spread^2) and a silent network, v is the posterior mean: no gain improves on it."""
    z_0, m = scene
    known = Surroundings.of(z_0, m, codec)
    generator = torch.Generator().manual_seed(3)
    a_t = torch.tensor(level).view(1, 1, 1, 1)
    z, eps = known.fill + known.spread * torch.randn(200, *z_0.shape, generator=generator), 0
    eps = torch.randn(z.shape, generator=generator)
    z_t = a_t.sqrt() * z + (1 - a_t).sqrt() * eps
    error = a_t.sqrt() * eps - (1 - a_t).sqrt() * z - known.v_prediction(torch.zeros(()), z_t, a_t)
    around = z_t - a_t.sqrt() * known.fill
    assert abs(float((error * around).mean() / around.square().mean())) < 0.01  # nothing linear is left
    scaled = error / known.output_scale(a_t)
    assert float(scaled.square().mean()) == pytest.approx(1, abs=0.02)


def test_without_surroundings_it_is_plain_v_prediction(scene):
    z_0, _ = scene
    unknown, a_t = Surroundings.unknown(z_0), torch.tensor(0.4)
    output = torch.randn_like(z_0)
    assert torch.allclose(unknown.v_prediction(output, z_0, a_t), output)
    x = unknown.network_input(z_0, a_t)
    assert torch.equal(x[:, :12], z_0) and (x[:, 12] == 1).all() and not x[:, 13:].any()


def test_what_a_reference_does_not_share_does_not_move_it(codec, scene):
    """A bright object beside the hole, in the image alone, must not brighten the hole."""
    z_0, m = scene
    pixels = codec.decode_linear(z_0)
    beside = pixels.clone()
    beside[:, :, :16] += 1.5  # rows of cells 0 to 3, the hole begins at row 4
    filled = Surroundings.of(codec.encode(beside), m, codec, z_0).fill
    gap = (codec.decode_linear(filled) - pixels)[:, :, 16:40, 20:48]
    assert gap.abs().mean() < 0.05
