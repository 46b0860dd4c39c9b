"""The two losses: naive (Eq. 2) and disentangled (Eq. 5)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

RegionWeighting = Literal["balanced", "paper"]


def naive_loss(target: Tensor, prediction: Tensor) -> Tensor:
    """Eq. (2). ``|| eps - eps_theta(z_t, t, C) ||^2``, mean over all elements: the ablation's baseline.

    Args:
        target, prediction: (B, C, h, w).
    """
    return (target - prediction).square().mean()


def disentangled_loss(
    target: Tensor,
    defect_prediction: Tensor,
    background_prediction: Tensor,
    m: Tensor,
    region_weighting: RegionWeighting = "balanced",
) -> Tensor:
    """Eq. (5). ``|| m (eps - eps_theta(z_t, t, C_1)) ||^2 + || (1-m) (eps - eps_theta(z_t^m, t, C_2)) ||^2``.

    The defect is denoised with the background in sight; the background without the defect.

    Differs from the paper: `balanced` takes each region's own mean, since in a plain sum the background's
    thousands of cells drown a defect of ten; `paper` is that plain sum, divided by the number of elements.

    Args:
        target: (B, C, h, w) the noise (or what `prediction_target` gives).
        defect_prediction: (B, C, h, w) from `z_t` under C_1.
        background_prediction: (B, C, h, w) from `z_t^m` under C_2.
        m: (B, 1, h, w) in {0, 1}.
        region_weighting: `balanced` or `paper`.

    Returns:
        The scalar loss, mean over the batch.
    """
    defect = region_error(target, defect_prediction, m, region_weighting)
    background = region_error(target, background_prediction, 1 - m, region_weighting)
    return defect + background


def region_error(
    target: Tensor, prediction: Tensor, region: Tensor, region_weighting: RegionWeighting
) -> Tensor:
    """One term of Eq. (5): the squared error inside `region`, averaged over the batch.

    Args:
        target, prediction: (B, C, h, w).
        region: (B, 1, h, w) in {0, 1}.
        region_weighting: `balanced` divides each image's sum by its region's size (an empty region counts 0),
            `paper` by the size of the whole grid.
    """
    error = (region * (target - prediction).square()).sum(dim=(1, 2, 3))
    channels, cells = target.shape[1], target.shape[2] * target.shape[3]
    if region_weighting == "balanced":
        size = region.sum(dim=(1, 2, 3)).clamp(min=1) * channels
    else:
        size = channels * cells
    return (error / size).mean()
