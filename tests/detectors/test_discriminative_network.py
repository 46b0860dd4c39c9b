from __future__ import annotations

import pytest
import torch

from augment.detectors.discriminative_network import DiscriminativeNetwork


def test_equals_anomalib_under_copied_weights():
    from anomalib.models.image.draem.torch_model import DiscriminativeSubNetwork

    theirs = DiscriminativeSubNetwork(in_channels=3, out_channels=2, base_width=8)
    ours = DiscriminativeNetwork(base_width=8)
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs(image)  # running statistics other than 0 and 1

    # Both list layers from the image inwards, theirs with the way up between each pair of convolutions.
    source = [f"encoder_segment.block{level}." for level in range(1, 7)]
    target = [f"down.{level}." for level in range(6)]
    for step, name in enumerate(("b", "1", "2", "3", "4")):
        source += [f"decoder_segment.up_{name}." if name == "b" else f"decoder_segment.up{name}."]
        source += [f"decoder_segment.db_{name}." if name == "b" else f"decoder_segment.db{name}."]
        target += [f"up.{step}.", f"fuse.{step}."]
    source, target = [*source, "decoder_segment.fin_out."], [*target, "head."]
    weights = theirs.state_dict()
    copied = {}
    for theirs_prefix, ours_prefix in zip(source, target, strict=True):
        values = [value for name, value in weights.items() if name.startswith(theirs_prefix)]
        names = [name for name in ours.state_dict() if name.startswith(ours_prefix)]
        copied |= dict(zip(names, values, strict=True))
    ours.load_state_dict(copied)

    for mode in (False, True):
        with torch.no_grad():
            torch.testing.assert_close(ours.train(mode)(image), theirs.train(mode)(image))


def test_size_at_the_published_width():
    with torch.device("meta"):
        network = DiscriminativeNetwork()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(28.4e6, rel=2e-3)


def test_a_slope_keeps_a_network_of_negative_inputs_awake():
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def gradient(negative_slope):
        network = DiscriminativeNetwork(base_width=4, negative_slope=negative_slope)
        with torch.no_grad():  # all channels before the head are below 0 everywhere
            norm = network.fuse[-1][4]
            norm.weight.fill_(0.1)
            norm.bias.fill_(-5.0)
        network(image).sum().backward()
        return norm.bias.grad.abs().sum()

    assert gradient(0.0) == 0 and gradient(0.1) > 0
