from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from augment.data.images import read_image
from augment.errors import DataError, TargetError, WorkspaceError
from augment.jobs import export_labels as job
from augment.jobs.export_labels import export_labels, find_category


def test_images_keep_their_bytes_and_place(tmp_path, small_category):
    result = export_labels(find_category(str(small_category), None), tmp_path / "out", "yolo")
    assert (result.images, result.defects) == (17, {"scratch": 4, "spot": 4})
    for path in (tmp_path / "out" / "images").rglob("*.png"):
        relative = path.relative_to(tmp_path / "out" / "images")
        assert path.read_bytes() == (small_category / relative).read_bytes()
        assert (tmp_path / "out" / "labels" / relative).with_suffix(".txt").is_file()


def test_yolo_trains_on_no_good_image_that_is_there_to_test_on(tmp_path, small_category):
    export_labels(find_category(str(small_category), None), tmp_path / "out", "yolo")
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    lists = {name: (tmp_path / "out" / data[name]).read_text().split() for name in ("train", "val")}
    assert len(lists["train"]) == 6 + 8 and len(lists["val"]) == 3 + 8
    assert not any("test/good" in name for name in lists["train"])
    assert all((tmp_path / "out" / name).is_file() for name in lists["train"] + lists["val"])


def test_turned_images_are_written_upright_and_labels_have_names_of_their_own(tmp_path, small_category):
    exif = Image.Exif()
    exif[0x0112] = 6
    good = small_category / "train" / "good"
    Image.new("RGB", (30, 20), (200, 10, 10)).save(good / "000.jpg", exif=exif)
    export_labels(find_category(str(small_category), None), tmp_path / "out", "coco")
    names = {
        entry["file_name"]: (entry["height"], entry["width"])
        for entry in json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    }
    assert len(names) == 18 and names["train/good/000_png.png"] == (72, 72)
    upright = tmp_path / "out" / "images" / "train" / "good" / "000.png"
    assert names["train/good/000.png"] == (30, 20) == Image.open(upright).size[::-1]
    assert np.array_equal(read_image(upright), read_image(good / "000.jpg"))


def test_one_defect_or_none_of_the_good_images(tmp_path, small_category):
    category = find_category(f"{small_category}/spot", None)
    result = export_labels(category, tmp_path / "out", "coco", with_good=False)
    assert (result.images, result.defects) == (4, {"spot": 4})
    value = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [entry["name"] for entry in value["categories"]] == ["spot"]


def test_a_category_is_found_in_a_run_folder_if_it_is_the_only_one(tmp_path, write_category):
    write_category(tmp_path / "fold0" / "washer")
    assert find_category(str(tmp_path / "fold0"), None).name == "washer"
    write_category(tmp_path / "fold0" / "ring")
    with pytest.raises(TargetError, match="export one of ring, washer at a time"):
        find_category(str(tmp_path / "fold0"), None)


def test_a_killed_export_goes_on_and_done_is_skipped(tmp_path, small_category, monkeypatch):
    category = find_category(str(small_category), None)
    copied, calls = job._copied, []

    def stop_at_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return copied(*arguments)

    monkeypatch.setattr(job, "_copied", stop_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        export_labels(category, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.part").rglob("*.png")}
    monkeypatch.setattr(job, "_copied", copied)
    assert not export_labels(category, tmp_path / "out", "coco").skipped
    good = tmp_path / "out" / "images" / "train" / "good"
    assert {name: (good / name).stat().st_mtime_ns for name in times} == times and len(times) == 3
    assert export_labels(category, tmp_path / "out", "coco").skipped
    with pytest.raises(WorkspaceError, match="--force"):
        export_labels(category, tmp_path / "out", "coco", rle=True)


def test_damaged_images_and_masks_are_one_line_and_nothing_appears(tmp_path, small_category):
    path = small_category / "test" / "spot" / "001.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-300])
    with pytest.raises(DataError, match=r"001\.png cannot be read"):
        export_labels(find_category(str(small_category), None), tmp_path / "out", "coco")
    path.write_bytes(whole)
    Image.new("L", (72, 72)).save(small_category / "ground_truth" / "spot" / "001_mask.png")
    with pytest.raises(DataError, match=r"001_mask\.png is empty"):
        export_labels(find_category(str(small_category), None), tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
