"""What the surroundings of a hole say about it: its expected latents and their spread.

An inpainting U-Net starts from this guess and learns only the rest. With the fill `f` and the spread `s` of
a cell, its latents have the prior N(f, s^2); the U-Net sees the noise around `f` and corrects the posterior
mean of that prior. This is the preconditioning of Karras et al., "Elucidating the Design Space of
Diffusion-Based Generative Models" (2022), with a mean and a deviation of their own in every cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_FLOOR = 0.05  # smallest spread: about one grey level
_GROWTH = 2.0  # spread of a hole for a roughness of 1 around it
_GROWTH_REFERENCE = 0.5  # the same where a reference is at hand, for the roughness of what it leaves
_MISMATCH = 0.15  # a pixel that differs this much more than most counts half in how the reference is moved


class LinearCodec(Protocol):
    """What the fill needs of a codec: both ways, without learned parts."""

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w)."""

    def decode_linear(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W)."""


@dataclass(frozen=True)
class Surroundings:
    """What is known around a hole, and what that says about the hole.

    Attributes:
        m: (B, 1, h, w) in {0, 1}, the hole.
        fill: (B, C, h, w) the clean latents, continued smoothly into the hole.
        spread: (B, C, h, w) expected deviation from `fill`.
    """

    m: Tensor
    fill: Tensor
    spread: Tensor

    @classmethod
    def of(
        cls,
        z_0: Tensor,
        m: Tensor,
        codec: LinearCodec,
        reference: Tensor | None = None,
        defect_spread: Tensor | None = None,
    ) -> Surroundings:
        """The surroundings of holes in clean latents; nothing of what the holes hold is used.

        Args:
            z_0: (B, C, h, w).
            m: (B, 1, h, w) in {0, 1}.
            codec: of the latents; the fill is made in pixels, where a slope crosses blocks without steps.
            reference: (B, C, h, w) latents of what good surface might look like there: another good image,
                or the image that is painted on. The fill is the reference, moved smoothly to meet the
                surroundings. None: only what continues from the surroundings.
            defect_spread: (B, C, 1, 1) how far a defect strays from the fill, in each channel; None for
                a hole to be refilled with good surface.
        """
        known = 1 - m
        base = torch.zeros_like(z_0) if reference is None else reference
        grey = codec.decode_linear(torch.zeros_like(z_0[:1]))  # so that no change of latents is no change
        pixels = codec.decode_linear(known * (z_0 - base)) - grey
        known_pixels = F.interpolate(known, size=pixels.shape[-2:])
        if reference is not None:
            known_pixels = known_pixels * _agreement(pixels, known_pixels)
        pixels = smooth_fill(pixels, known_pixels)
        fill = known * z_0 + m * (base + codec.encode(pixels + grey))
        growth = _GROWTH if reference is None else _GROWTH_REFERENCE
        spread = growth * smooth_fill(_roughness(z_0 - base, known), known).exp()
        if defect_spread is not None:
            spread = (spread.square() + defect_spread.square()).sqrt()
        return cls(m, fill, spread.clamp(min=_FLOOR))

    @classmethod
    def unknown(cls, z: Tensor) -> Surroundings:
        """No surroundings: a hole everywhere, latents of mean 0 and deviation 1."""
        return cls(torch.ones_like(z[:, :1]), torch.zeros_like(z), torch.ones_like(z))

    def __getitem__(self, rows: slice) -> Surroundings:
        return Surroundings(self.m[rows], self.fill[rows], self.spread[rows])

    @staticmethod
    def cat(parts: list[Surroundings]) -> Surroundings:
        """Several batches as one."""
        return Surroundings(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("m", "fill", "spread"))
        )

    def network_input(self, z_t: Tensor, a_t: Tensor) -> Tensor:
        """(B, 2 C + 1, h, w): the scaled noise around the fill, the hole, the fill."""
        return torch.cat([(z_t - a_t.sqrt() * self.fill) / self._deviation(a_t), self.m, self.fill], dim=1)

    def v_prediction(self, output: Tensor, z_t: Tensor, a_t: Tensor) -> Tensor:
        """v (B, C, h, w) from the network's output: the prior's own v, and the output at `output_scale`."""
        gain = (a_t * (1 - a_t)).sqrt() * (1 - self.spread.square()) / self._deviation(a_t).square()
        prior = gain * (z_t - a_t.sqrt() * self.fill) - (1 - a_t).sqrt() * self.fill
        return prior + self.output_scale(a_t) * output

    def output_scale(self, a_t: Tensor) -> Tensor:
        """(B, C, h, w) deviation of v about the prior's.

        Dividing an error by it weighs all contrasts alike, but lets the few cells that stray far from
        the fill rule; the losses divide by its square root.
        """
        return self.spread / self._deviation(a_t)

    def _deviation(self, a_t: Tensor) -> Tensor:
        """(B, C, h, w) deviation of z_t about sqrt(a_t) f."""
        return (a_t * self.spread.square() + 1 - a_t).sqrt()


def smooth_fill(z: Tensor, known: Tensor) -> Tensor:
    """Values for unknown cells, from the known ones around them, smoothly (push-pull).

    Known cells are averaged into coarser and coarser grids until every cell has a value; on the way back each
    unknown cell takes the coarser grid's. Without any known cell the result is 0.

    Args:
        z: (B, C, h, w).
        known: (B, 1, h, w) in [0, 1]: how far each cell is to be trusted.

    Returns:
        (B, C, h, w), in cells that are fully known `z` itself.
    """
    weight = known.to(z)
    if weight.shape[-2:] == (1, 1):
        return z * weight
    ceil = {"kernel_size": 2, "ceil_mode": True}
    share = F.avg_pool2d(weight, **ceil)
    coarse = F.avg_pool2d(z * weight, **ceil) / share.clamp(min=1e-6)
    filled = smooth_fill(coarse, F.max_pool2d(weight, **ceil))
    grown = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
    grown = grown[..., : z.shape[-2], : z.shape[-1]]
    return weight * z + (1 - weight) * grown


def _agreement(difference: Tensor, known: Tensor) -> Tensor:
    """(B, 1, H, W) in (0, 1]: 1 where known pixels differ as most do, little where other things are shown.

    A reference whose edges lie elsewhere must not be moved by the brightness of what it does not share.

    Args:
        difference: (B, 3, H, W) of image and reference.
        known: (B, 1, H, W) in {0, 1}.
    """
    values = difference.masked_fill(known == 0, torch.nan).flatten(2)
    typical = values.nanmedian(dim=2).values.nan_to_num()[..., None, None]
    gap = (difference - typical).abs().amax(dim=1, keepdim=True)
    return 1 / (1 + (gap / _MISMATCH).square())


def _roughness(z: Tensor, known: Tensor) -> Tensor:
    """(B, C, h, w) logarithm of how far the known cells around each cell stray from their neighbours' mean.

    A geometric mean over the 5 x 5: an edge nearby raises it less than texture all around.
    """

    def mean(values: Tensor, side: int) -> Tensor:
        options = {"kernel_size": side, "stride": 1, "padding": side // 2}
        share = F.avg_pool2d(known.to(z), **options).clamp(min=1e-6)
        return F.avg_pool2d(values * known, **options) / share

    gap = (z - mean(z, 3)).abs().clamp(min=_FLOOR / 4)
    return mean(gap.log(), 5)
