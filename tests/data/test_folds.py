from __future__ import annotations

from pathlib import Path

import pytest

from augment.data.folds import folds_of, split
from augment.data.sample import Sample
from augment.errors import DataError


def samples(n):
    return tuple(Sample(Path(f"{i:03}.png"), Path(f"{i:03}_mask.png"), "crack") for i in range(n))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 21])
@pytest.mark.parametrize("protocol", ["two-fold", "third"])
def test_a_fold_is_disjoint_covers_all_and_keeps_the_order(n, protocol):
    for fold in folds_of(protocol):
        parts = split(samples(n), protocol, fold)
        assert parts.fit and parts.test
        assert not set(parts.fit) & set(parts.test)
        assert sorted(parts.fit + parts.test, key=lambda s: s.image) == list(samples(n))
        assert list(parts.fit) == sorted(parts.fit, key=lambda s: s.image)


@pytest.mark.parametrize("n", [2, 3, 10, 21])
def test_two_folds_are_each_others_reverse(n):
    first, second = (split(samples(n), "two-fold", fold) for fold in folds_of("two-fold"))
    assert (first.fit, first.test) == (second.test, second.fit)
    assert len(first.fit) == n // 2
    assert first.fit == samples(n)[: n // 2]


@pytest.mark.parametrize(("n", "fit"), [(2, 1), (3, 1), (5, 1), (6, 2), (20, 6), (22, 7)])
def test_third_fits_on_the_first_floor_of_n_over_3(n, fit):
    parts = split(samples(n), "third", 0)
    assert parts.fit == samples(n)[:fit]
    assert len(parts.test) == n - fit


def test_all_holds_nothing_out():
    parts = split(samples(5), "third", "all")
    assert (parts.fit, parts.test) == (samples(5), ())


def test_one_single_image():
    with pytest.raises(DataError, match=r"000\.png is the only image of 'crack'.*--fold all"):
        split(samples(1), "two-fold", 0)
    assert split(samples(1), "two-fold", "all").fit == samples(1)


def test_no_images():
    with pytest.raises(DataError, match="no images"):
        split((), "two-fold", "all")


@pytest.mark.parametrize(("protocol", "fold"), [("two-fold", 2), ("third", 1), ("third", -1)])
def test_a_fold_the_protocol_lacks(protocol, fold):
    with pytest.raises(DataError, match=rf"'{protocol}' has no fold {fold}: choose 0.* or all"):
        split(samples(9), protocol, fold)
