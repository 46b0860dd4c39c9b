from __future__ import annotations

import os

import numpy as np
import pytest

from augment.data.images import write_png
from augment.data.targets import resolve_categories, resolve_targets
from augment.errors import DataError, TargetError

TREE = {
    "plates/steel": ["crack_long", "crack_short", "rust"],
    "plates/big [blue] part": ["crack ü"],
    "mvtec/bottle": ["broken_large"],
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    for category, defects in TREE.items():
        root = tmp_path / "data" / category
        write_png(root / "train" / "good" / "0.png", np.zeros((8, 8), np.uint8))
        write_png(root / "test" / "good" / "0.png", np.zeros((8, 8), np.uint8))
        for defect in defects:
            write_png(root / "test" / defect / "0.png", np.zeros((8, 8), np.uint8))
            write_png(root / "ground_truth" / defect / "0_mask.png", mask)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("AUGMENT_DATA", raising=False)
    return tmp_path / "data"


def keys(*patterns, data_root=None):
    return [target.key for target in resolve_targets(patterns, data_root)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("plates/steel/rust", ["plates/steel/rust"]),
        ("plates/steel/crack*", ["plates/steel/crack_long", "plates/steel/crack_short"]),
        (
            "plates/*/crack*",
            ["plates/big [blue] part/crack ü", "plates/steel/crack_long", "plates/steel/crack_short"],
        ),
        ("plates/s?eel/[r]ust", ["plates/steel/rust"]),
        ("plates/big [blue] part", ["plates/big [blue] part/crack ü"]),
        ("mvtec", ["mvtec/bottle/broken_large"]),
        ("mvtec/", ["mvtec/bottle/broken_large"]),
    ],
)
def test_patterns(data, pattern, expected):
    assert keys(pattern, data_root=data) == expected


def test_each_target_once_in_the_order_asked(data):
    found = keys("plates/steel/rust", "plates/steel", "plates/steel/rust", data_root=data)
    assert found == ["plates/steel/rust", "plates/steel/crack_long", "plates/steel/crack_short"]


def test_folders_need_no_data_root(data, monkeypatch):
    assert keys(f"{data}/plates/steel/rust") == ["plates/steel/rust"]
    assert keys(f"{data}/plates/steel") == keys("../data/plates/steel")
    monkeypatch.chdir(data / "plates" / "steel")
    assert keys("./rust") == ["plates/steel/rust"]
    assert len(keys(".")) == 3
    monkeypatch.chdir(data / "plates")
    assert keys("steel/rust") == ["plates/steel/rust"]


def test_home_is_expanded(data, monkeypatch):
    monkeypatch.setenv("HOME", str(data))
    assert keys("~/plates/steel/rust") == ["plates/steel/rust"]


def test_environment_names_the_data_root(data, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", str(data))
    assert keys("plates/steel/rust") == ["plates/steel/rust"]
    assert keys("plates/steel/rust", data_root=data.parent / "elsewhere") == ["plates/steel/rust"]


@pytest.mark.parametrize("folder", ["mvtec_anomaly_detection", "MVTecAD"])
def test_a_card_finds_its_folder_by_the_archives_name(data, folder):
    os.rename(data / "mvtec", data / folder)
    (target,) = resolve_targets(["mvtec/bottle"], data)
    assert target.key == "mvtec/bottle/broken_large"
    assert target.category.defect_words["broken_large"] == "large break"
    assert keys(f"{data / folder}/bottle") == ["mvtec/bottle/broken_large"]


def test_a_target_holds_its_samples(data):
    (target,) = resolve_targets(["plates/steel/rust"], data)
    assert [sample.image.name for sample in target.samples] == ["0.png"]
    assert target.category.licence is None
    (target,) = resolve_targets(["mvtec"], data)
    assert target.category.licence == "CC BY-NC-SA 4.0"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("plats/steel", r"'plats/steel' names no dataset folder in .*Did you mean plates\?"),
        ("plates/stel", r"No category of .*plates is called 'stel'\. Did you mean steel\?"),
        ("plates/steel/rost", r"No defect in .*steel is called 'rost'\. Did you mean rust\?"),
        ("plates/*/zzz*", r"No defect in .*plates is called 'zzz\*'\. Known: crack ü, crack_long"),
        ("plates/x*/rust", r"No category of .*plates is called 'x\*'"),
        ("plates/steel/good", r"names normal images: a target is a defect"),
        ("plates/steel/rust/0.png", r"too many parts"),
        ("mvtec_loco/juice_bottle", r"The data of 'mvtec_loco' .* get it from https://.*--data-root"),
        ("", "A target is empty"),
    ],
)
def test_unknown_names_offer_the_nearest(data, pattern, message):
    with pytest.raises(TargetError, match=message) as caught:
        resolve_targets([pattern], data)
    assert "\n" not in str(caught.value)


def test_a_category_without_defects_has_no_targets(data):
    write_png(data / "plates" / "bare" / "train" / "good" / "0.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(TargetError, match=r"No defect in .*bare"):
        resolve_targets(["plates/bare"], data)


def test_only_the_categories_asked_for_are_checked(data):
    (data / "plates" / "steel" / "ground_truth" / "rust" / "0_mask.png").unlink()
    assert keys("plates/big*", data_root=data) == ["plates/big [blue] part/crack ü"]
    with pytest.raises(DataError, match="has no mask"):
        resolve_targets(["plates"], data)


def test_categories_hold_the_defects_asked_for(data):
    steel, bottle = resolve_categories(["plates/steel/c*", "mvtec", "plates/steel/crack_long"], data)
    assert list(steel.defects) == ["crack_long", "crack_short"]
    assert list(bottle.defects) == ["broken_large"]
    (steel,) = resolve_categories(["plates/steel/rust", "plates/steel"], data)
    assert list(steel.defects) == ["crack_long", "crack_short", "rust"]
