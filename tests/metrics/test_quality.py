from __future__ import annotations

import cv2
import numpy as np
import pytest

from augment.metrics.quality import (
    change_of,
    raggedness_of,
    seam_of,
    touched_outside,
    view_around,
    visible_from,
)


def surface(size: int = 120, grain: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(120, grain, (size, size, 3)), 0, 255).round().astype(np.uint8)


def disc(size: int = 120, radius: int = 20) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return y**2 + x**2 <= radius**2


def painted(source: np.ndarray, mask: np.ndarray, change: float) -> np.ndarray:
    result = source.copy()
    result[mask] = np.clip(result[mask].astype(int) + change, 0, 255)
    return result


def test_a_change_that_fills_the_mask_covers_it_and_one_that_fills_half_does_not():
    source, mask = surface(), disc()
    half = mask.copy()
    half[:, :60] = False
    full, part, none = (
        change_of(view_around(painted(source, where, -40), source, mask))
        for where in (mask, half, mask & ~mask)
    )
    assert full[0] > 0.9 and full[1] > 5
    assert 0.4 < part[0] < 0.6 and full[1] > part[1] > 1
    assert none == (0.0, 0.0)


def test_what_is_seen_depends_on_the_grain_of_the_surface():
    calm, restless = (visible_from(surface(grain=grain).astype(np.float32)) for grain in (0.5, 40.0))
    assert (calm, restless) == (4.0, 10.0)
    source, mask = surface(grain=1.0), disc()
    assert change_of(view_around(painted(source, mask, 7), source, mask))[0] > 0.9
    source = surface(grain=25.0)
    assert change_of(view_around(painted(source, mask, 7), source, mask))[0] < 0.2


def test_a_view_is_shrunk_around_the_mask_and_an_even_change_of_light_is_taken_off():
    source, mask = surface(900), disc(900, 300)
    view = view_around(painted(source, mask, -50), source, mask)
    assert max(view.mask.shape) == 320 and view.shown.shape == (*view.mask.shape, 3)
    brighter = np.clip(source.astype(int) + 30, 0, 255).astype(np.uint8)
    assert change_of(view_around(painted(brighter, mask, -50), source, mask))[1] == pytest.approx(
        change_of(view)[1], rel=0.05
    )
    tiny = np.zeros((900, 900), dtype=bool)
    tiny[450, 450] = True
    assert view_around(source, source, tiny).mask.sum() == 1
    assert view_around(source[..., 0], source[..., 0], mask).shown.shape[2] == 3


def test_a_hard_border_has_a_seam_and_a_soft_one_less():
    source, mask = surface(grain=1.0), disc()
    hard = painted(source, mask, -40)
    weight = cv2.GaussianBlur(disc(radius=12).astype(np.float32), (0, 0), 4)[..., None] * mask[..., None]
    soft = np.rint(source - 40 * weight).astype(np.uint8)
    seams = [seam_of(view_around(image, source, mask)) for image in (source, soft, hard)]
    assert seams[0] == 0 and seams[1] < 0.12 < 0.2 < seams[2]
    whole = np.ones((40, 40), dtype=bool)
    assert seam_of(view_around(hard[:40, :40], source[:40, :40], whole)) == 0


def test_pixels_outside_the_mask_are_counted_each_once():
    source, mask = surface(), disc()
    result = painted(source, mask, -40)
    assert touched_outside(result, source, mask) == 0
    result[0, 0] += 1
    result[0, 1, 2] += 1
    assert touched_outside(result, source, mask) == 2
    assert touched_outside(result[..., 0], source[..., 0], mask) == 1


def test_shreds_are_ragged():
    shreds = disc(radius=40) & (np.indices((120, 120)).sum(axis=0) % 12 < 5)
    assert raggedness_of(disc(radius=40)) == pytest.approx(1.05, abs=0.1)
    assert raggedness_of(shreds) > 3
