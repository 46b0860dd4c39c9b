"""DPM-Solver++(2M) against DDIM, diffusers' own solver, and an ODE whose solution is known."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from augment.functional.ddim import (
    ddim_step,
    even_in_log_snr,
    generate_defect,
    invert_background,
    make_schedule,
)
from augment.functional.solvers import dpm_solver_2m_step, half_log_snr, predicted_clean

SHAPE = (2, 4, 8, 8)
TRAINING = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)


ALPHAS = DDIMScheduler(**TRAINING).alphas_cumprod


def schedule_of(steps):
    scheduler = DDIMScheduler(**TRAINING, set_alpha_to_one=False, clip_sample=False)
    scheduler.set_timesteps(steps)
    alphas, final = scheduler.alphas_cumprod, float(scheduler.final_alpha_cumprod)
    return make_schedule(alphas, final, scheduler.timesteps.tolist())


def gaussian(spread):
    """The exact noise prediction where clean latents are N(0, spread^2), and its ODE's exact solution."""

    def denoise(z, a):
        return (1 - a).sqrt() * z / (a * spread**2 + 1 - a)

    def solution(z, a_start, a_end):
        return z * ((a_end * spread**2 + 1 - a_end) / (a_start * spread**2 + 1 - a_start)).sqrt()

    return denoise, solution


def sample(z, schedule, denoise, solver):
    """All of the latents as one hole: no background."""
    everywhere = torch.ones_like(z[:, :1])
    trajectory = [torch.zeros_like(z)] * (schedule.steps + 1)
    noise = lambda z, level: denoise(z, schedule.a[level].to(z))  # noqa: E731
    return generate_defect(noise, None, trajectory, everywhere, z, schedule, "replay", None, solver)


@pytest.fixture
def z():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_step_without_history_is_the_ddim_step(z):
    eps = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a_t, a_previous = torch.tensor([0.1, 0.3], dtype=torch.float64)
    step = dpm_solver_2m_step(z, predicted_clean(z, eps, a_t), a_t, a_previous)
    assert torch.allclose(step, ddim_step(z, eps, a_t, a_previous), atol=1e-12)
    to_clean = dpm_solver_2m_step(z, predicted_clean(z, eps, a_t), a_t, torch.ones_like(a_t))
    assert torch.allclose(to_clean, predicted_clean(z, eps, a_t), atol=1e-12)


def test_a_step_equals_diffusers(z):
    """Three steps of diffusers' multistep solver on its own levels; the second and third use history."""
    scheduler = DPMSolverMultistepScheduler(
        **TRAINING, algorithm_type="dpmsolver++", solver_order=2, lower_order_final=False
    )
    scheduler.set_timesteps(20)
    denoise, _ = gaussian(0.5)
    ours, theirs, before = z, z.clone(), (None, None)
    for number in range(3):
        t = scheduler.timesteps[number]
        sigma, next_sigma = scheduler.sigmas[number].double(), scheduler.sigmas[number + 1].double()
        a_t, a_previous = 1 / (1 + sigma**2), 1 / (1 + next_sigma**2)
        theirs = scheduler.step(denoise(theirs, a_t), t, theirs).prev_sample
        x_t = predicted_clean(ours, denoise(ours, a_t), a_t)
        ours, before = dpm_solver_2m_step(ours, x_t, a_t, a_previous, *before), (x_t, a_t)
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_it_ends_nearer_to_the_exact_solution_than_ddim_and_with_fewer_steps(z):
    denoise, solution = gaussian(0.5)

    def error(solver, steps):
        schedule = schedule_of(steps)
        if solver != "ddim":
            schedule = even_in_log_snr(schedule, ALPHAS)
        end = sample(z, schedule, denoise, solver)
        return float((end - solution(z, schedule.a[-1], schedule.a[0])).norm() / z.norm())

    assert error("dpm++2m", 10) < error("ddim", 50) < error("ddim", 10)
    assert error("dpm++2m", 20) < 0.35 * error("dpm++2m", 10)  # second order: about a quarter


@pytest.mark.parametrize("steps", [1, 2, 10, 50, 400])
def test_levels_even_in_log_snr_keep_their_ends_and_their_number(steps):
    before, after = schedule_of(steps), even_in_log_snr(schedule_of(steps), ALPHAS)
    assert after.steps == before.steps and after.a[0] == before.a[0]
    assert after.timesteps[1] == before.timesteps[1] and after.timesteps[-1] == before.timesteps[-1]
    assert all(a < b for a, b in zip(after.timesteps, after.timesteps[1:], strict=False))
    assert torch.equal(after.a[1:], ALPHAS.double()[after.timesteps[1:]])
    if steps == 10:
        gaps = half_log_snr(after.a[1:]).diff()
        assert gaps.max() / gaps.min() < 1.2  # as even as whole timesteps let them be


def test_replay_lands_on_the_source_exactly_with_it_too(z):
    schedule, m = schedule_of(8), torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    m[:, :, 2:5, 3:7] = 1
    denoise = lambda z, level: torch.tanh(z.roll(1, dims=-1))  # noqa: E731
    trajectory = invert_background(denoise, z, m, schedule)
    painted = generate_defect(denoise, None, trajectory, m, z.flip(0), schedule, "replay", None, "dpm++2m")
    assert torch.equal((1 - m) * painted, (1 - m) * z)
    assert not torch.allclose(m * painted, m * z)


def test_the_background_does_not_depend_on_the_defect_with_it_either(z):
    """Lemma 1, where the background is predicted again."""
    schedule, m = schedule_of(8), torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    m[:, :, 2:5, 3:7] = 1
    background = lambda z, level: torch.tanh(z.roll(1, dims=-1))  # noqa: E731
    trajectory = invert_background(background, z, m, schedule)
    painted = [
        (1 - m) * generate_defect(defect, background, trajectory, m, z, schedule, "predict", None, "dpm++2m")
        for defect in (lambda z, level: torch.sin(z), lambda z, level: z + 1)
    ]
    assert torch.equal(*painted)
