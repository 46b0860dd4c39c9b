from __future__ import annotations

import pytest
import torch

from augment.functional.losses import disentangled_loss, naive_loss


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
