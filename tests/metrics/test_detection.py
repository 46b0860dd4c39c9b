from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sk

from augment.errors import DataError
from augment.metrics import operating_points as ranking
from augment.metrics.detection import (
    aupro,
    auroc,
    average_precision,
    detection_scores,
    f1_max,
)
from augment.metrics.operating_points import operating_points

TOLERANCE = 1e-10  # the references accumulate in another order; the scores themselves are exact


def literal_aupro(maps, masks, limit):
    """MVTec's definition, word for word: visit every distinct score, measure, integrate."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(index, labels == label) for label in range(1, count + 1)]
    background = np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)])
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        rates.append(np.mean(background >= threshold))
        overlaps.append(np.mean([np.mean(maps[index][region] >= threshold) for index, region in regions]))
        if rates[-1] >= limit:
            break
    area = 0.0
    for i in range(1, len(rates)):
        left, right = rates[i - 1], rates[i]
        if left >= limit:
            break
        end = min(right, limit)
        share = (end - left) / (right - left) if right > left else 0.0
        height = overlaps[i - 1] + share * (overlaps[i] - overlaps[i - 1])
        area += (end - left) * (overlaps[i - 1] + height) / 2
    return area / limit


def reference_scores(labels, scores):
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    return sk.roc_auc_score(labels, scores), sk.average_precision_score(labels, scores), f1.max()


def make_set(kind, seed=0, count=6, size=24):
    """Maps and masks: overlapping scores, some images good, two or three regions touching at corners."""
    rng = np.random.default_rng([seed, len(kind)])
    masks = np.zeros((count, size, size), dtype=bool)
    for mask in masks[: count - 2]:
        for _ in range(3):
            top, left = rng.integers(0, size - 5, 2)
            mask[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = True
    masks[0, 2, 2] = masks[0, 3, 3] = True  # one region under 8-connectivity, two under 4
    maps = rng.normal(size=masks.shape) + masks
    maps = {
        "random": lambda: maps,
        "float32": lambda: maps.astype(np.float32),
        "float16": lambda: maps.astype(np.float16),
        "tied": lambda: np.round(maps),
        "tied float32": lambda: np.round(maps).astype(np.float32),  # -0.0 ties with 0.0
        "saturated": lambda: np.clip(maps, 0.3, 0.6),
        "constant": lambda: np.full_like(maps, 7.0),
        "large": lambda: 40 + 10 * maps,
        "negative": lambda: maps - 1e3,
        "infinite": lambda: np.where(maps > 1.5, np.inf, np.where(maps < -1, -np.inf, maps)),
        "integers": lambda: np.round(maps * 3).astype(np.int64),
        "inverted": lambda: -maps,
    }[kind]()
    return maps, masks


KINDS = [
    "random",
    "float32",
    "float16",
    "tied",
    "tied float32",
    "saturated",
    "constant",
    "large",
    "negative",
    "infinite",
    "integers",
    "inverted",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_scores_equal_scikit_learn_and_a_literal_aupro(kind, limit):
    maps, masks = make_set(kind)
    labels = masks.any(axis=(1, 2))
    image_scores = maps.max(axis=(1, 2))
    scores = detection_scores(maps, masks, image_scores, labels, aupro_limit=limit)

    ranks = np.unique(maps, return_inverse=True)[1].reshape(maps.shape)  # scikit-learn refuses infinities
    auroc_, ap, f1 = reference_scores(masks.ravel(), ranks.ravel())
    assert scores["pixel_auroc"] == pytest.approx(auroc_, abs=TOLERANCE)
    assert scores["pixel_ap"] == pytest.approx(ap, abs=TOLERANCE)
    assert scores["pixel_f1"] == pytest.approx(f1, abs=TOLERANCE)
    assert scores["pixel_aupro"] == pytest.approx(literal_aupro(maps, masks, limit), abs=TOLERANCE)
    assert scores["pixel_aupro_05"] == pytest.approx(literal_aupro(maps, masks, 0.05), abs=TOLERANCE)

    auroc_, ap, f1 = reference_scores(labels, ranks.max(axis=(1, 2)))
    assert scores["image_auroc"] == pytest.approx(auroc_, abs=TOLERANCE)
    assert scores["image_ap"] == pytest.approx(ap, abs=TOLERANCE)
    assert scores["image_f1"] == pytest.approx(f1, abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_f1_threshold_gives_the_f1(kind):
    maps, masks = make_set(kind, seed=1)
    scores = detection_scores(maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2)))
    found = maps >= scores["pixel_f1_threshold"]
    assert sk.f1_score(masks.ravel(), found.ravel()) == pytest.approx(scores["pixel_f1"], abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_blocks_change_nothing(kind, monkeypatch):
    maps, masks = make_set(kind)
    inputs = maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2))
    whole = detection_scores(*inputs)
    monkeypatch.setattr(ranking, "_CHUNK", 2 * maps[0].size)  # 2 images at a time
    monkeypatch.setattr(ranking, "_BLOCK", 7)
    assert detection_scores(*inputs) == whole
    monkeypatch.setattr(ranking, "_CHUNK", 1)  # less than an image: one at a time
    assert detection_scores(*inputs) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_parts_change_nothing_but_the_rounding(kind, monkeypatch):
    maps, masks = make_set(kind)
    inputs = maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2))
    whole = detection_scores(*inputs)
    monkeypatch.setattr(ranking, "_PART", 5)  # of hundreds of anomalous scores
    assert detection_scores(*inputs) == pytest.approx(whole, rel=0, abs=1e-12)


def test_memory_stays_below_one_and_a_half_times_the_maps():
    rng = np.random.default_rng(0)
    masks = np.zeros((32, 256, 256), dtype=bool)
    masks[:, 100:157, 100:157] = True  # 5 %
    maps = rng.random(masks.shape, dtype=np.float32)  # hardly a tie: as many thresholds as anomalous pixels
    tracemalloc.start()
    detection_scores(maps, masks, masks.any(axis=(1, 2)), masks.any(axis=(1, 2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * maps.nbytes


def test_maps_may_lie_on_disk(tmp_path):
    maps, masks = make_set("float32")
    np.save(tmp_path / "maps.npy", maps)
    rest = masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2))
    from_disk = np.load(tmp_path / "maps.npy", mmap_mode="r")
    assert detection_scores(from_disk, *rest) == detection_scores(maps, *rest)


def test_images_of_several_sizes():
    rng = np.random.default_rng(3)
    masks = [np.pad(np.ones((3, 4), bool), pad) for pad in (2, 5, 9)]
    maps = [rng.normal(size=mask.shape) + 2 * mask for mask in masks]
    scores = detection_scores(maps, masks, [0, 1, 2], [True, False, True])
    labels = np.concatenate([mask.ravel() for mask in masks])
    values = np.concatenate([m.ravel() for m in maps])
    assert scores["pixel_ap"] == pytest.approx(sk.average_precision_score(labels, values), abs=TOLERANCE)
    assert scores["pixel_aupro"] == pytest.approx(literal_aupro(maps, masks, 0.3), abs=TOLERANCE)


def test_a_perfect_detector_scores_one():
    masks = np.zeros((2, 9, 9), dtype=bool)
    masks[0, 1:4, 1:4] = masks[0, 6:8, 6:8] = True
    scores = detection_scores(masks.astype(float), masks, [1.0, 0.0], [True, False])
    for name in ("auroc", "ap", "f1"):
        assert scores[f"image_{name}"] == scores[f"pixel_{name}"] == 1
    assert scores["pixel_aupro"] == pytest.approx(1, abs=1e-12)


def test_regions_count_alike_whatever_their_size():
    mask = np.zeros((20, 20), dtype=bool)
    mask[:10, :10] = True
    mask[15, 15] = True
    anomaly_map = np.zeros(mask.shape)
    anomaly_map[:10, :10] = 1  # the large region is found at once, the single pixel never
    scores = detection_scores([anomaly_map], [mask], [1.0], [True], aupro_limit=1.0)
    assert scores["pixel_aupro"] == pytest.approx(0.5 + 0.5 / 2, abs=TOLERANCE)  # 1/2, then a line up to 1


def test_empty_classes():
    nothing, everything = np.empty(0), np.array([0.2, 0.8])
    no_defect = operating_points(nothing, everything.copy())
    assert all(
        np.isnan(value) for value in (auroc(no_defect), average_precision(no_defect), aupro(no_defect))
    )
    assert all(np.isnan(f1_max(no_defect)))
    no_background = operating_points(everything, nothing)
    assert np.isnan(auroc(no_background)) and np.isnan(aupro(no_background))
    assert average_precision(no_background) == 1
    assert f1_max(no_background) == (1.0, 0.2)


def test_a_test_set_without_defects_or_without_anything():
    scores = detection_scores(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool), [0.1, 0.2], [False, False])
    assert all(np.isnan(value) for value in scores.values())
    assert all(np.isnan(value) for value in detection_scores([], [], [], []).values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])  # the bits of 0 / 0 carry a minus on some machines
@pytest.mark.parametrize("defective", [True, False])
def test_nan_is_an_error(defective, sign, dtype):
    masks = np.zeros((1, 4, 4), dtype=bool)
    masks[0, 0, :2] = True
    maps = np.zeros(masks.shape, dtype)
    maps[0, 0, 1 if defective else 2] = np.copysign(np.nan, sign)
    with pytest.raises(DataError, match="NaN"):
        detection_scores(maps, masks, [0.0], [True])


def test_wrong_shapes_and_limits_are_errors():
    with pytest.raises(DataError, match=r"\(4, 4\).*\(3, 4\)"):
        detection_scores([np.zeros((4, 4))], [np.zeros((3, 4))], [0.0], [False])
    with pytest.raises(DataError, match="one map, mask, score and label"):
        detection_scores([np.zeros((4, 4))], [np.zeros((4, 4))], [0.0, 1.0], [False])
    for limit in (0.0, 1.5):
        with pytest.raises(ValueError, match="limit"):
            aupro(operating_points(np.ones(1), np.zeros(1)), limit)


def test_inputs_are_left_alone():
    maps, masks = make_set("random")
    before = maps.copy()
    detection_scores(maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2)))
    np.testing.assert_array_equal(maps, before)
