"""DRAEM's discriminative network: a U-Net that labels each pixel normal or anomalous."""

from __future__ import annotations

import torch
from torch import nn


class DiscriminativeNetwork(nn.Module):
    """A U-Net of six levels, two logits a pixel.

    Channels by level, in units of `base_width`: 1, 2, 4, 8, 8, 8. A level is two 3x3 convolutions, each with
    batch normalisation and a ReLU; max-pooling goes down, bilinear doubling and one convolution go up, and
    each level's output is joined to the upward path. 28.4 M parameters at width 64.

    Args:
        in_channels: channels of the image.
        base_width: channels of the first level; 64 as published.
        negative_slope: of the rectifiers; 0 as published. A narrow network needs some: its few last channels
            else come to be 0 together on defects, where no gradient passes that could wake them.

    Source: Zavrtanik et al., "DRAEM", ICCV 2021; equal to anomalib's `DiscriminativeSubNetwork`
    under copied weights.
    """

    LEVELS = (1, 2, 4, 8, 8, 8)
    STRIDE = 32  # an image's sides must be multiples of this

    def __init__(self, in_channels: int = 3, base_width: int = 64, negative_slope: float = 0.0):
        super().__init__()
        widths = [base_width * factor for factor in self.LEVELS]
        self.down = nn.ModuleList(
            _double_conv(inside, outside, negative_slope)
            for inside, outside in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        # Going up, a level is as narrow as the one above it, where the encoder's would be twice as wide.
        up_widths = [widths[-1], *(base_width * factor for factor in (8, 4, 2, 1, 1))]
        self.up = nn.ModuleList()
        self.fuse = nn.ModuleList()
        for inside, outside, skip in zip(up_widths[:-1], up_widths[1:], widths[-2::-1], strict=True):
            self.up.append(nn.Sequential(*_conv(inside, outside, negative_slope)))
            self.fuse.append(_double_conv(outside + skip, outside, negative_slope))
        self.head = nn.Conv2d(up_widths[-1], 2, kernel_size=3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, H, W), channel 1 = anomalous, of images (B, C, H, W); H and W multiples of 32."""
        skips = []
        x = image
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = fuse(torch.cat([up(x), skips.pop()], dim=1))
        return self.head(x)


def _conv(inside: int, outside: int, negative_slope: float) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inside, outside, kernel_size=3, padding=1),
        nn.BatchNorm2d(outside),
        nn.LeakyReLU(negative_slope, inplace=True),
    )


def _double_conv(inside: int, outside: int, negative_slope: float) -> nn.Sequential:
    return nn.Sequential(*_conv(inside, outside, negative_slope), *_conv(outside, outside, negative_slope))
