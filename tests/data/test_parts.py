from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from augment.data import parts as module
from augment.data.folds import folds_of, split, split_defect
from augment.data.images import read_image, write_png
from augment.data.layouts import read_category
from augment.data.parts import good_parts_in_both, part_groups
from augment.data.targets import resolve_categories
from augment.errors import DataError
from augment.recipe import ProtocolConfig
from augment.render.sample import Series, render_dataset
from augment.resources import cache_folder

TWO_FOLD, THIRD = ProtocolConfig(), ProtocolConfig("third")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Bottles of one design: 10 good, 2 good to test on, 8 chipped and 8 contaminated ones."""
    series = {"bottle": Series("bottle", ("chipped", "contamination"), 12)}
    folder = tmp_path_factory.mktemp("rendered") / "sample"
    return render_dataset(folder, series, n_train=10, n_good=2, n_defect=8, size=256) / "bottle"


@pytest.fixture
def bottle(rendered, tmp_path):
    return shutil.copytree(rendered, tmp_path / "sample" / "bottle")


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Nothing is known from another test."""
    monkeypatch.setattr(module, "_found", {})
    monkeypatch.setenv("AUGMENT_CACHE", str(tmp_path / "cache"))


def shoot_again(image, seed=0):
    """Other exposure, crop, sensor noise, and JPEG."""
    rng = np.random.default_rng(seed)
    cut = image[10:-5, 3:-13] / 255
    noisy = 255 * 0.8 * cut**1.3 + rng.normal(0, 2, cut.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=75)
    return np.array(Image.open(file))


def plant(root, defect, number, other_defect, name, seed=0):
    """Add another shot of a defect's image, with a mask of its size, under another name."""
    image = shoot_again(read_image(root / "test" / defect / f"{number:03d}.png"), seed)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[40:60, 40:60] = True
    write_png(root / "test" / other_defect / f"{name}.png", image)
    write_png(root / "ground_truth" / other_defect / f"{name}_mask.png", mask)


def named(groups):
    return sorted(sorted(f"{path.parent.name}/{path.stem}" for path in group) for group in groups)


def sides(category, config=TWO_FOLD):
    """`DEFECT/NAME` -> "fit" or "test" of fold 0."""
    found = {}
    for defect in category.defects:
        fold = split_defect(category, defect, config, 0)
        for side in ("fit", "test"):
            found |= {f"{defect}/{sample.image.stem}": side for sample in getattr(fold, side)}
    return found


def test_unrelated_bottles_are_not_lumped_and_the_split_is_the_plain_one(bottle):
    category = read_category(bottle, "sample")
    groups = part_groups(category)
    assert groups.repeated() == () and len(groups) == len(category.anomalous) == 16
    for config in (TWO_FOLD, THIRD):
        for fold in (*folds_of(config.protocol), "all"):
            for defect, samples in category.defects.items():
                assert split_defect(category, defect, config, fold) == split(samples, config.protocol, fold)


def test_another_shot_under_another_name_lies_on_its_parts_side(bottle):
    plant(bottle, "chipped", 0, "chipped", "zzz", seed=1)
    plant(bottle, "chipped", 6, "chipped", "aaa", seed=2)
    category = read_category(bottle, "sample")
    assert named(part_groups(category).repeated()) == [
        ["chipped/000", "chipped/zzz"],
        ["chipped/006", "chipped/aaa"],
    ]
    for config in (TWO_FOLD, THIRD):
        side = sides(category, config)
        assert side["chipped/000"] == side["chipped/zzz"]
        assert side["chipped/006"] == side["chipped/aaa"]
    plain = split(category.defects["chipped"], "two-fold", 0)
    assert plain.fit[0].image.stem == "000" and plain.test[-1].image.stem == "zzz"  # a plain split leaks
    assert Counter(sides(category).values())["fit"] == 5 + 4


def test_folds_are_each_others_reverse_and_keep_the_order(bottle):
    plant(bottle, "chipped", 1, "chipped", "zzz")
    category = read_category(bottle, "sample")
    first, second = (split_defect(category, "chipped", TWO_FOLD, fold) for fold in (0, 1))
    assert (first.fit, first.test) == (second.test, second.fit)
    for part in (first.fit, first.test):
        assert list(part) == sorted(part, key=lambda sample: sample.image)


def test_a_part_that_shows_two_defects_lies_on_one_side_in_both(bottle):
    plant(bottle, "chipped", 1, "contamination", "zzz")
    category = read_category(bottle, "sample")
    assert named(part_groups(category).repeated()) == [["chipped/001", "contamination/zzz"]]
    side = sides(category)
    assert side["chipped/001"] == side["contamination/zzz"]
    plain = split(category.defects["contamination"], "two-fold", 0)
    assert plain.test[-1].image.stem == "zzz"  # which alone would be on the other side
    assert split(category.defects["chipped"], "two-fold", 0).fit[1].image.stem == "001"


def test_a_category_of_some_defects_is_split_like_the_whole(bottle):
    plant(bottle, "chipped", 1, "contamination", "zzz")
    whole = read_category(bottle, "sample")
    (some,) = resolve_categories([f"{bottle}/contamination"], None)
    assert set(some.defects) == {"contamination"}
    assert split_defect(some, "contamination", TWO_FOLD, 0) == split_defect(
        whole, "contamination", TWO_FOLD, 0
    )


def test_without_grouping_the_split_is_plain_and_nothing_is_looked_at(bottle, monkeypatch):
    plant(bottle, "chipped", 0, "chipped", "zzz")
    monkeypatch.setattr(module, "group_near_duplicates", None)
    category = read_category(bottle, "sample")
    samples = category.defects["chipped"]
    plain = replace(TWO_FOLD, group_duplicates=False)
    assert split_defect(category, "chipped", plain, 0) == split(samples, "two-fold", 0)
    assert split_defect(category, "chipped", TWO_FOLD, "all") == split(samples, "two-fold", "all")


def test_a_defect_of_one_part_alone_cannot_be_split(bottle):
    for number in range(1, 8):
        (bottle / "test" / "chipped" / f"{number:03d}.png").unlink()
        (bottle / "ground_truth" / "chipped" / f"{number:03d}_mask.png").unlink()
        plant(bottle, "chipped", 0, "chipped", f"again{number}", seed=number)
    category = read_category(bottle, "sample")
    with pytest.raises(
        DataError, match=r"bottle/chipped fall on one side.*--fold all.*group_duplicates=false"
    ):
        split_defect(category, "chipped", TWO_FOLD, 0)
    assert len(split_defect(category, "contamination", TWO_FOLD, 0).fit) == 4


def test_a_good_part_in_both_train_and_test_is_found(bottle):
    assert good_parts_in_both(read_category(bottle, "sample")) == []
    write_png(bottle / "test/good/zzz.png", shoot_again(read_image(bottle / "train/good/002.png")))
    (pair,) = good_parts_in_both(read_category(bottle, "sample"))
    assert pair == (bottle / "test/good/zzz.png", bottle / "train/good/002.png")


# --- the cache -------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """How often images were compared."""
    calls, compare = [], module.group_near_duplicates
    monkeypatch.setattr(module, "group_near_duplicates", lambda *rest: calls.append(1) or compare(*rest))
    return calls


def test_groups_are_found_once_and_kept_outside_the_data(bottle, counted, monkeypatch):
    before = sorted(bottle.rglob("*"))
    category = read_category(bottle, "sample")
    groups = part_groups(category)
    assert part_groups(category) == groups and len(counted) == 1
    monkeypatch.setattr(module, "_found", {})  # another process
    assert part_groups(read_category(bottle, "sample")) == groups and len(counted) == 1
    assert sorted(bottle.rglob("*")) == before
    assert len(list(cache_folder().rglob("*.json"))) == 1


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_changed_or_added_image_is_looked_at_anew(bottle, counted, monkeypatch, is_new_process):
    assert part_groups(read_category(bottle, "sample")).repeated() == ()
    plant(bottle, "chipped", 0, "chipped", "zzz")
    if is_new_process:
        monkeypatch.setattr(module, "_found", {})
    assert named(part_groups(read_category(bottle, "sample")).repeated()) == [["chipped/000", "chipped/zzz"]]
    plant(bottle, "chipped", 2, "chipped", "zzz")  # the same name, another part
    if is_new_process:
        monkeypatch.setattr(module, "_found", {})
    assert named(part_groups(read_category(bottle, "sample")).repeated()) == [["chipped/002", "chipped/zzz"]]
    assert len(counted) == 3


@pytest.mark.parametrize("content", ["", "[0, 1", "[0]", '{"labels": 3}'])
def test_a_damaged_cache_is_made_anew(bottle, counted, monkeypatch, content):
    category = read_category(bottle, "sample")
    groups = part_groups(category)
    (path,) = cache_folder().rglob("*.json")
    path.write_text(content)
    monkeypatch.setattr(module, "_found", {})
    assert part_groups(category) == groups and len(counted) == 2
    assert len(json.loads(path.read_text())) == 16


def test_a_cache_that_cannot_be_written_is_done_without(bottle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUGMENT_CACHE", str(tmp_path / "file" / "cache"))
    assert len(part_groups(read_category(bottle, "sample"))) == 16


def test_the_cache_is_where_the_system_says(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("AUGMENT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "augment"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "augment"


# --- real images -----------------------------------------------------------------------------------


def test_no_tile_with_a_crack_is_on_both_sides(real_data):
    (category,) = resolve_categories([str(real_data / "magnetic_tile" / "tile" / "crack")], None)
    category = replace(category, anomalous=category.defects["crack"])  # all five types take half a minute
    groups = part_groups(category)
    assert len(category.anomalous) == 57 and 9 <= len(groups) <= 13
    fold = split_defect(category, "crack", TWO_FOLD, 0)
    fit, test = ({groups.labels[sample.image] for sample in part} for part in (fold.fit, fold.test))
    assert not fit & test and len(fit | test) == len(groups)
    assert 20 <= len(fold.fit) <= 37
    plain = split(category.defects["crack"], "two-fold", 0)
    fit, test = ({groups.labels[sample.image] for sample in part} for part in (plain.fit, plain.test))
    assert fit & test


def test_no_bottle_is_lumped_with_another(real_data):
    (category,) = resolve_categories([str(real_data / "mvtec" / "bottle")], None)
    assert part_groups(category).repeated() == ()
