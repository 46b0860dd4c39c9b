"""Masks on the latent grid, and mask refinement (Eq. 13)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def latent_mask(mask: Tensor, size: tuple[int, int], dilation: int = 0) -> Tensor:
    """A pixel mask on the latent grid: a cell is defect where any of its pixels is (max-pooling).

    Bilinear downsampling by 8 erases thin defects, and a soft mask would break Eq. (7).

    Args:
        mask: (B, 1, H, W) in {0, 1}.
        size: (h, w) of the latent grid.
        dilation: cells added on every side.

    Returns:
        (B, 1, h, w) float in {0, 1}.
    """
    m = F.adaptive_max_pool2d(mask.float(), size)
    return F.max_pool2d(m, 2 * dilation + 1, stride=1, padding=dilation) if dilation else m


def random_crops(z: Tensor, m: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A square of each row's latents and mask, at a random place that shows some of the mask.

    Args:
        z: (B, C, h, w).
        m: (B, 1, h, w) in {0, 1}.
        side: of the square, latent cells.
        generator: of the places.

    Returns:
        (B, C, side, side) and (B, 1, side, side); the inputs themselves where they are no larger.
    """
    height, width = m.shape[-2:]
    if side >= min(height, width):
        return z, m
    draws = torch.rand(len(m), 3, generator=generator)
    crops = []
    for row, (cell, down, right) in zip(m[:, 0], draws.tolist(), strict=True):
        inside = row.nonzero()
        y, x = inside[int(cell * len(inside))].tolist() if len(inside) else (height // 2, width // 2)
        top = min(max(y - int(down * side), 0), height - side)
        left = min(max(x - int(right * side), 0), width - side)
        crops.append((slice(top, top + side), slice(left, left + side)))
    return (
        torch.stack([z[i][:, rows, columns] for i, (rows, columns) in enumerate(crops)]),
        torch.stack([m[i][:, rows, columns] for i, (rows, columns) in enumerate(crops)]),
    )


def refine_mask(target: Tensor, evidence: Tensor, threshold: float = 0.5) -> Tensor:
    """Eq. (13). Keep the part of the target mask where the evidence of a defect reaches the threshold.

    Args:
        target: (B, 1, H, W) target mask in {0, 1}.
        evidence: (B, 1, h, w) in [0, 1], any resolution; upsampled bilinearly.
        threshold: the paper's 1/2.

    Returns:
        (B, 1, H, W) float in {0, 1}, nowhere outside the target.
    """
    evidence = F.interpolate(evidence.float(), size=target.shape[-2:], mode="bilinear", align_corners=False)
    return target * (evidence >= threshold)


def or_target(refined: Tensor, target: Tensor, minimum_share: float) -> tuple[Tensor, Tensor]:
    """Refined masks, but for those of which nearly nothing is left: these are the target again.

    Args:
        refined, target: (B, 1, H, W) in {0, 1}.
        minimum_share: of the target's pixels.

    Returns:
        (B, 1, H, W) float in {0, 1}, and (B,) bool, where it is the target.
    """
    fell_back = refined.sum(dim=(1, 2, 3)) < minimum_share * target.sum(dim=(1, 2, 3))
    return torch.where(fell_back[:, None, None, None], target.float(), refined), fell_back


def contrast_evidence(defect_noise: Tensor, background_noise: Tensor, m: Tensor) -> Tensor:
    """How differently the two prompts denoise each cell (the idea of DiffEdit, Couairon et al. 2023).

    ``|eps_theta(C_def) - eps_theta(C_bg)|``, mean over channels, scaled so that 1/2 is half-way between the
    hole's quiet cells (5th percentile) and its loud ones (95th).

    Args:
        defect_noise, background_noise: (B, C, h, w).
        m: (B, 1, h, w) in {0, 1}.

    Returns:
        (B, 1, h, w) in [0, 1]; 1 where a hole has no contrast at all.
    """
    change = (defect_noise - background_noise).abs().mean(dim=1, keepdim=True)
    evidence = torch.ones_like(change)
    for i, inside in enumerate(m > 0.5):
        if inside.any():
            low, high = torch.quantile(change[i][inside].float(), torch.tensor([0.05, 0.95], device=m.device))
            if high > low:
                evidence[i] = ((change[i] - low) / (high - low)).clamp(0, 1)
    return evidence


def difference_evidence(generated: Tensor, source: Tensor, visible: float = 0.04) -> Tensor:
    """How visible the change from source to generated image is, smoothed over a few pixels.

    Args:
        generated, source: (B, 3, H, W) in [0, 1].
        visible: the mean absolute change over a 9 x 9 neighbourhood that counts as 1/2
            (0.04 is 10 of 255 levels).

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    change = (generated - source).abs().amax(dim=1, keepdim=True)
    smooth = F.avg_pool2d(F.pad(change, (4, 4, 4, 4), mode="replicate"), 9, stride=1)
    return (smooth / (2 * visible)).clamp(0, 1)
