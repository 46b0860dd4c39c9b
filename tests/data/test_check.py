from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from augment.data.check import CHECKS, Finding, check_category, inspect_category, summaries
from augment.data.images import read_image, write_png
from augment.data.targets import resolve_folders

SPOT = "test/spot/001.png"


def findings(root, *defects):
    (folder,) = resolve_folders([f"{root}/{defect}" for defect in defects] or [str(root)], None)
    return check_category(inspect_category(folder))


def only(found: list[Finding], severity: str, *words: str) -> Finding:
    """The one finding of a severity; it says these words and ends in what is done about it."""
    (finding,) = [one for one in found if one.severity == severity]
    for word in words:
        assert word in str(finding)
    assert finding.message and finding.advice and "\n" not in str(finding)
    return finding


@pytest.fixture
def root(small_category):
    """Clean: enough good images, none of which looks like another."""
    rng = np.random.default_rng(5)
    for index in range(6, 12):
        pixels = rng.integers(0, 255, (72, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(small_category / "train" / "good" / f"{index:03d}.png")
    for index in range(4, 6):
        for defect in ("scratch", "spot"):
            pixels = rng.integers(0, 255, (72, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(small_category / "test" / defect / f"{index:03d}.png")
            mask = small_category / "ground_truth" / defect / "000_mask.png"
            shutil.copy(mask, mask.with_name(f"{index:03d}_mask.png"))
    return small_category


def resave(path, change):
    change(Image.open(path)).save(path)


def test_clean_data_has_no_findings_and_is_summed_up(root):
    assert findings(root) == []
    (folder,) = resolve_folders([str(root)], None)
    rows = {row.target.removeprefix("parts/washer/"): row for row in summaries(inspect_category(folder))}
    assert list(rows) == ["train/good", "test/good", "scratch", "spot"]
    assert [row.images for row in rows.values()] == [12, 3, 6, 6]
    spot = rows["spot"]
    assert (spot.parts, spot.two_fold, spot.third) == (6, (3, 3), (2, 4))
    assert rows["train/good"].parts is None and rows["train/good"].two_fold is None


# --- errors ----------------------------------------------------------------------------------------


def test_no_good_images(root):
    shutil.rmtree(root / "train" / "good")
    only(findings(root), "error", str(root / "train/good"), "holds no images")


def test_a_defect_without_images(root):
    shutil.rmtree(root / "test" / "spot")
    (root / "test" / "spot").mkdir()
    found = [str(one) for one in findings(root) if one.severity == "error"]
    assert any(f"{root / 'test/spot'}: holds no images" in line for line in found)
    assert sum("mask without an image" in line for line in found) == 6


def test_masks_of_a_defect_that_has_no_folder(root):
    (root / "ground_truth" / "dent").mkdir()
    only(findings(root), "error", str(root / "ground_truth/dent"), str(root / "test/dent"))


def test_images_without_mask_and_masks_without_image(root):
    (root / "ground_truth/spot/001_mask.png").unlink()
    (root / "test/scratch/002.png").unlink()
    first, second = (str(one) for one in findings(root) if one.severity == "error")
    assert str(root / "test/scratch/002.png") not in first
    assert f"{root / 'ground_truth/scratch/002_mask.png'}: is a mask without an image" in first
    assert f"{root / SPOT}: has no mask" in second and "001_mask.png" in second


def test_two_files_of_one_name(root):
    Image.open(root / SPOT).rotate(90).save(root / "test/spot/001.bmp")
    only(findings(root), "error", "001.png: has the same name as 001.bmp")


def test_an_empty_mask_folder(root):
    (root / "ground_truth/spot/001_mask.png").unlink()
    (root / "ground_truth/spot/001").mkdir()
    only(findings(root), "error", str(root / "ground_truth/spot/001"), "empty mask folder")


def test_an_empty_mask(root):
    path = root / "ground_truth/spot/001_mask.png"
    write_png(path, np.zeros((72, 72), dtype=bool))
    only(findings(root), "error", f"{path}: is empty")


def test_a_mask_of_another_size(root):
    path = root / "ground_truth/spot/001_mask.png"
    resave(path, lambda image: image.resize((60, 72)))
    only(findings(root), "error", f"{path}: is 60 x 72 pixels, its image 72 x 72")


@pytest.mark.parametrize("name", [SPOT, "ground_truth/spot/001_mask.png", "train/good/003.png"])
@pytest.mark.parametrize("keep", [0, 300])
def test_a_damaged_file_is_named_and_the_rest_is_still_looked_at(root, name, keep):
    path = root / name
    content = path.read_bytes()
    path.write_bytes(content[: min(keep, len(content) - 30)])
    (root / "ground_truth/scratch/002_mask.png").unlink()
    found = [one for one in findings(root) if one.severity == "error"]
    assert {one.target for one in found} == {str(path), str(root / "test/scratch/002.png")}
    assert "empty file" in str(found[0]) or "cannot be read" in str(found[0])


def test_one_image_alone_cannot_be_held_out(root):
    for index in range(1, 6):
        (root / f"test/spot/{index:03d}.png").unlink()
        (root / f"ground_truth/spot/{index:03d}_mask.png").unlink()
    only(findings(root), "error", "parts/washer/spot", "--fold all")


def test_a_file_that_is_good_and_defective(root):
    shutil.copy(root / "train/good/002.png", root / SPOT)
    only(
        findings(root), "error", str(root / SPOT), str(root / "train/good/002.png"), "both good and defective"
    )


# --- warnings --------------------------------------------------------------------------------------


def test_no_good_images_to_test_on(root):
    shutil.rmtree(root / "test" / "good")
    only(findings(root), "warning", str(root / "test/good"), "holds no images")


def test_masks_that_are_not_binary_are_one_line(root):
    for index in (1, 3):
        path = root / f"ground_truth/spot/{index:03d}_mask.png"
        resave(path, lambda image: image.resize((36, 36)).resize((72, 72), Image.Resampling.BICUBIC))
    only(findings(root), "warning", "parts/washer/spot: 2 of 6 masks not binary, first 001_mask.png")


def test_class_numbers_are_as_good_as_binary(root):
    path = root / "ground_truth/spot/001_mask.png"
    mask = np.array(Image.open(path)) // 255
    mask[:3, :3] = 2
    Image.fromarray(mask).save(path)
    assert findings(root) == []


def test_a_mask_that_seems_inverted(root):
    path = root / "ground_truth/spot/001_mask.png"
    resave(path, lambda image: Image.eval(image, lambda value: 255 - value))
    only(findings(root), "warning", str(path), "% of the image")


def test_few_images(root):
    for index in range(3, 12):
        (root / f"train/good/{index:03d}.png").unlink()
    for index in range(2, 6):
        (root / f"test/spot/{index:03d}.png").unlink()
        (root / f"ground_truth/spot/{index:03d}_mask.png").unlink()
    good, spot = [one for one in findings(root) if one.severity == "warning"]
    assert "parts/washer/train/good: has 3 images" in str(good)
    assert "parts/washer/spot: a fit sees only 1 of 2 images" in str(spot)


def test_the_same_good_file_in_train_and_test(root):
    shutil.copy(root / "train/good/002.png", root / "test/good/001.png")
    only(findings(root), "warning", str(root / "test/good/001.png"), "the same file", "leaves it out")


def test_the_same_good_part_in_train_and_test(root):
    shot = 0.9 * read_image(root / "train/good/008.png")
    write_png(root / "test/good/001.png", shot.astype(np.uint8)[2:, 3:])
    found = findings(root)
    only(found, "warning", str(root / "test/good/001.png"), str(root / "train/good/008.png"), "seems to show")


def test_grey_and_coloured_images(root):
    resave(root / "train/good/002.png", lambda image: image.convert("L"))
    only(findings(root), "warning", "1 images are grey and 26 in colour")


def test_images_of_formats_that_are_not_read(root):
    Image.open(root / SPOT).save(root / "test/spot/007.webp")
    (root / "test/spot/notes.txt").write_text("not an image")
    only(findings(root), "warning", str(root / "test/spot/007.webp"), "passed over")


# --- notes -----------------------------------------------------------------------------------------


def test_shots_of_one_part_that_a_plain_split_would_separate(root):
    shot = 0.9 * read_image(root / "test/spot/000.png")
    write_png(root / "test/spot/zzz.png", shot.astype(np.uint8))
    shutil.copy(root / "ground_truth/spot/000_mask.png", root / "ground_truth/spot/zzz_mask.png")
    note = only(findings(root), "note", "parts/washer/spot: 7 images show 6 parts", "group_duplicates")
    assert "two-fold 1, third 1" in note.advice


def test_one_file_with_two_defects_and_one_twice(root):
    shutil.copy(root / "test/scratch/005.png", root / "test/spot/005.png")
    only(findings(root), "note", "test/spot/005.png: is the same file", "two defects")
    shutil.copy(root / "test/good/001.png", root / "test/good/009.png")
    assert any(
        "009.png: is the same file" in str(one) and "counts twice" in str(one) for one in findings(root)
    )


def turned(image):
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("with alpha", lambda image, path: image.convert("RGBA").save(path)),
        ("with a palette", lambda image, path: image.quantize(16).save(path)),
        ("turned by EXIF", lambda image, path: image.save(path, exif=turned(image))),
    ],
)
def test_images_of_odd_kinds_are_one_line_a_folder(root, name, save):
    for index in (6, 7, 8):
        path = root / f"train/good/{index:03d}.png"
        save(Image.open(path), path)
    only(findings(root), "note", f"parts/washer/train/good: 3 of 12 images {name}, first 006.png")


def test_16_bit_images(root):
    for folder in ("train/good", "test/good", "test/scratch", "test/spot"):
        for path in (root / folder).iterdir():
            grey = np.array(Image.open(path).convert("L")).astype(np.uint16) * 257
            Image.fromarray(grey).save(path)
    found = findings(root)
    assert {one.severity for one in found} == {"note"} and len(found) == 4
    assert "parts/washer/test/spot: 6 of 6 images of 16 bit, first 000.png; they are read as 8 bit" in str(
        found[-1]
    )


def test_several_sizes(root):
    resave(root / "train/good/007.png", lambda image: image.crop((0, 0, 70, 72)))
    only(findings(root), "note", "parts/washer: images have 2 sizes; 26 of 27 are 72 x 72")


# --- what is looked at -----------------------------------------------------------------------------


def test_of_other_defects_than_asked_for_only_what_stops_every_command_is_reported(root):
    path = root / "ground_truth/spot/001_mask.png"
    resave(path, lambda image: Image.eval(image, lambda value: 255 - value))
    assert findings(root, "scratch") == []
    assert len(findings(root, "spot")) == len(findings(root, "scratch", "spot")) == 1
    path.unlink()
    only(findings(root, "scratch"), "error", str(root / SPOT))


def test_errors_come_first_and_every_check_says_what_it_is_for(root):
    write_png(root / "test/spot/zzz.png", np.zeros((72, 72), dtype=bool))
    shutil.rmtree(root / "test" / "good")
    resave(root / "train/good/007.png", lambda image: image.crop((0, 0, 70, 72)).convert("RGBA"))
    order = [one.severity for one in findings(root)]
    assert set(order) == {"error", "warning", "note"}
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert all(check.__doc__ for check in CHECKS)


def test_real_data(real_data):
    """MVTec's bottle is as it should be, but for good bottles that look alike or were shot twice."""
    found = findings(real_data / "mvtec" / "bottle")
    assert {one.severity for one in found} <= {"warning"}
    assert all("seems to show the part" in one.message for one in found) and len(found) <= 3
