"""Masks carried from one part to another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from augment.data.moves import STAY, move_between
from augment.data.poses import agreement
from augment.data.target_place import STILL, target_place

Y, X = np.mgrid[:120, :160]
HEAD = (np.abs(Y - 60) < 14) & (np.abs(X - 104) < 6)
SCREW = ((np.abs(Y - 60) < 5) & (np.abs(X - 80) < 28)) | HEAD


def turned(mask, degrees, right=0, down=0, scale=1.0):
    matrix = cv2.getRotationMatrix2D((79.5, 59.5), degrees, scale)
    matrix[:, 2] += right, down
    return cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (160, 120)) >= 128


@pytest.mark.parametrize("degrees", [0, 35, 90, 160, 215, 300])
def test_a_defect_of_the_head_lies_on_the_head_however_the_part_lies(degrees):
    there, here = turned(SCREW, 70, 5, -3), turned(SCREW, degrees, -12, 8)
    move = move_between(there, here, (False, True))
    place = target_place([turned(HEAD, 70, 5, -3)], here.shape, STILL, np.random.default_rng(0), move)
    assert agreement(place.mask, turned(HEAD, degrees, -12, 8)) > 0.75
    training = np.zeros((120, 160, 3), np.uint8)
    training[turned(HEAD, 70, 5, -3)] = 200
    moved = place.moved(training, np.zeros_like(training))[..., 0] > 100
    assert agreement(moved, place.mask) > 0.75  # the image is carried along


def test_sizes_follow_within_reason():
    small = target_place(
        [HEAD], HEAD.shape, STILL, np.random.default_rng(0),
        move_between(SCREW, turned(SCREW, 0, scale=0.9), (True, True)),
    ).mask  # fmt: skip
    assert 0.75 < small.sum() / HEAD.sum() < 0.95
    tiny = move_between(SCREW, turned(SCREW, 0, scale=0.4), (True, True))
    assert np.linalg.norm(tiny.matrix[:, 0]) == pytest.approx(0.8)


def test_staying_changes_nothing():
    rng = np.random.default_rng
    before = target_place([HEAD], HEAD.shape, STILL, rng(3))
    assert np.array_equal(target_place([HEAD], HEAD.shape, STILL, rng(3), STAY).mask, before.mask)
