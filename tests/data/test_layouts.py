from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.data.cards import load_card
from augment.data.images import read_sample, write_png
from augment.data.layouts import read_category
from augment.errors import DataError

IMAGE = np.full((16, 24, 3), 90, np.uint8)
MASK = np.zeros((16, 24), np.uint8)
MASK[4:8, 4:8] = 255


def save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """A category with two normal images and the defect `crack` with two images."""
    root = tmp_path / "my set" / "steel_plate"
    for name in ("000", "001"):
        save(IMAGE, root / "train" / "good" / f"{name}.png")
        save(IMAGE, root / "test" / "crack" / f"{name}.png")
        save(MASK, root / "ground_truth" / "crack" / f"{name}_mask.png")
    save(IMAGE, root / "test" / "good" / "000.png")
    return root


def test_a_category_is_listed_in_order(root):
    category = read_category(root, "plates")
    assert category.key == "plates/steel_plate"
    assert [s.image.name for s in category.train_good] == ["000.png", "001.png"]
    assert [s.defect for s in category.test_good] == ["good"]
    assert [s.mask.name for s in category.defects["crack"]] == ["000_mask.png", "001_mask.png"]
    assert category.words == "steel plate"
    assert category.defect_words == {"crack": "crack"}
    assert category.licence is None


@pytest.mark.parametrize(
    "image_name", ["007.JPG", "007.bmp", "007.Tif", "007.png", "Teil 7 größe.jpeg", "a.b.png"]
)
@pytest.mark.parametrize("mask_name", ["{}_mask.png", "{}.png", "{}_mask.BMP", "{}.tiff"])
def test_masks_match_by_name_in_any_format(root, image_name, mask_name):
    image = save(IMAGE, root / "test" / "dent" / image_name)
    mask = save(MASK, root / "ground_truth" / "dent" / mask_name.format(image.stem))
    (sample,) = read_category(root, "plates").defects["dent"]
    assert (sample.image, sample.mask, sample.defect) == (image, mask, "dent")
    assert read_sample(sample)[1].sum() == 16


def test_names_match_across_unicode_forms(root):
    save(IMAGE, root / "test" / "dent" / (unicodedata.normalize("NFD", "größe") + ".png"))
    save(MASK, root / "ground_truth" / "dent" / (unicodedata.normalize("NFC", "größe") + "_mask.png"))
    assert len(read_category(root, "plates").defects["dent"]) == 1


def test_nested_loco_masks(root):
    for name, masks in (("000", 1), ("001", 2)):
        save(IMAGE, root / "test" / "logical_anomalies" / f"{name}.png")
        for k in range(masks):
            save(np.roll(MASK, 8 * k, axis=1), root / "ground_truth/logical_anomalies" / name / f"{k:03}.png")
    one, two = read_category(root, "plates").defects["logical_anomalies"]
    assert one.mask.name == "000.png"  # a single file stands for its folder
    assert two.mask.name == "001"
    assert (read_sample(one)[1].sum(), read_sample(two)[1].sum()) == (16, 32)


def test_other_files_are_passed_over(root):
    for stray in (
        "license.txt",
        "test/crack/Thumbs.db",
        "ground_truth/crack/._000_mask.png",
        "test/notes.txt",
    ):
        (root / stray).write_bytes(b"x")
    save(MASK, root / "ground_truth" / "good" / "000_mask.png")
    save(IMAGE, root / "validation" / "good" / "000.png")
    (root / "test" / ".cache").mkdir()
    assert list(read_category(root, "plates").defects) == ["crack"]


def test_a_card_gives_words_and_licence(tmp_path):
    root = tmp_path / "magnetic_tile" / "tile"
    save(IMAGE, root / "train" / "good" / "0.png")
    for defect in ("fray", "new_kind"):
        save(IMAGE, root / "test" / defect / "0.png")
        save(MASK, root / "ground_truth" / defect / "0_mask.png")
    category = read_category(root, "magnetic_tile", load_card("magnetic_tile"))
    assert category.words == "magnetic tile"
    assert category.defect_words == {"fray": "frayed surface", "new_kind": "new kind"}
    assert "cited" in category.licence
    assert "Visual Computer" in category.citation


def test_normal_images_alone_make_a_category_without_defects(tmp_path):
    save(IMAGE, tmp_path / "train" / "good" / "0.png")
    category = read_category(tmp_path, "plates")
    assert category.defects == {}
    assert category.test_good == ()


def test_no_normal_images(root):
    for path in (root / "train" / "good").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"train/good holds no images"):
        read_category(root, "plates")


def test_image_without_mask(root):
    (root / "ground_truth" / "crack" / "001_mask.png").unlink()
    with pytest.raises(DataError, match=r"crack/001\.png has no mask: expected .*001_mask\.png"):
        read_category(root, "plates")


def test_defect_without_any_masks(root):
    save(IMAGE, root / "test" / "dent" / "000.png")
    with pytest.raises(DataError, match=r"dent/000\.png has no mask"):
        read_category(root, "plates")


def test_mask_without_image(root):
    (root / "test" / "crack" / "000.png").unlink()
    with pytest.raises(DataError, match=r"000_mask\.png has no image"):
        read_category(root, "plates")


def test_masks_of_a_defect_without_images(root):
    save(MASK, root / "ground_truth" / "dent" / "000_mask.png")
    with pytest.raises(DataError, match=r"ground_truth/dent have no images"):
        read_category(root, "plates")


def test_defect_without_images(root):
    (root / "test" / "dent").mkdir()
    with pytest.raises(DataError, match=r"test/dent holds no images"):
        read_category(root, "plates")


def test_empty_mask_folder(root):
    save(IMAGE, root / "test" / "dent" / "000.png")
    (root / "ground_truth" / "dent" / "000").mkdir(parents=True)
    with pytest.raises(DataError, match=r"dent/000\.png has no mask: the folder .* holds no images"):
        read_category(root, "plates")


def test_two_images_of_one_name(root):
    save(IMAGE, root / "test" / "crack" / "000.jpg")
    with pytest.raises(DataError, match="have the same name"):
        read_category(root, "plates")


def test_size_mismatch_is_found_from_the_headers(root):
    mask = save(MASK[:10], root / "ground_truth" / "crack" / "001_mask.png")
    with pytest.raises(DataError, match=rf"{mask.name} is 24 x 10 pixels but its image is 24 x 16"):
        read_category(root, "plates")


def test_unreadable_image_is_found_from_its_header(root):
    (root / "test" / "crack" / "001.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"001\.png is no image"):
        read_category(root, "plates")


@pytest.mark.parametrize(
    ("key", "defects"), [("mvtec/bottle", 3), ("magnetic_tile/tile", 5), ("mvtec_loco/juice_bottle", 1)]
)
def test_real_categories(real_data, key, defects):
    dataset = key.partition("/")[0]
    category = read_category(real_data / key, dataset, load_card(dataset))
    assert len(category.defects) == defects
    for samples in category.defects.values():
        image, mask = read_sample(samples[0])
        assert mask.shape == image.shape[:2]
        assert mask.any()


def test_written_masks_are_found_again(root):
    write_png(root / "test" / "dent" / "0000.png", IMAGE)
    write_png(root / "ground_truth" / "dent" / "0000_mask.png", MASK > 0)
    (sample,) = read_category(root, "plates").defects["dent"]
    assert np.array_equal(read_sample(sample)[1], MASK > 0)
