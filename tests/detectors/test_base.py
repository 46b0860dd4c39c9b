from __future__ import annotations

import numpy as np
import pytest

from augment.data.sample import Sample
from augment.detectors.base import checkpoint_steps, choose_good
from augment.errors import TargetError
from augment.registry import DETECTORS


@pytest.mark.parametrize(
    ("steps", "checks", "expected"),
    [(12, 3, {4, 8, 12}), (10, 4, {2, 5, 8, 10}), (7, 1, {7}), (5, 0, set()), (2, 5, {1, 2})],
)
def test_checkpoints_are_spread_evenly_and_end_with_the_last_step(steps, checks, expected):
    assert checkpoint_steps(steps, checks) == expected


@pytest.mark.parametrize("steps", [50, 51, 240, 12600])
def test_there_are_as_many_checkpoints_as_asked_for(steps):
    for checks in range(1, 50):
        assert len(checkpoint_steps(steps, checks)) == checks


def test_good_images_are_drawn_by_the_seed_and_keep_their_order(tmp_path):
    good = [Sample(tmp_path / f"{i}.png", None, "good") for i in range(9)]
    drawn = choose_good(good, 4, np.random.default_rng(0))
    assert len(drawn) == 4 and drawn == sorted(drawn, key=good.index)
    assert drawn == choose_good(good, 4, np.random.default_rng(0))
    assert drawn != choose_good(good, 4, np.random.default_rng(1))
    for count in (None, 9, 20):
        assert choose_good(good, count, np.random.default_rng(0)) == good


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("simplenet", "supersimplenet"),
        ("winclip", "no training"),
        ("ganomaly", "without a map"),
        ("patchcor", "Did you mean patchcore"),
    ],
)
def test_a_detector_that_is_not_there_is_explained(name, words):
    with pytest.raises(TargetError, match=words):
        DETECTORS.get(name)


def test_every_help_line_says_what_a_detector_learns_from_and_needs():
    for name, text in DETECTORS.entries().items():
        assert "good images" in text or "uses anomalies" in text, name
        assert "download" in text, name
