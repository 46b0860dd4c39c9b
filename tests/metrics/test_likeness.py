from __future__ import annotations

import cv2
import numpy as np
import pytest

from augment.metrics.likeness import describe, distances, near_copies


def defect(seed: int, kind: str, size: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A grey surface with a dark line, bright blob or dark arc of random place and form, and its mask."""
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(120, 2, (size, size, 3)), 0, 255).astype(np.uint8)
    drawn = np.zeros((size, size), np.uint8)
    x, y = (int(v) for v in rng.integers(60, 100, 2))
    if kind == "line":
        dx, dy = (int(v) for v in rng.integers(-35, 35, 2))
        cv2.line(drawn, (x, y), (x + dx, y + dy), 255, int(rng.integers(3, 9)))
    elif kind == "blob":
        axes = tuple(int(v) for v in rng.integers(8, 30, 2))
        cv2.ellipse(drawn, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    else:
        start, axes = float(rng.uniform(0, 360)), tuple(int(v) for v in rng.integers(10, 32, 2))
        cv2.ellipse(drawn, (x, y), axes, start, 0, float(rng.uniform(90, 330)), 255, 5)
    colour = {"line": (30, 30, 30), "blob": (220, 200, 160), "arc": (60, 20, 20)}[kind]
    image[drawn > 0] = np.clip(np.array(colour) + rng.integers(-15, 15), 0, 255)
    return image, cv2.dilate(drawn, np.ones((5, 5))) > 0


def test_a_defect_is_no_distance_from_itself_nor_from_its_mirror_images():
    image, mask = defect(0, "line")
    found = describe(image, mask)
    assert found.shape[0] == 4
    assert distances(found, [found]) == pytest.approx([0], abs=1e-6)
    for axis in (0, 1):
        mirrored = describe(np.flip(image, axis).copy(), np.flip(mask, axis).copy())
        assert distances(mirrored, [found])[0] < 0.05


@pytest.mark.parametrize("kind", ["line", "blob", "arc"])
def test_copies_are_nearer_than_any_other_defect(kind):
    others = [defect(seed, other) for seed in range(1, 5) for other in ("line", "blob", "arc")]
    found = [describe(*pair) for pair in others]
    image, mask = defect(9, kind)
    original = describe(image, mask)
    apart = distances(original, found).min()
    for copy in near_copies(image, mask, np.random.default_rng(0), 6):
        near = distances(copy, [*found, original])
        assert near.argmin() == len(found) and near[-1] < apart
    # ... also one pasted onto another surface elsewhere, with noise, as a memorised defect would be
    rng = np.random.default_rng(3)
    pasted = np.clip(rng.normal(128, 2, image.shape), 0, 255).astype(np.uint8)
    moved, there = (np.roll(array, (13, -9), (0, 1)) for array in (image, mask))
    pasted[there] = np.clip(moved[there].astype(int) + rng.normal(0, 3, (there.sum(), 3)), 0, 255)
    near = distances(describe(pasted, there), [*found, original])
    assert near.argmin() == len(found) and near[-1] < apart


def test_kinds_are_further_apart_than_size_of_the_image_makes_them():
    image, mask = defect(2, "blob")
    original = describe(image, mask)
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    wide = cv2.resize(mask.astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST) > 0
    assert distances(describe(large, wide), [original])[0] < 0.15
    assert distances(describe(*defect(2, "line")), [original])[0] > 0.5


def test_masks_at_a_corner_of_one_pixel_or_of_all_of_it_can_be_described():
    image = np.full((40, 50), 90, np.uint8)
    for rows, columns in (
        (slice(0, 1), slice(0, 1)),
        (slice(30, 40), slice(20, 50)),
        (slice(None), slice(None)),
    ):
        mask = np.zeros(image.shape, dtype=bool)
        mask[rows, columns] = True
        found = describe(image, mask)
        assert np.isfinite(found).all()
        assert all(np.isfinite(copy).all() for copy in near_copies(image, mask, np.random.default_rng(0), 2))
    assert distances(found, []).shape == (0,)
