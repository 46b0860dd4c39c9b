from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from augment.metrics.curves import Curve, detection_curves, thin
from augment.metrics.detection import detection_scores

ALL_POINTS = 10**6


def make_set(size=40, decimals=9):
    rng = np.random.default_rng(0)
    masks = np.zeros((8, size, size), dtype=bool)
    masks[:5, size // 8 : size // 2, size // 4 : size // 2] = masks[2, -5:-3, -9:-4] = True
    maps = np.round(rng.normal(size=masks.shape) + 1.5 * masks, decimals)
    return maps, masks, maps.max(axis=(1, 2)) + rng.normal(size=8), masks.any(axis=(1, 2))


def area(curve, limit=1.0):
    x = np.append(curve.x[curve.x <= limit], limit)
    return np.trapezoid(np.append(curve.y[curve.x <= limit], np.interp(limit, curve.x, curve.y)), x) / limit


def distance(vertices, line):
    """The largest distance of a vertex of one curve from the line of another."""
    start = np.stack([line.x[:-1], line.y[:-1]], axis=1)
    along = np.diff(np.stack([line.x, line.y], axis=1), axis=0)
    worst = 0.0
    for vertex in np.stack([vertices.x, vertices.y], axis=1):
        squares = np.maximum((along**2).sum(axis=1), 1e-30)
        share = np.clip(((vertex - start) * along).sum(axis=1) / squares, 0, 1)
        worst = max(worst, np.hypot(*(start + share[:, None] * along - vertex).T).min())
    return worst


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_areas_are_the_scores(decimals):
    test_set = make_set(decimals=decimals)
    scores = detection_scores(*test_set)
    curves = detection_curves(*test_set, points=ALL_POINTS)
    assert area(curves["pixel_roc"]) == pytest.approx(scores["pixel_auroc"], abs=1e-12)
    assert area(curves["image_roc"]) == pytest.approx(scores["image_auroc"], abs=1e-12)
    assert area(curves["pixel_pro"], 0.3) == pytest.approx(scores["pixel_aupro"], abs=1e-12)
    assert area(curves["pixel_pro"], 0.05) == pytest.approx(scores["pixel_aupro_05"], abs=1e-12)
    for kind in ("pixel", "image"):
        curve = curves[f"{kind}_pr"]
        assert np.diff(curve.x, prepend=0) @ curve.y == pytest.approx(scores[f"{kind}_ap"], abs=1e-12)


def test_precision_and_recall_are_those_of_scikit_learn():
    maps, masks, *rest = make_set(decimals=1)
    curve = detection_curves(maps, masks, *rest, points=ALL_POINTS)["pixel_pr"]
    precision, recall, thresholds = sk.precision_recall_curve(masks.ravel(), maps.ravel())
    anomalous = np.isin(thresholds, maps[masks])
    np.testing.assert_allclose(curve.x, recall[:-1][anomalous][::-1])
    np.testing.assert_allclose(curve.y, precision[:-1][anomalous][::-1])


@pytest.mark.parametrize("name", ["pixel_pr", "pixel_roc", "pixel_pro"])
def test_thinned_looks_the_same(name):
    test_set = make_set(size=100)
    full = detection_curves(*test_set, points=ALL_POINTS)[name]
    thinned = detection_curves(*test_set)[name]
    assert full.x.size > 2000 > 400 >= thinned.x.size
    assert set(zip(thinned.x, thinned.y, strict=True)) <= set(zip(full.x, full.y, strict=True))
    assert distance(full, thinned) < 0.001  # a plot 1000 pixels wide


def test_a_straight_line_needs_two_vertices_and_a_corner_one_more():
    line = Curve(np.linspace(0, 1, 1000), np.full(1000, 0.5))
    assert thin(line, 50).to_dict() == {"x": [0.0, 1.0], "y": [0.5, 0.5]}
    corner = Curve(
        np.concatenate([np.zeros(500), np.linspace(0, 1, 500)]), np.linspace(0, 1, 1000).clip(0, 0.5)
    )
    assert thin(corner, 3).x.tolist()[0::2] == [0.0, 1.0]
    assert distance(corner, thin(corner, 50)) < 1e-3


def test_short_curves_are_left_alone_and_curves_fit_into_json():
    curves = detection_curves(*make_set())
    assert curves["image_roc"].x[[0, -1]].tolist() == [0, 1]
    assert curves.keys() == {"pixel_pr", "pixel_roc", "pixel_pro", "image_pr", "image_roc"}
    for curve in curves.values():
        assert (np.diff(curve.x) >= 0).all()
        assert json.loads(json.dumps(curve.to_dict())) == {"x": [*curve.x], "y": [*curve.y]}
    with pytest.raises(ValueError, match="2 vertices"):
        thin(curves["pixel_pr"], 1)


def test_without_a_defect_there_is_nothing_to_draw():
    maps, masks, scores, labels = make_set()
    curves = detection_curves(maps, masks & False, scores, labels & False)
    assert all(curve.x.size == curve.y.size == 0 for curve in curves.values())
    curves = detection_curves(maps, masks | True, scores, labels | True)
    assert curves["pixel_roc"].x.size == curves["pixel_pro"].x.size == curves["image_roc"].x.size == 0
    assert set(curves["pixel_pr"].y) == set(curves["image_pr"].y) == {1.0}
