"""A resnet's weights with its batch normalisation folded into the convolutions, made fit to train on.

    python benchmarks/encoder_weights.py --weights resnet18.pth --images path/to/CATEGORY/train/good \\
        --out encoder.pth

Public dumps of small networks often have their normalisations folded away, left as identities. Such a
network computes what the original does, but not in training, where a normalisation divides by its batch's own
deviation. This measures each normalisation's input on the images, and gives it that mean and deviation, and a
scale and shift that undo them: the same output as before, and a network that trains as one with its
normalisations. For `benchmark.unet.encoder_weights`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet18

from augment.data.images import list_images, read_image, to_rgb
from augment.detectors.resizing import resize_image

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@torch.no_grad()
def unfold(network: nn.Module, images: torch.Tensor) -> float:
    """Give the normalisations the statistics of their inputs; what a network computes stays as it is.

    Args:
        network: with identities for normalisations.
        images: (N, 3, H, W), as the network takes them.

    Returns:
        The largest change of the last feature map, as a share of its deviation.
    """
    found: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def measure(module: nn.Module, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        found[module] = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(measure) for module in norms]
    before = network.eval()(images)
    for hook in hooks:
        hook.remove()
    for module, (mean, variance) in found.items():
        deviation = torch.sqrt(module.running_var + module.eps)
        module.bias += module.weight * (mean - module.running_mean) / deviation
        module.weight *= torch.sqrt(variance + module.eps) / deviation
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)
    return float((network(images) - before).abs().max() / before.std())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's resnet18, a state dict")
    parser.add_argument("--images", type=Path, required=True, help="a folder; the first 16 are measured on")
    parser.add_argument("--size", type=int, default=192, help="images are resized to this square, pixels")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    network = resnet18(weights=None)
    state = torch.load(options.weights, map_location="cpu", weights_only=True)
    missing = network.load_state_dict(state, strict=False).missing_keys
    last = 3 if any(name.startswith("layer4") for name in missing) else 4
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    used = nn.Sequential(*stem, *(getattr(network, f"layer{level}") for level in range(1, last + 1)))
    pixels = [
        resize_image(to_rgb(read_image(path)), options.size) for path in list_images(options.images)[:16]
    ]
    images = torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 255
    images = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    change = unfold(used, images)
    state = network.state_dict()
    if last == 3:
        state = {name: value for name, value in state.items() if not name.startswith("layer4")}
    torch.save(state, options.out)
    print(f"{options.out}: levels up to layer{last}; the output changed by {change:.1e} of its deviation")


if __name__ == "__main__":
    main()
