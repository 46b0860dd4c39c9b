"""DDIM, and the paper's Lemma 1 and Proposition 1 with oracle denoisers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from augment.functional.ddim import (
    Schedule,
    ddim_inversion_step,
    ddim_step,
    generate_defect,
    invert_background,
    make_schedule,
    noised_background,
)
from augment.functional.noising import add_noise

SHAPE = (2, 4, 8, 8)


@pytest.fixture
def scheduler():
    return DDIMScheduler(
        beta_schedule="scaled_linear", set_alpha_to_one=False, steps_offset=1, clip_sample=False
    )


@pytest.fixture
def schedule(scheduler):
    scheduler.set_timesteps(10)
    alphas, final = scheduler.alphas_cumprod, float(scheduler.final_alpha_cumprod)
    return make_schedule(alphas, final, scheduler.timesteps.tolist())


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(2)
    z_0, eps, direction = torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64)
    m = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    m[:, :, 2:5, 3:7] = 1
    return z_0, eps, direction, m


def nonlinear(direction):
    """A denoiser that depends on its input, its level and every position's neighbours."""

    def denoise(z, level):
        return torch.tanh(z.roll(1, dims=-1) * 0.3 + direction) * (1 + 0.01 * level)

    return denoise


def test_the_step_equals_diffusers(scheduler, scene):
    z, eps, *_ = scene
    scheduler.set_timesteps(20)
    for t in scheduler.timesteps.tolist():
        previous = t - 1000 // 20
        a_t = scheduler.alphas_cumprod[t].double()
        a_previous = (
            scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
        ).double()
        expected = scheduler.step(eps, t, z).prev_sample
        assert torch.allclose(ddim_step(z, eps, a_t, a_previous), expected, atol=1e-5)


def test_the_schedule_visits_what_diffusers_visits(scheduler, schedule):
    assert schedule.timesteps.tolist() == [0, *sorted(scheduler.timesteps.tolist())]
    assert torch.all(schedule.a[1:] < schedule.a[:-1])
    assert schedule.steps == 10


def test_inversion_undoes_the_step(schedule, scene):
    z, eps, *_ = scene
    a = schedule.a
    there = ddim_inversion_step(z, eps, a[3], a[4])
    assert torch.allclose(ddim_step(there, eps, a[4], a[3]), z, atol=1e-12)


def test_inversion_and_sampling_return_to_the_start(schedule, scene):
    """With an oracle whose noise does not change along the way (Prop. 1 with no inversion gap)."""
    z_0, eps, direction, m = scene
    oracle = lambda z, level: direction  # noqa: E731
    trajectory = invert_background(oracle, z_0, m, schedule)
    z = generate_defect(oracle, oracle, trajectory, m, eps, schedule, "predict")
    assert torch.allclose((1 - m) * z, (1 - m) * z_0, atol=1e-9)
    assert not torch.allclose(m * z, m * z_0)


def test_lemma_1_the_background_does_not_depend_on_the_defect(schedule, scene):
    """Two different defects, one background: bit for bit, in both modes."""
    z_0, eps, direction, m = scene
    background, trajectory = nonlinear(direction), None
    results = []
    for defect in (nonlinear(direction + 1), lambda z, level: 3 * torch.sin(z)):
        trajectory = invert_background(background, z_0, m, schedule)
        for mode in ("predict", "replay"):
            results.append((1 - m) * generate_defect(defect, background, trajectory, m, eps, schedule, mode))
    assert torch.equal(results[0], results[2]) and torch.equal(results[1], results[3])


def test_proposition_1_the_gap_is_that_of_inverting_the_background_alone(schedule, scene):
    """What Eq. (9) does to the background is what DDIM does to z^m with no defect about."""
    z_0, eps, direction, m = scene
    background = nonlinear(direction)
    trajectory = invert_background(background, z_0, m, schedule)
    with_defect = generate_defect(
        nonlinear(direction + 1), background, trajectory, m, eps, schedule, "predict"
    )
    z = trajectory[-1]
    for level in range(schedule.steps, 0, -1):
        z = ddim_step(z, (1 - m) * background(z, level), schedule.a[level], schedule.a[level - 1])
    assert torch.equal((1 - m) * with_defect, (1 - m) * z)
    assert (with_defect - z_0)[(1 - m).expand(SHAPE) > 0].abs().max() > 1e-3  # there is a gap


def test_replay_lands_on_the_source_exactly(schedule, scene):
    z_0, eps, direction, m = scene
    trajectory = invert_background(nonlinear(direction), z_0, m, schedule)
    z = generate_defect(nonlinear(-direction), None, trajectory, m, eps, schedule, "replay")
    assert torch.equal((1 - m) * z, (1 - m) * z_0)


def test_an_empty_mask_is_the_identity(schedule, scene):
    z_0, eps, direction, m = scene
    trajectory = invert_background(nonlinear(direction), z_0, 0 * m, schedule)
    z = generate_defect(nonlinear(-direction), None, trajectory, 0 * m, eps, schedule, "replay")
    assert torch.equal(z, z_0)


def test_generation_equals_a_literal_reference(schedule, scene):
    """Eq. (8) and (9) written out, one line after the other."""
    z_0, eps, direction, m = scene
    eps_1, eps_2 = nonlinear(direction + 1), nonlinear(direction)
    a = schedule.a
    z_m = (1 - m) * z_0
    for t in range(1, schedule.steps + 1):
        noise = (1 - m) * eps_2(z_m, t - 1)
        z_m = a[t].sqrt() * (
            z_m / a[t - 1].sqrt() + ((1 / a[t] - 1).sqrt() - (1 / a[t - 1] - 1).sqrt()) * noise
        )
    z = z_m + m * eps
    for t in range(schedule.steps, 0, -1):
        noise = (1 - m) * eps_2((1 - m) * z, t) + m * eps_1(z, t)
        z = a[t - 1].sqrt() * (z / a[t].sqrt() + ((1 / a[t - 1] - 1).sqrt() - (1 / a[t] - 1).sqrt()) * noise)
    trajectory = invert_background(eps_2, z_0, m, schedule)
    assert torch.allclose(trajectory[-1], z_m, atol=1e-12)
    assert torch.allclose(
        generate_defect(eps_1, eps_2, trajectory, m, eps, schedule, "predict"), z, atol=1e-12
    )


def test_prediction_needs_a_background_denoiser(schedule, scene):
    z_0, eps, direction, m = scene
    trajectory = invert_background(nonlinear(direction), z_0, m, schedule)
    with pytest.raises(ValueError, match="denoise_background"):
        generate_defect(nonlinear(direction), None, trajectory, m, eps, schedule, "predict")


def test_a_strided_inversion_calls_the_network_less_and_ends_near(schedule, scene):
    z_0, _, direction, m = scene
    denoise, calls = nonlinear(0.1 * direction), []

    def counted(z, level):
        calls.append(level)
        return denoise(z, level)

    literal = invert_background(denoise, z_0, m, schedule)[-1]
    strided = invert_background(counted, z_0, m, schedule, stride=4)
    assert calls == [0, 4, 8] and len(strided) == schedule.steps + 1
    assert not (strided[-1] * m).any()
    closer = invert_background(denoise, z_0, m, schedule, stride=2)[-1]
    assert (closer - literal).norm() < (strided[-1] - literal).norm() < 0.3 * literal.norm()


def test_an_example_survives_a_late_start_and_not_an_early_one(schedule, scene):
    """With a denoiser that only takes the noise out, the hole ends at the example from a late start."""
    z_0, eps, direction, m = scene
    oracle = lambda z, level: eps  # noqa: E731
    short = Schedule(schedule.timesteps[:5], schedule.a[:5])
    trajectory = invert_background(oracle, z_0, m, short)
    z = generate_defect(oracle, None, trajectory, m, eps, short, "replay", example=direction)
    a = short.a
    expected = direction * (a[0] / 1).sqrt() + (1 - a[0]).sqrt() * eps
    assert torch.allclose(z * m, expected * m, atol=1e-9)
    assert torch.allclose(z * (1 - m), z_0 * (1 - m), atol=1e-12)


def test_the_cleaner_end_of_a_schedule():
    scheduler = DDIMScheduler(num_train_timesteps=1000, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(20)
    alphas = scheduler.alphas_cumprod
    whole = make_schedule(alphas, float(scheduler.final_alpha_cumprod), scheduler.timesteps.tolist())
    same, short = whole.up_to(1.0, 20, alphas), whole.up_to(0.6, 12, alphas)
    assert torch.equal(same.timesteps, whole.timesteps) and torch.equal(same.a, whole.a)
    assert torch.equal(short.timesteps, whole.timesteps[:13]) and torch.equal(short.a, whole.a[:13])
    for share, steps in ((0.31, 13), (0.97, 13), (0.01, 1), (0.02, 4)):
        part = whole.up_to(share, steps, alphas)
        assert part.steps == steps and part.timesteps[1] == whole.timesteps[1]
        assert (part.timesteps.diff() > 0).all()
        assert abs(int(part.timesteps[-1]) - max(steps, 1000 * share - 49)) < 1
        assert torch.equal(part.a[1:], alphas.double()[part.timesteps[1:]])


def test_each_image_of_a_batch_may_have_its_own_levels(schedule, scene):
    """Inverting and generating a batch is inverting and generating each of its images."""
    z_0, eps, direction, m = (part[:2] for part in scene)
    alphas = torch.linspace(0.999, 0.01, 1000, dtype=torch.float64)
    whole = make_schedule(alphas, 0.9995, list(range(1, 1000, 111)))
    parts = [whole.up_to(share, 5, alphas) for share in (0.4, 0.9)]
    both = Schedule.of_each(parts)
    assert both.steps == 5 and torch.equal(both.rows(torch.tensor([1])).timesteps[:, 0], parts[1].timesteps)

    def denoiser(levels: Schedule):
        def denoise(z, level):
            t = levels.timesteps[level].double().reshape(-1, 1, 1, 1) / 1000
            return (1 - t) * z.tanh() + t * z.roll(1, dims=-1)

        return denoise

    def painted(levels, rows):
        trajectory = invert_background(denoiser(levels), z_0[rows], m[rows], levels, stride=2)
        start = direction[rows]
        return generate_defect(
            denoiser(levels), None, trajectory, m[rows], eps[rows], levels, "replay", start, solver="dpm++2m"
        )

    together = painted(both, slice(2))
    for row, levels in enumerate(parts):
        assert torch.allclose(together[row], painted(levels, slice(row, row + 1))[0], atol=1e-12)


def test_the_background_without_inversion_is_the_source_noised_by_one_noise(schedule, scene):
    z_0, eps, _, m = scene
    trajectory = noised_background(z_0, m, eps, schedule)
    assert len(trajectory) == schedule.steps + 1
    assert torch.equal(trajectory[0], (1 - m) * z_0)
    for level in (1, 4, schedule.steps):
        assert torch.equal(trajectory[level], (1 - m) * add_noise(z_0, eps, schedule.a[level]))
