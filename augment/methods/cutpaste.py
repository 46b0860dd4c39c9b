"""CutPaste, the baseline without a model: the defect is a piece of the same normal image, pasted elsewhere.

Li, Sohn, Yoon, Pfister: "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization",
CVPR 2021. As published, the piece comes from a random place, turned by up to 45 degrees, its brightness,
contrast, saturation and hue jittered by up to 0.1.

Differs from the paper: the piece has the shape and the place of the target mask, where the paper pastes
rectangles at random, so that it is compared with other methods on the same masks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import functional as transforms

from augment.functional.masks import difference_evidence, or_target, refine_mask
from augment.methods.base import Generated, Untrained

_ROTATION = 45.0  # degrees, either way
_JITTER = 0.1
_DISTANCE = (0.25, 0.75)  # from where the piece is cut to where it is pasted, as a share of the window's side


class CutPaste(Untrained):
    """CutPaste with given masks."""

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        masks: Tensor,
        generators: list[torch.Generator],
        references: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> Generated:
        """Fill each mask with another place of its window, turned and jittered (see `Method.generate`).

        Where the other place lies beyond the window, the window is mirrored. The refinement `difference` is
        applied as the recipe says; the others need a model, and here keep the target mask.
        """
        config, masks = self.synthesize, masks.float()
        pieces = torch.stack([_elsewhere(*pair) for pair in zip(images, generators, strict=True)])
        generated = torch.where(masks.bool(), pieces, images)
        refined = masks
        if config.refinement == "difference":
            evidence = difference_evidence(generated, images)
            refined = refine_mask(masks, evidence, config.refinement_threshold)
        refined, fell_back = or_target(refined, masks, config.minimum_refined_share)
        return Generated(generated, refined, fell_back, torch.zeros(len(images)))


def _elsewhere(image: Tensor, generator: torch.Generator) -> Tensor:
    """The window (3, R, R) moved and turned at random, mirrored at its borders, in other colours."""
    direction, distance, turn, *jitter = torch.rand(7, generator=generator).tolist()
    low, high = _DISTANCE
    distance = 2 * (low + (high - low) * distance)  # in affine_grid's units the side is 2
    direction *= 2 * math.pi
    angle = math.radians(_ROTATION) * (2 * turn - 1)
    theta = torch.tensor(
        [
            [math.cos(angle), -math.sin(angle), distance * math.cos(direction)],
            [math.sin(angle), math.cos(angle), distance * math.sin(direction)],
        ]
    )
    grid = F.affine_grid(theta[None].to(image), [1, *image.shape], align_corners=False)
    piece = F.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0].clamp(0, 1)
    brightness, contrast, saturation, hue = (_JITTER * (2 * value - 1) for value in jitter)
    piece = transforms.adjust_brightness(piece, 1 + brightness)
    piece = transforms.adjust_contrast(piece, 1 + contrast)
    piece = transforms.adjust_saturation(piece, 1 + saturation)
    return transforms.adjust_hue(piece, hue)
