"""Public data sets as they are downloaded, in small."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.data.check import check_category, inspect_category
from augment.data.images import read_sample
from augment.data.layouts import is_category
from augment.data.targets import resolve_categories, resolve_folders, resolve_targets
from augment.errors import DataError
from augment.jobs.planning import Planner
from augment.recipe import load_recipe
from augment.workspace import Run

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
MASK = np.zeros((16, 24), np.uint8)
MASK[4:8, 4:8] = 255


def save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format={".JPG": "JPEG", ".jpg": "JPEG"}.get(path.suffix))
    return path


def table(path: Path, *rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def visa(tmp_path):
    folder = tmp_path / "VisA_20220922"
    root = folder / "candle"
    split = [["object", "split", "label", "image", "mask"]]
    for number in range(10):
        image = f"candle/Data/Images/Normal/{number:04d}.JPG"
        save(IMAGE, folder / image)
        split.append(["candle", "test" if number in (3, 7) else "train", "normal", image, ""])
    labels = ["wax missing", "wax missing", "wax missing,extra wax", "dent/other", None]
    rows = [["image", "label", "mask"], ["candle/Data/Images/Normal/0000.JPG", "normal", ""]]
    for number, label in enumerate(labels):
        image, mask = (
            f"candle/Data/Images/Anomaly/{number:03d}.JPG",
            f"candle/Data/Masks/Anomaly/{number:03d}.png",
        )
        save(IMAGE, folder / image)
        save(MASK // 255 * 3, folder / mask)  # VisA's masks hold class numbers
        if label:
            rows.append([image, label, mask])
        split.append(["candle", "test", "anomaly", image, mask])
    table(root / "image_anno.csv", *rows)
    table(folder / "split_csv" / "1cls.csv", *split)
    return folder


def test_visa_is_read_as_it_is_downloaded(visa):
    (category,) = resolve_categories(["visa"], visa.parent)
    assert category.key == "visa/candle" and category.words == "candles" and category.licence == "CC BY 4.0"
    assert [s.image.stem for s in category.test_good] == ["0003", "0007"] and len(category.train_good) == 8
    assert {name: len(found) for name, found in category.defects.items()} == {
        "anomaly": 1, "combined": 1, "dent_other": 1, "wax_missing": 2
    }  # fmt: skip
    assert category.defect_words["wax_missing"] == "wax missing"
    assert category.defect_words["combined"] == "several defects"
    assert read_sample(category.defects["wax_missing"][0])[1].sum() == 16
    (target,) = resolve_targets(["visa/candle/wax*"], visa.parent)
    assert [sample.defect for sample in target.samples] == ["wax_missing"] * 2


def test_visa_without_its_tables(visa):
    (visa / "candle" / "image_anno.csv").unlink()
    (visa / "split_csv" / "1cls.csv").unlink()
    (category,) = resolve_categories([str(visa / "candle")], None)
    assert {name: len(found) for name, found in category.defects.items()} == {"anomaly": 5}
    assert [s.image.stem for s in category.test_good] == ["0009"]


def test_a_visa_table_of_another_kind_is_one_line(visa):
    table(visa / "candle" / "image_anno.csv", ["picture"], ["candle/0.JPG"])
    with pytest.raises(DataError, match=r"image_anno\.csv must have the columns image, label"):
        resolve_categories(["visa"], visa.parent)


def test_visa_images_without_mask_and_masks_without_image_are_named(visa):
    (visa / "candle/Data/Masks/Anomaly/001.png").unlink()
    with pytest.raises(DataError, match=r"Anomaly/001\.JPG has no mask"):
        resolve_categories(["visa"], visa.parent)
    save(MASK, visa / "candle/Data/Masks/Anomaly/099.png")
    (folder,) = resolve_folders(["visa"], visa.parent)
    errors = [f for f in check_category(inspect_category(folder)) if f.severity == "error"]
    assert sorted(Path(f.target).name for f in errors if f.check == "check_pairs") == ["001.JPG", "099.png"]


@pytest.fixture
def btad(tmp_path):
    root = tmp_path / "BTech_Dataset_transformed" / "01"
    for name in ("0000", "0001"):
        save(IMAGE, root / "train" / "ok" / f"{name}.bmp")
        save(IMAGE, root / "test" / "ok" / f"{name}.bmp")
        save(IMAGE, root / "test" / "ko" / f"{name}.bmp")
        save(MASK, root / "ground_truth" / "ko" / f"{name}.png")
    save(MASK * 0, root / "ground_truth" / "ok" / "0000.png")
    return root.parent


def test_btad_says_ok_and_ko(btad):
    (category,) = resolve_categories(["btad"], btad.parent)
    assert category.key == "btad/01"
    assert (len(category.train_good), len(category.test_good)) == (2, 2)
    assert {name: len(found) for name, found in category.defects.items()} == {"ko": 2}
    assert category.defect_words == {"ko": "defect"}
    (folder,) = resolve_folders(["btad/01"], btad.parent)
    assert not [f for f in check_category(inspect_category(folder)) if f.check == "check_folders"]


@pytest.fixture
def kolektor(tmp_path):
    """Ten items of two images; the first of each has a defect."""
    folder = tmp_path / "KolektorSDD"
    for item in range(1, 11):
        for part in range(2):
            save(IMAGE[..., 0], folder / f"kos{item:02d}" / f"Part{part}.jpg")
            save(MASK * (part == 0), folder / f"kos{item:02d}" / f"Part{part}_label.bmp")
    return folder


def test_kolektor_is_one_category_split_by_items(kolektor):
    (category,) = resolve_categories(["kolektor_sdd"], kolektor.parent)
    assert category.key == "kolektor_sdd/KolektorSDD"
    assert category.words == "plastic surface of an electrical commutator"
    assert {name: len(found) for name, found in category.defects.items()} == {"defect": 10}
    assert [s.image.parent.name for s in category.test_good] == ["kos05", "kos10"]
    assert len(category.train_good) == 8
    image, mask = read_sample(category.defects["defect"][0])
    assert image.ndim == 2 and mask.sum() == 16


@pytest.mark.parametrize(
    "pattern", ["kolektor_sdd", "kolektor_sdd/defect", "kolektor_sdd/KolektorSDD/defect", "KolektorSDD"]
)
def test_kolektor_is_named_by_card_folder_or_key(kolektor, pattern):
    (target,) = resolve_targets([pattern], kolektor.parent)
    assert target.key == "kolektor_sdd/KolektorSDD/defect"
    (category,) = resolve_categories(["kolektor_sdd/KolektorSDD"], kolektor.parent)
    assert category.key == target.category.key


def test_images_of_one_name_in_several_folders_are_told_apart(kolektor, btad):
    """A synthesis takes the masks of the images that the fit's record names: no held-out one among them."""
    (target,) = resolve_targets(["kolektor_sdd"], kolektor.parent)
    names = [target.name_of(sample) for sample in target.samples]
    assert len(set(names)) == 10 and names[0] == "kos01/Part0.jpg"
    run = Run(kolektor, {"training": dict.fromkeys(names[:5], "")})
    assert Planner.of(target, run, load_recipe("quick"), 0).images == [s.image for s in target.samples[:5]]
    (flat,) = resolve_targets(["btad/01"], btad.parent)
    assert [flat.name_of(sample) for sample in flat.samples] == ["0000.bmp", "0001.bmp"]


def test_kolektor_labels_are_read_again_when_they_change(kolektor):
    save(MASK, kolektor / "kos01" / "Part1_label.bmp")
    (target,) = resolve_targets(["kolektor_sdd"], kolektor.parent)
    assert len(target.samples) == 11


def test_kolektor_image_without_label_is_named(kolektor):
    (kolektor / "kos02" / "Part0_label.bmp").unlink()
    with pytest.raises(DataError, match=r"kos02/Part0\.jpg has no mask: expected .*kos02/Part0_label\.bmp"):
        resolve_targets(["kolektor_sdd"], kolektor.parent)


def test_mpdd_has_mvtec_layout(tmp_path):
    root = tmp_path / "MPDD" / "bracket_black"
    save(IMAGE, root / "train" / "good" / "000.png")
    save(IMAGE, root / "test" / "hole" / "000.png")
    save(MASK, root / "ground_truth" / "hole" / "000_mask.png")
    (target,) = resolve_targets(["mpdd"], tmp_path)
    assert target.key == "mpdd/bracket_black/hole" and target.category.words == "black metal bracket"


def test_what_has_no_layout_is_no_category(tmp_path):
    save(IMAGE, tmp_path / "photos" / "kos01" / "Part0.jpg")
    save(IMAGE, tmp_path / "photos" / "Data" / "0.png")
    assert not is_category(tmp_path / "photos")
