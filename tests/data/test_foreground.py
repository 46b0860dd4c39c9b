"""What is foreground in a category: decided, cached, overridden."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from augment.data import foreground as module
from augment.data.foreground import Foreground, find_foreground
from augment.data.images import list_images, read_image, write_png
from augment.data.layouts import read_category
from augment.data.poses import agreement, pose_of, upright
from augment.errors import DataError
from augment.recipe import MaskConfig
from augment.render import scene
from augment.render.sample import Series, render_dataset
from augment.resources import cache_folder

KINDS = {"bottle": 12, "brushed metal": 8, "screw": 3, "wood": 0, "ferrite tile": 0, "capsule": 1, "cable": 0}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Categories of 8 good images, and the parts' true masks, as `parts[kind][number]`."""
    parts = {}
    folder = tmp_path_factory.mktemp("rendered") / "sample"
    for kind, design in KINDS.items():
        drawn, build = [], scene.KINDS[kind].build

        def kept(*args, build=build, drawn=drawn, **options):
            material = build(*args, **options)
            drawn.append(material.part)
            return material

        patch = pytest.MonkeyPatch()
        patch.setitem(scene.KINDS, kind, scene.replace(scene.KINDS[kind], build=kept))
        render_dataset(folder, {kind: Series(kind, (), design)}, n_train=8, n_good=1, n_defect=0, size=192)
        patch.undo()
        parts[kind] = drawn
    return folder, parts


@pytest.fixture
def category_of(rendered, tmp_path):
    def read(kind):
        root = shutil.copytree(rendered[0] / kind, tmp_path / "sample" / kind)
        return read_category(root, "sample", None)

    return read


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Nothing is known from another test."""
    monkeypatch.setattr(module, "_found", {})
    monkeypatch.setenv("AUGMENT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["bottle", "screw", "capsule", "cable"])
def test_rendered_parts_are_found(kind, category_of, rendered):
    category = category_of(kind)
    found = find_foreground(category)
    assert found.is_object and found.is_aligned == (kind in ("bottle", "cable"))
    least = 0.8 if kind == "screw" else 0.93  # a screw's thread is narrower than the outline is sharp
    for sample, part in zip(category.train_good, rendered[1][kind], strict=False):
        mask = found.mask(read_image(sample.image), sample.image)
        assert mask.dtype == bool and agreement(mask, part) > least


@pytest.mark.parametrize("kind", ["brushed metal", "wood", "ferrite tile"])
def test_textures_fill_the_image(kind, category_of):
    category = category_of(kind)
    found = find_foreground(category)
    assert not found.is_object and "0 of 8 good images" in str(found)
    assert found.mask(np.zeros((30, 40), np.uint8)).all()


def test_real_sets(real_data):
    bottle = find_foreground(read_category(real_data / "mvtec" / "bottle", "mvtec", None))
    tile = find_foreground(read_category(real_data / "magnetic_tile" / "tile", "magnetic_tile", None))
    assert bottle.is_object and bottle.is_aligned and 0.6 < bottle.shares[1] < 0.66
    assert not tile.is_object


def test_a_part_is_mirrored_only_where_it_still_looks_like_one(category_of):
    assert find_foreground(category_of("bottle")).flips == (True, True)
    assert find_foreground(category_of("screw")).flips == (False, True)


def test_what_was_found_is_kept_until_an_image_changes(category_of, monkeypatch):
    category = category_of("bottle")
    found = find_foreground(category)
    (file,) = (cache_folder() / "foreground").iterdir()

    def again(*_):
        raise AssertionError("looked again")

    monkeypatch.setattr(module, "_estimate", again)
    for _ in range(2):
        monkeypatch.setattr(module, "_found", {})
        other = find_foreground(category)
        assert np.array_equal(other.usual, found.usual) and other.record() == found.record()
    write_png(category.train_good[0].image, read_image(category.train_good[0].image)[::-1])
    with pytest.raises(AssertionError, match="looked again"):
        find_foreground(category)
    assert file.exists()


def test_one_odd_image_gets_the_usual_place(category_of):
    found = find_foreground(category_of("bottle"))
    blank = np.full((192, 192), 250, dtype=np.uint8)
    assert agreement(found.mask(blank), found.usual) > 0.99


def test_none_turns_it_off(category_of):
    found = find_foreground(category_of("bottle"), "none")
    assert not found.is_object and found.record()["how"] == "turned off"


def own_masks(category, folder, name="{}.png"):
    for sample in category.train_good:
        mask = np.zeros(read_image(sample.image).shape[:2], dtype=bool)
        mask[40:120, 50:150] = True
        write_png(folder / name.format(sample.image.stem), mask)
    return folder


@pytest.mark.parametrize("name", ["{}.png", "{}_mask.png"])
def test_the_users_own_masks_are_used(name, category_of, tmp_path):
    category = category_of("wood")
    folder = own_masks(category, tmp_path / "own", name)
    found = find_foreground(category, str(folder))
    assert found.is_object and found.is_aligned and found.record()["folder"] == str(folder)
    image = category.train_good[0].image
    assert found.mask(read_image(image), image).sum() == 80 * 100
    elsewhere = found.mask(read_image(image))  # an image of the category without a mask: what is usual
    assert agreement(elsewhere, found.mask(read_image(image), image)) > 0.95


def test_the_users_own_masks_behind_an_image_are_its_own_and_those_of_what_is_usual(
    category_of, tmp_path, monkeypatch
):
    category = category_of("wood")
    found = find_foreground(category, str(own_masks(category, tmp_path)))
    images = [sample.image for sample in category.train_good]
    masks = [tmp_path / f"{image.stem}.png" for image in images]
    assert found.own_for(images[3]) == [masks[3], *masks[:3], *masks[4:]]
    monkeypatch.setattr(module, "_IMAGES", 2)
    assert found.own_for(images[3]) == [masks[3], masks[0], masks[-1]]
    assert find_foreground(category, "none").own_for(images[3]) == []


def test_folders_that_do_not_fit_are_errors(category_of, tmp_path):
    category = category_of("wood")
    for folder in (tmp_path / "no such", tmp_path):
        with pytest.raises(DataError, match="holds no masks"):
            find_foreground(category, str(folder))
    folder = own_masks(category, tmp_path / "own")
    list_images(folder)[0].unlink()
    with pytest.raises(DataError, match=r"lacks the masks of 1 of 8 good images, such as 000.png"):
        find_foreground(category, str(folder))
    write_png(folder / "000.png", np.ones((20, 20), dtype=bool))
    with pytest.raises(DataError, match=r"000.png is 20 x 20 pixels but its image is 192 x 192"):
        find_foreground(category, str(folder))


def test_the_setting_is_automatic():
    assert MaskConfig().foreground == module.AUTO
    assert str(Foreground(False, how="turned off")) == "the whole image is foreground (turned off)"


def test_poses():
    y, x = np.mgrid[:100, :140]
    bar = (np.abs(y - 40) < 6) & (np.abs(x - 60) < 30)
    pose = pose_of(bar)
    assert pose.centre == (60, 40) and pose.angle == 0
    head = bar | ((np.abs(y - 40) < 15) & (np.abs(x - 86) < 4))
    turned = [np.rot90(head, -quarter) for quarter in range(4)]  # clockwise
    angles = [pose_of(mask).angle % 360 for mask in turned]
    assert np.allclose(np.diff([*angles, angles[0] + 360]) % 360, 90)
    shapes = [upright(mask, 64) for mask in turned]
    assert min(agreement(shapes[0], shape) for shape in shapes) > 0.9
    disc = np.hypot(y - 50, x - 70) < 30
    assert pose_of(disc).angle == 0
