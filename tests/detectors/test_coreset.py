from __future__ import annotations

import torch

from augment.detectors.coreset import farthest_points
from augment.progress import no_progress


def test_each_choice_is_the_farthest_from_those_before():
    points = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) + 30
    chosen = farthest_points(points, 12, 7, no_progress)
    assert chosen[0] == 7 and len(set(chosen)) == 12
    distances = torch.cdist(points.double(), points.double())
    for count in range(1, 12):
        assert chosen[count] == int(distances[:, chosen[:count]].amin(dim=1).argmax())


def test_the_choice_is_anomalibs(monkeypatch):
    from anomalib.models.components.sampling import KCenterGreedy

    points = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    theirs = KCenterGreedy(points, sampling_ratio=0.1)
    monkeypatch.setattr(theirs.model, "fit", lambda embedding: None)
    monkeypatch.setattr(theirs.model, "transform", lambda embedding: embedding)
    expected = theirs.select_coreset_idxs()
    assert farthest_points(points, 20, expected[0], no_progress) == expected


def test_points_that_are_alike_are_chosen_once_each():
    assert sorted(farthest_points(torch.ones(5, 3), 5, 2, no_progress)) == [0, 1, 2, 3, 4]
    assert farthest_points(torch.ones(5, 3), 1, 4, no_progress) == [4]
