"""The two losses: naive (Eq. 2) and disentangled (Eq. 5), and how much each noise level counts in them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from augment.functional.noising import PredictionType

RegionWeighting = Literal["balanced", "paper"]


def naive_loss(target: Tensor, prediction: Tensor, weight: Tensor | None = None) -> Tensor:
    """Eq. (2). ``|| eps - eps_theta(z_t, t, C) ||^2``, mean over all elements: the ablation's baseline.

    Args:
        target, prediction: (B, C, h, w).
        weight: (B,) how much each row counts; None: all alike.
    """
    error = (target - prediction).square()
    return error.mean() if weight is None else (weight * error.mean(dim=(1, 2, 3))).mean()


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
    target: Tensor,
    prediction: Tensor,
    region: Tensor,
    region_weighting: RegionWeighting,
    weight: Tensor | None = None,
) -> Tensor:
    """One term of Eq. (5): the squared error inside `region`, averaged over the batch.

    Args:
        target, prediction: (B, C, h, w).
        region: (B, 1, h, w) in {0, 1}.
        region_weighting: `balanced` divides each image's sum by its region's size (an empty region counts 0),
            `paper` by the size of the whole grid.
        weight: (B,) how much each row counts; None: all alike.
    """
    error = (region * (target - prediction).square()).sum(dim=(1, 2, 3))
    channels, cells = target.shape[1], target.shape[2] * target.shape[3]
    if region_weighting == "balanced":
        size = region.sum(dim=(1, 2, 3)).clamp(min=1) * channels
    else:
        size = channels * cells
    return (error / size).mean() if weight is None else (weight * error / size).mean()


def min_snr_weight(a_t: Tensor, gamma: float, prediction_type: PredictionType) -> Tensor:
    """How much the squared error at a noise level counts: ``min(SNR, gamma)`` in units of the clean latents.

    With ``SNR = a_t / (1 - a_t)`` an error of the clean latents is 1 / SNR that of the noise and
    1 / (SNR + 1) that of the velocity (squared). Low noise levels, where SNR is large, no longer drown the
    others. Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", ICCV 2023: gamma = 5.

    Args:
        a_t: cumulative product of alphas, in (0, 1), of any shape.
        gamma: above 0.
        prediction_type: of the errors.
    """
    snr = a_t / (1 - a_t)
    clipped = snr.clamp(max=gamma)
    if prediction_type == "epsilon":
        return clipped / snr
    return clipped / (snr + 1) if prediction_type == "v_prediction" else clipped
