"""DDIM steps both ways, and the paper's inversion and generation built of them (Eq. 3, 4, 8, 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augment.functional.noising import add_noise, mask_latents
from augment.functional.solvers import dpm_solver_2m_step, half_log_snr, predicted_clean

Denoiser = Callable[[Tensor, int], Tensor]
"""``eps_theta(z, level)``: predicted noise (B, C, h, w) at a level of the schedule."""


@dataclass(frozen=True)
class Schedule:
    """The noise levels a sampler visits: level 0 is the clean image, level N the noisiest.

    Attributes:
        timesteps: (N + 1,) ascending integers, what the network is told at each level; (N + 1, B) where each
            image of a batch has levels of its own.
        a: (N + 1,) float64, the cumulative product of alphas at each level, descending; (N + 1, B, 1, 1, 1).
    """

    timesteps: Tensor
    a: Tensor

    @property
    def steps(self) -> int:
        """Number of steps N."""
        return len(self.timesteps) - 1

    def up_to(self, share: float, steps: int, alphas_cumprod: Tensor) -> Schedule:
        """`steps` levels, evenly spaced in t, of the cleaner end of this schedule.

        Args:
            share: of this schedule, in (0, 1], that the levels span; its own levels where `steps` is share N.
            steps: at least 1.
            alphas_cumprod: (T,) of the training process.
        """
        first, last = (float(self.timesteps[level]) for level in (1, -1))
        top = first + (last - first) * max(0.0, share * self.steps - 1) / max(1, self.steps - 1)
        top = max(top, first + steps - 1)  # no two levels are the same
        chosen = torch.linspace(first, top, steps, dtype=torch.float64).round().long()
        a = torch.cat([self.a[:1], alphas_cumprod.double().cpu()[chosen]])
        return Schedule(torch.cat([self.timesteps[:1], chosen]), a)

    @classmethod
    def of_each(cls, schedules: Sequence[Schedule]) -> Schedule:
        """One schedule for a batch of which each image has its own, all of as many levels."""
        timesteps, a = ([getattr(each, name) for each in schedules] for name in ("timesteps", "a"))
        return cls(torch.stack(timesteps, dim=1), torch.stack(a, dim=1)[..., None, None, None])

    def rows(self, rows: Tensor) -> Schedule:
        """The schedule for some images of the batch."""
        return self if self.a.dim() == 1 else Schedule(self.timesteps[:, rows], self.a[:, rows])


def make_schedule(alphas_cumprod: Tensor, final_alpha: float, timesteps: list[int]) -> Schedule:
    """A schedule from a diffusers DDIM scheduler's parts.

    Args:
        alphas_cumprod: (T,) of the training process.
        final_alpha: the scheduler's `final_alpha_cumprod`, for level 0.
        timesteps: the scheduler's `timesteps` after `set_timesteps`, in any order.
    """
    ascending = sorted(int(t) for t in timesteps)
    a = torch.cat(
        [torch.tensor([final_alpha], dtype=torch.float64), alphas_cumprod.double().cpu()[ascending]]
    )
    return Schedule(torch.tensor([0, *ascending]), a)


def even_in_log_snr(schedule: Schedule, alphas_cumprod: Tensor) -> Schedule:
    """A schedule between the same first and last noisy level, its levels evenly spaced in log-SNR.

    What a solver of higher order wants (Lu et al. 2022, arXiv 2206.00927, section 3.3): with levels evenly
    spaced in t, the last steps are by far the longest. 10 such levels with `dpm_solver_2m_step` come as near
    to the exact solution as 50 of DDIM's.

    Args:
        schedule: of N steps.
        alphas_cumprod: (T,) of the training process.
    """
    lambdas = half_log_snr(alphas_cumprod.double().cpu())
    first, last = (int(schedule.timesteps[level]) for level in (1, -1))
    chosen: list[int] = []
    for i, wanted in enumerate(torch.linspace(lambdas[first], lambdas[last], schedule.steps).tolist()):
        nearest = int((lambdas - wanted).abs().argmin())
        room = last - (schedule.steps - 1 - i)  # for the levels that follow: no two are the same
        chosen.append(min(max(nearest, chosen[-1] + 1 if chosen else first), room))
    a = torch.cat([schedule.a[:1], alphas_cumprod.double().cpu()[chosen]])
    return Schedule(torch.tensor([0, *chosen]), a)


def ddim_step(z_t: Tensor, eps: Tensor, a_t: Tensor, a_previous: Tensor) -> Tensor:
    """Eq. (3). One DDIM step from noise level t to t-1.

    ``z_{t-1} = sqrt(a_{t-1}) [ z_t / sqrt(a_t) + (sqrt(1/a_{t-1} - 1) - sqrt(1/a_t - 1)) eps ]``

    Differs from the paper's print: `sqrt(1/a) - 1` there must read `sqrt(1/a - 1)` (Song et al. 2021).

    Args:
        z_t: (B, C, h, w).
        eps: (B, C, h, w) the predicted noise at z_t.
        a_t, a_previous: scalars in (0, 1], or (B, 1, 1, 1).
    """
    change = (1 / a_previous - 1).sqrt() - (1 / a_t - 1).sqrt()
    return a_previous.sqrt() * (z_t / a_t.sqrt() + change * eps)


def ddim_inversion_step(z_previous: Tensor, eps: Tensor, a_previous: Tensor, a_t: Tensor) -> Tensor:
    """Eq. (4). The step of Eq. (3) run the other way, t-1 -> t, with eps evaluated at the point it leaves."""
    return ddim_step(z_previous, eps, a_previous, a_t)


def invert_background(
    denoise_background: Denoiser, z_0: Tensor, m: Tensor, schedule: Schedule, stride: int = 1
) -> list[Tensor]:
    """Eq. (8). Masked inversion of a normal image: the noise from which its background comes.

    Runs Eq. (4) on ``z^m = (1-m) z`` with ``(1-m) eps_theta(z^m_{t-1}, t-1, C_2)``.

    Args:
        denoise_background: eps_theta under C_2.
        z_0: (B, C, h, w) latents of the normal image.
        m: (B, 1, h, w) target mask in {0, 1}.
        schedule: the noise levels.
        stride: levels that share one prediction; 1 is the paper. A larger one follows the same path in
            longer strides, with as many network calls fewer.

    Returns:
        N + 1 tensors (B, C, h, w): the trajectory z~^m at levels 0 (the masked image itself) to N.
    """
    a = schedule.a.to(z_0)
    trajectory = [mask_latents(z_0, m)]
    for level in range(schedule.steps):
        z = trajectory[-1]
        if level % stride == 0:
            eps = mask_latents(denoise_background(z, level), m)
        trajectory.append(ddim_inversion_step(z, eps, a[level], a[level + 1]))
    return trajectory


def noised_background(z_0: Tensor, m: Tensor, eps: Tensor, schedule: Schedule) -> list[Tensor]:
    """The ablation of Eq. (8): the background noised forward with one fixed noise, not inverted.

    Args:
        z_0: (B, C, h, w) latents of the normal image.
        m: (B, 1, h, w) target mask in {0, 1}.
        eps: (B, C, h, w) Gaussian noise.
        schedule: the noise levels.

    Returns:
        N + 1 tensors (B, C, h, w), as `invert_background`: Eq. (6) and (7) at levels 1 to N, and at level 0
        the masked image itself.
    """
    noised = [add_noise(z_0, eps, a) for a in schedule.a.to(z_0)[1:]]
    return [mask_latents(z, m) for z in (z_0, *noised)]


def generate_defect(
    denoise_defect: Denoiser,
    denoise_background: Denoiser | None,
    trajectory: list[Tensor],
    m: Tensor,
    eps: Tensor,
    schedule: Schedule,
    background: Literal["replay", "predict"] = "replay",
    example: Tensor | None = None,
    solver: Literal["ddim", "dpm++2m"] = "ddim",
) -> Tensor:
    """Eq. (9). Generate a defect in the hole of an inverted background.

    Starts at ``z*_T = z~^m_T + m eps``. With `predict`, the paper's text: every step uses
    ``(1-m) eps_theta(z^m_t, t, C_2) + m eps_theta(z*_t, t, C_1)``.

    Differs from the paper: `replay` writes the inverted trajectory back into the background at each level
    in place of predicting it again. One network call a step in place of two, and the background lands on
    `z_0` exactly.

    Args:
        denoise_defect: eps_theta under C_1.
        denoise_background: eps_theta under C_2; not needed with `replay`.
        trajectory: what `invert_background` (or `noised_background`) returned.
        m: (B, 1, h, w) target mask in {0, 1}.
        eps: (B, C, h, w) Gaussian noise for the hole.
        schedule: the noise levels.
        background: `replay` or `predict`.
        example: (B, C, h, w) clean latents of a defect like the one wanted. The start is then
            ``z~^m_T + m z_T(example)`` (Eq. 1): with a schedule that ends before pure noise, the example's
            coarse look remains and its detail is made anew (SDEdit, Meng et al. 2022). None: the paper.
        solver: of the step: Eq. (3), or the second-order `dpm_solver_2m_step`, which gets by with fewer
            levels where they are spaced as by `even_in_log_snr`. Its first and last step are Eq. (3) too.

    Returns:
        (B, C, h, w) latents of the image with its defect.
    """
    a = schedule.a.to(eps)
    start = eps if example is None else a[-1].sqrt() * example + (1 - a[-1]).sqrt() * eps
    z, x_before = trajectory[-1] + m * start, None
    for level in range(schedule.steps, 0, -1):
        noise = m * denoise_defect(z, level)
        if background == "predict":
            if denoise_background is None:
                raise ValueError("background='predict' needs denoise_background.")
            noise = noise + mask_latents(denoise_background(mask_latents(z, m), level), m)
        if solver == "ddim":
            z = ddim_step(z, noise, a[level], a[level - 1])
        else:
            x_t = predicted_clean(z, noise, a[level])
            before = (None, None) if x_before is None or level == 1 else (x_before, a[level + 1])
            z, x_before = dpm_solver_2m_step(z, x_t, a[level], a[level - 1], *before), x_t
        if background == "replay":
            z = trajectory[level - 1] + m * z
    return z
