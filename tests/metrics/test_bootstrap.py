from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from augment.errors import DataError
from augment.metrics import bootstrap
from augment.metrics.bootstrap import SCORES, Interval, MapSet, draw, paired_bootstrap, verdict
from augment.metrics.detection import detection_scores

EXACT = 1e-12  # the same counts, summed in another order
KINDS = ("crack", "crack", "crack", "hole", "hole", "good", "good", "good")


def make_set(seed, signal, kinds=KINDS, size=12, decimals=1):
    """A test set whose defects stand out by `signal`; rounded, many scores tie."""
    rng = np.random.default_rng([5, len(kinds)])
    masks = np.zeros((len(kinds), size, size), dtype=bool)
    for mask, kind in zip(masks, kinds, strict=True):
        if kind != "good":
            for _ in range(2):
                top, left = rng.integers(0, size * 2 // 3, 2)
                height, width = rng.integers(1, size // 3 + 1, 2)
                mask[top : top + height, left : left + width] = True
    noise = np.random.default_rng([seed, len(kinds)]).normal(size=masks.shape)
    maps = np.round(noise + signal * masks, decimals)
    return MapSet(maps, masks, maps.max(axis=(1, 2)), [kind != "good" for kind in kinds], kinds)


def brute_force(pairs, groups, resamples, seed, level):
    """Score every resampled list of images anew."""
    generator = np.random.default_rng(seed)
    times = {}
    differences = []
    for pair, group in zip(pairs, groups, strict=True):
        if group not in times:
            times[group] = draw(pair[0].strata, resamples, generator).astype(int)
        arms = []
        for test_set in pair:
            rows = []
            for row in times[group]:
                drawn = np.repeat(np.arange(row.size), row)
                columns = (test_set.maps, test_set.masks, test_set.image_scores, test_set.image_labels)
                scores = detection_scores(*([column[i] for i in drawn] for column in columns))
                rows.append([scores[name] for name in SCORES])
            arms.append(np.array(rows))
        differences.append(arms[1] - arms[0])
    mean = np.mean(differences, axis=0)
    ends = np.nanquantile(mean[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (mean[0, i], ends[0, i], ends[1, i]) for i, name in enumerate(SCORES)}


def two_folds_of_two_seeds():
    other = ("crack", "hole", "hole", "hole", "good", "good", "good")
    pairs = [
        (make_set(10 * fold + seed, 0.9, kinds), make_set(10 * fold + seed + 5, 1.4, kinds))
        for fold, kinds in enumerate((KINDS, other))
        for seed in range(2)
    ]
    return pairs, [0, 0, 1, 1]


def test_equals_scoring_each_resample_anew():
    pairs, groups = two_folds_of_two_seeds()
    found = paired_bootstrap(pairs, resamples=60, seed=4, level=0.8, groups=groups)
    expected = brute_force(pairs, groups, resamples=60, seed=4, level=0.8)
    assert found.keys() == set(SCORES)
    for name in SCORES:
        assert dataclasses.astuple(found[name]) == pytest.approx(expected[name], abs=EXACT), name
        assert found[name].low <= found[name].high


def test_resamples_with_nothing_to_find_are_left_out():
    pair = make_set(1, 0.9), make_set(2, 1.4)
    for test_set in pair:
        test_set.masks[1:5] = False  # one crack is left, and a third of the resamples lack it
    found = paired_bootstrap([pair], resamples=60, level=0.8)
    expected = brute_force([pair], [0], resamples=60, seed=0, level=0.8)
    assert np.count_nonzero(draw(KINDS, 60, np.random.default_rng(0))[:, 0] == 0) > 5
    for name in SCORES:
        assert dataclasses.astuple(found[name]) == pytest.approx(expected[name], abs=EXACT), name


def test_a_coarse_grid_moves_the_interval_little_and_the_difference_not_at_all(monkeypatch):
    pairs = [(make_set(1, 0.9, size=40, decimals=9), make_set(2, 1.4, size=40, decimals=9))]
    exact = paired_bootstrap(pairs, resamples=200)
    assert pairs[0][0].masks.sum() > 500
    monkeypatch.setattr(bootstrap, "_GRID", 200)
    coarse = paired_bootstrap(pairs, resamples=200)
    for name in SCORES:
        assert coarse[name].difference == exact[name].difference
        width = exact[name].high - exact[name].low
        assert coarse[name].low == pytest.approx(exact[name].low, abs=0.03 * width + EXACT), name
        assert coarse[name].high == pytest.approx(exact[name].high, abs=0.03 * width + EXACT), name


def test_the_same_maps_differ_by_exactly_nothing():
    pairs, groups = two_folds_of_two_seeds()
    found = paired_bootstrap([(base, base) for base, _ in pairs], resamples=50, groups=groups)
    assert set(found.values()) == {Interval(0.0, 0.0, 0.0)}
    assert verdict(found["pixel_ap"]) == "no evidence"


def test_a_better_training_helps_and_swapped_it_hurts():
    better = [(make_set(seed, 0.5), make_set(seed, 3.0)) for seed in range(3)]
    helps = paired_bootstrap(better, resamples=200)
    hurts = paired_bootstrap([(candidate, base) for base, candidate in better], resamples=200)
    for name in ("pixel_ap", "pixel_auroc", "pixel_aupro", "pixel_f1"):
        assert (verdict(helps[name]), verdict(hurts[name])) == ("helps", "hurts")
        assert hurts[name].difference == pytest.approx(-helps[name].difference, abs=EXACT)
        assert (hurts[name].low, hurts[name].high) == pytest.approx(
            (-helps[name].high, -helps[name].low), abs=EXACT
        )


def test_the_same_seed_gives_the_same_numbers():
    pairs, groups = two_folds_of_two_seeds()
    first = paired_bootstrap(pairs, resamples=50, seed=3, groups=groups)
    assert first == paired_bootstrap(pairs, resamples=50, seed=3, groups=groups)
    assert first != paired_bootstrap(pairs, resamples=50, seed=4, groups=groups)


def test_a_resample_keeps_the_number_of_each_kind():
    times = draw(KINDS, 500, np.random.default_rng(0))
    assert times.shape == (501, len(KINDS))
    assert (times[0] == 1).all()
    for kind in set(KINDS):
        members = np.equal(KINDS, kind)
        assert (times[:, members].sum(axis=1) == members.sum()).all()
    assert times[1:].mean(axis=0) == pytest.approx(np.ones(len(KINDS)), abs=0.2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    kinds = ("crack",) * 20 + ("good",) * 20
    labels = np.equal(kinds, "crack")
    maps = np.zeros((len(kinds), 1, 1))
    hits = 0
    for _ in range(100):  # two detectors equally good: the truth is 0
        arms = [
            MapSet(maps, labels[:, None, None], rng.normal(size=labels.size) + labels, labels, kinds)
            for _ in range(2)
        ]
        interval = paired_bootstrap([tuple(arms)], resamples=100, level=0.9)["image_auroc"]
        hits += interval.low <= 0 <= interval.high
    assert 0.81 <= hits / 100 <= 0.99  # 0.9, three standard errors either way


def test_without_good_images_only_what_they_define_is_undefined():
    kinds = ("crack", "crack", "hole")
    found = paired_bootstrap([(make_set(1, 0.5, kinds), make_set(2, 1.5, kinds))], resamples=30)
    assert all(np.isnan(value) for value in dataclasses.astuple(found["image_auroc"]))
    assert verdict(found["image_auroc"]) == "no evidence"
    assert found["image_ap"] == Interval(0.0, 0.0, 0.0)
    assert found["pixel_ap"].difference > 0


def test_without_a_defect_everything_is_undefined():
    nothing = make_set(1, 0.0, ("good", "good"))
    found = paired_bootstrap([(nothing, nothing)], resamples=10)
    assert all(np.isnan(value).all() for value in map(dataclasses.astuple, found.values()))


def test_other_images_are_errors():
    base, candidate = make_set(1, 0.5), make_set(2, 1.5)
    other = make_set(3, 1.5, ("crack",) * 5 + ("good",) * 3)
    with pytest.raises(DataError, match="same test images"):
        paired_bootstrap([(base, other)])
    with pytest.raises(DataError, match="group"):
        paired_bootstrap([(base, candidate), (other, other)])
    with pytest.raises(DataError, match="group"):
        paired_bootstrap([(base, candidate)], groups=[0, 1])
    with pytest.raises(DataError, match="strata"):
        paired_bootstrap([(dataclasses.replace(base, strata=["good"]), candidate)])
    with pytest.raises(DataError, match="pairs"):
        paired_bootstrap([])
    for wrong in ({"resamples": 0}, {"level": 1.0}):
        with pytest.raises(ValueError, match="resample"):
            paired_bootstrap([(base, candidate)], **wrong)
