"""Solvers of the sampling ODE beyond DDIM: the same path in fewer network calls."""

from __future__ import annotations

import torch
from torch import Tensor


def predicted_clean(z_t: Tensor, eps: Tensor, a_t: Tensor) -> Tensor:
    """The clean latents a noise prediction stands for: ``x_0 = (z_t - sqrt(1 - a_t) eps) / sqrt(a_t)``.

    Args:
        z_t, eps: (B, C, h, w).
        a_t: scalar in (0, 1].
    """
    return (z_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()


def half_log_snr(a: Tensor) -> Tensor:
    """``lambda = log(sqrt(a) / sqrt(1 - a))``, the time in which the solver's steps are measured."""
    return (a / (1 - a)).log() / 2


def dpm_solver_2m_step(
    z_t: Tensor,
    x_t: Tensor,
    a_t: Tensor,
    a_previous: Tensor,
    x_before: Tensor | None = None,
    a_before: Tensor | None = None,
) -> Tensor:
    """One step of DPM-Solver++(2M) from noise level t to t-1, with what the step before it predicted.

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (arXiv
    2211.01095), Algorithm 2, with ``alpha = sqrt(a)``, ``sigma = sqrt(1 - a)``, lambda their log ratio,
    ``h = lambda_{t-1} - lambda_t`` and ``r = (lambda_t - lambda_before) / h``:

    ``D = (1 + 1/(2r)) x_t - 1/(2r) x_before``

    ``z_{t-1} = (sigma_{t-1} / sigma_t) z_t - alpha_{t-1} (e^{-h} - 1) D``

    Without `x_before` (the first step, and by custom the last) ``D = x_t``: this is the DDIM step of Eq. (3).

    Args:
        z_t: (B, C, h, w).
        x_t: (B, C, h, w) the clean latents predicted at z_t (`predicted_clean`).
        a_t, a_previous: scalars in (0, 1) and (0, 1], of the two levels.
        x_before, a_before: the clean latents predicted one level up, and its cumulative product of alphas.
    """
    sigma_ratio = ((1 - a_previous) / (1 - a_t)).sqrt()
    h = half_log_snr(a_previous) - half_log_snr(a_t)
    D = x_t
    if x_before is not None:
        r = (half_log_snr(a_t) - half_log_snr(a_before)) / h
        D = (1 + 1 / (2 * r)) * x_t - x_before / (2 * r)
    return sigma_ratio * z_t - a_previous.sqrt() * torch.expm1(-h) * D
