from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from augment.errors import TargetError
from augment.render.defects import crack
from augment.render.optics import flat
from augment.render.scene import DEFECTS, GOOD, KINDS, MISSING, render_scene

PAIRS = [(kind, defect) for kind in KINDS for defect in KINDS[kind].defects]


@pytest.mark.parametrize(("kind", "defect"), PAIRS)
def test_the_mask_is_exactly_where_the_picture_changes(kind: str, defect: str) -> None:
    for seed in range(2):
        scene = render_scene(np.random.default_rng(seed), 128, kind, defect)
        assert scene.image.shape == scene.clean.shape == (128, 128, 3)
        assert scene.image.dtype == scene.clean.dtype == np.uint8
        assert scene.mask.shape == (128, 128)
        assert scene.mask.dtype == bool
        assert (scene.category, scene.defect) == (kind, defect)
        outside = ~scene.mask
        np.testing.assert_array_equal(scene.image[outside], scene.clean[outside])
        assert scene.mask.any()
        assert scene.mask.mean() < 0.5
        change = np.abs(scene.image.astype(int) - scene.clean)[scene.mask].max(-1)
        assert change.mean() > 8, "most of the mask must be visibly changed"


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_every_defect_shows_on_dark_and_on_bright_materials(defect: str) -> None:
    for kind in ("leather", "ceramic tile", "screw"):
        for seed in range(3):
            scene = render_scene(np.random.default_rng([seed, 11]), 128, kind, defect)
            assert scene.mask.any(), (kind, seed)


def test_the_same_seed_gives_the_same_bytes() -> None:
    for seed in range(6):
        first, second = (render_scene(np.random.default_rng(seed), 128) for _ in range(2))
        assert (first.category, first.defect) == (second.category, second.defect)
        assert first.image.tobytes() == second.image.tobytes()
        assert first.clean.tobytes() == second.clean.tobytes()
        assert first.mask.tobytes() == second.mask.tobytes()
    assert first.image.tobytes() != render_scene(np.random.default_rng(99), 128).image.tobytes()


def test_rendering_leaves_the_global_random_state_alone() -> None:
    before = np.random.get_state()[1].copy()
    render_scene(np.random.default_rng(0), 64)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("kind", ["bottle", "circuit board", "wood"])
def test_the_clean_picture_does_not_depend_on_the_defect(kind: str) -> None:
    scenes = [
        render_scene(np.random.default_rng(4), 128, kind, defect) for defect in (GOOD, *KINDS[kind].defects)
    ]
    good = scenes[0]
    assert not good.mask.any()
    np.testing.assert_array_equal(good.image, good.clean)
    for scene in scenes[1:]:
        np.testing.assert_array_equal(scene.clean, good.clean)


def test_a_series_shares_its_design_but_not_its_specimens() -> None:
    def mean_colour(seed: int, series: int) -> np.ndarray:
        scene = render_scene(np.random.default_rng(seed), 128, "plastic", GOOD, series)
        return scene.image.reshape(-1, 3).mean(0)

    within = [mean_colour(seed, 3) for seed in range(4)]
    assert np.ptp(within, axis=0).max() < 6
    assert any((a != b).any() for a, b in pairwise(within))
    across = [mean_colour(seed, series) for seed, series in enumerate((3, 4, 5, 6))]
    assert np.ptp(across, axis=0).max() > 20


def test_a_missing_part_changes_one_place() -> None:
    for kind in (name for name in KINDS if KINDS[name].omits):
        for seed in range(3):
            mask = render_scene(np.random.default_rng(seed), 128, kind, MISSING).mask
            assert 0 < mask.mean() < 0.25, (kind, seed)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(TargetError, match=r"'botle'.*bottle"):
        render_scene(np.random.default_rng(0), kind="botle")
    with pytest.raises(TargetError, match=r"'scrach'.*scratch"):
        render_scene(np.random.default_rng(0), kind="wood", defect="scrach")
    with pytest.raises(TargetError, match="missing part"):
        render_scene(np.random.default_rng(0), kind="wood", defect=MISSING)


@pytest.mark.parametrize("size", [64, 97, 320])
def test_any_size_renders(size: int) -> None:
    for seed in range(4):
        scene = render_scene(np.random.default_rng(seed), size)
        assert scene.image.shape == (size, size, 3)
        assert scene.mask.any()


@pytest.mark.parametrize("kind", [name for name, entry in KINDS.items() if entry.bends])
def test_a_bent_component_stays_one_local_change(kind: str) -> None:
    for seed in range(2):
        scene = render_scene(np.random.default_rng(seed), 128, kind, "bend")
        assert scene.mask.any()
        assert scene.mask.mean() < 0.25, (kind, seed)
        good = render_scene(np.random.default_rng(seed), 128, kind, GOOD)
        np.testing.assert_array_equal(scene.clean, good.clean)


def test_cracks_run_along_the_grain() -> None:
    along = []
    for seed in range(16):
        material = flat(128, (0.5, 0.5, 0.5))
        cracked = crack(np.random.default_rng(seed), replace(material, grain=0.0), 1.0)
        rows, columns = np.nonzero(np.abs(cracked.albedo - material.albedo).max(2) > 0.1)
        along.append(np.ptp(columns) > np.ptp(rows))
    assert sum(along) >= 11


def test_a_kind_seen_by_a_monochrome_camera_has_no_colour() -> None:
    for kind in (name for name, entry in KINDS.items() if entry.grey):
        image = render_scene(np.random.default_rng(0), 96, kind).image
        assert (image == image[..., :1]).all()
