from __future__ import annotations

import pytest
import torch

from augment.functional.losses import disentangled_loss, min_snr_weight, naive_loss, region_error
from augment.functional.noising import add_noise, prediction_target


@pytest.fixture
def terms():
    generator = torch.Generator().manual_seed(1)
    target, defect, background = torch.randn(3, 2, 3, 4, 4, generator=generator)
    m = torch.zeros(2, 1, 4, 4)
    m[0, 0, 1, 2] = m[0, 0, 1, 3] = m[1, 0, 0, 0] = 1
    return target, defect, background, m


def literal(target, defect, background, m, region_weighting):
    """Eq. (5), cell by cell."""
    total = 0.0
    for b in range(len(target)):
        sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for c in range(3):
            for i in range(4):
                for j in range(4):
                    inside = bool(m[b, 0, i, j])
                    prediction = defect if inside else background
                    sums[inside] += float((target - prediction)[b, c, i, j]) ** 2
                    counts[inside] += 1
        if region_weighting == "paper":
            total += sum(sums.values()) / (3 * 4 * 4)
        else:
            total += sums[True] / counts[True] + sums[False] / counts[False]
    return total / len(target)


@pytest.mark.parametrize("region_weighting", ["balanced", "paper"])
def test_disentangled_loss_equals_a_literal_reference(terms, region_weighting):
    loss = disentangled_loss(*terms, region_weighting)
    assert float(loss) == pytest.approx(literal(*terms, region_weighting), rel=1e-5)


def test_each_term_sees_its_own_region_only(terms):
    target, defect, background, m = terms
    loss = disentangled_loss(target, defect, background, m)
    outside = disentangled_loss(target, defect + 5 * (1 - m), background + 5 * m, m)
    assert torch.equal(loss, outside)


def test_with_one_prediction_for_both_the_paper_weighting_is_the_naive_loss(terms):
    target, defect, _, m = terms
    both = disentangled_loss(target, defect, defect, m, "paper")
    assert float(both) == pytest.approx(float(naive_loss(target, defect)), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_region_counts_nothing(terms, value):
    target, defect, background, m = terms
    whole = torch.full_like(m, value)
    prediction = background if value == 0 else defect
    loss = disentangled_loss(target, defect, background, whole)
    assert float(loss) == pytest.approx(float(naive_loss(target, prediction)), rel=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("gamma", [0.5, 5.0])
def test_min_snr_is_one_weight_of_the_clean_latents_whatever_is_predicted(prediction_type, gamma):
    """Hang et al.'s formulas, and what they mean: min(SNR, gamma) times the squared error of z_0."""
    a_t = torch.tensor([0.9991, 0.9, 0.5, 0.1, 0.0047], dtype=torch.float64)
    found = min_snr_weight(a_t, gamma, prediction_type)
    for a, weight in zip(a_t.tolist(), found.tolist(), strict=True):
        snr = a / (1 - a)
        by_hand = {
            "epsilon": min(snr, gamma) / snr,
            "v_prediction": min(snr, gamma) / (snr + 1),
            "sample": min(snr, gamma),
        }
        assert weight == pytest.approx(by_hand[prediction_type])

    generator = torch.Generator().manual_seed(0)
    z_0, eps, wrong = torch.randn(3, 5, 1, 1, 1, generator=generator, dtype=torch.float64)
    a = a_t.view(-1, 1, 1, 1)
    z_t = add_noise(z_0, eps, a)
    target = prediction_target(z_0, eps, a, prediction_type)
    output = target + wrong
    if prediction_type == "epsilon":
        guess = (z_t - (1 - a).sqrt() * output) / a.sqrt()
    else:
        guess = output if prediction_type == "sample" else a.sqrt() * z_t - (1 - a).sqrt() * output
    snr = (a / (1 - a)).clamp(max=gamma)
    expected = (snr * (guess - z_0).square()).flatten()
    assert torch.allclose(found * (output - target).square().flatten(), expected)


def test_weights_count_row_by_row(terms):
    target, defect, _, m = terms
    weight = torch.tensor([0.5, 3.0])
    rows = [
        float(region_error(target[i : i + 1], defect[i : i + 1], m[i : i + 1], "balanced")) for i in (0, 1)
    ]
    found = region_error(target, defect, m, "balanced", weight)
    assert float(found) == pytest.approx((0.5 * rows[0] + 3 * rows[1]) / 2, rel=1e-5)
    rows = [float(naive_loss(target[i], defect[i])) for i in (0, 1)]
    assert float(naive_loss(target, defect, weight)) == pytest.approx(
        (0.5 * rows[0] + 3 * rows[1]) / 2, rel=1e-5
    )
