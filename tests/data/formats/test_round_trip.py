"""Mask -> export -> import -> mask, on masks that formats lose parts of."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from augment.data.formats import READERS, WRITERS
from augment.data.formats.label_studio import encode_brush
from augment.data.images import read_mask, write_png
from augment.data.layouts import read_category
from augment.jobs.export_labels import export_labels
from augment.jobs.import_labels import ImportOptions, import_labels

SIZE = (61, 83)


def masks() -> dict[str, np.ndarray]:
    blank = np.zeros(SIZE, bool)
    found = {}
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found["dot"] = blank | ((y == 30) & (x == 40))
    found["hairline"] = blank | ((y == 20) & (x > 5) & (x < 70))
    found["diagonal"] = blank | ((x == y) & (x > 3) & (x < 50))
    found["ring"] = (np.hypot(y - 30, x - 40) < 20) & (np.hypot(y - 30, x - 40) > 8)
    found["island"] = found["ring"] | (np.hypot(y - 30, x - 40) < 3)
    found["several"] = ((y // 9) % 2 == 0) & ((x // 11) % 3 == 0)
    found["border"] = (y < 6) | (x > 75)
    found["everything"] = ~blank
    found["grit"] = np.random.default_rng(0).random(SIZE) < 0.3
    return found


@pytest.fixture
def category(tmp_path):
    """A category with one defect image for each mask, of two defects, and three good images."""
    rng = np.random.default_rng(1)
    root = tmp_path / "parts" / "plate"
    for index in range(3):
        write_png(root / "train" / "good" / f"g{index}.png", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    for index, (name, mask) in enumerate(masks().items()):
        defect = ("crack", "lösch spot")[index % 2]
        image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        write_png(root / "test" / defect / f"{name}.png", image)
        write_png(root / "ground_truth" / defect / f"{name}_mask.png", mask)
    return read_category(root, "parts")


def defect_masks(category):
    return {
        sample.image.stem: read_mask(sample.mask) for found in category.defects.values() for sample in found
    }


def again(tmp_path, form):
    import_labels(tmp_path / "out", tmp_path / "back", form, "plate", ImportOptions(test_good=0))
    return read_category(tmp_path / "back" / "plate", "back")


@pytest.mark.parametrize(("form", "settings"), [("coco", {}), ("coco", {"rle": True}), ("yolo", {})])
def test_masks_images_and_classes_come_back_exactly(tmp_path, category, form, settings):
    result = export_labels(category, tmp_path / "out", form, **settings)
    assert (result.images, result.defects) == (12, {"crack": 5, "lösch spot": 4})
    back = again(tmp_path, form)
    assert {name: len(found) for name, found in back.defects.items()} == {"crack": 5, "lösch_spot": 4}
    found = defect_masks(back)
    assert found.keys() == masks().keys()
    for name, mask in masks().items():
        assert np.array_equal(found[name], mask), name
    for old, new in zip(category.train_good, back.train_good, strict=True):
        assert old.image.read_bytes() == new.image.read_bytes()


def test_coco_writes_polygons_but_runs_for_holes_and_pycocotools_reads_them(tmp_path, category):
    export_labels(category, tmp_path / "out", "coco")
    value = json.loads((tmp_path / "out" / "annotations.json").read_text())
    names = {entry["id"]: entry["file_name"] for entry in value["images"]}
    kinds = {}
    for entry in value["annotations"]:
        kinds.setdefault(names[entry["image_id"]].split("/")[-1], set()).add(type(entry["segmentation"]))
    assert kinds["ring.png"] == {dict} and kinds["border.png"] == kinds["several.png"] == {list}
    coco = COCO(tmp_path / "out" / "annotations.json")
    for image_id, name in names.items():
        assert (tmp_path / "out" / "images" / name).is_file()
        found = coco.loadAnns(coco.getAnnIds(image_id))
        if found:
            whole = np.any([coco.annToMask(entry) for entry in found], axis=0)
            assert np.array_equal(whole, masks()[name.split("/")[-1][:-4]])
        else:
            assert "/good/" in name
    for entry in value["annotations"]:
        x, y, width, height = entry["bbox"]
        pixels = coco.annToMask(entry)
        assert pixels.sum() == pixels[y : y + height, x : x + width].sum() == entry["area"]


def test_yolo_lines_draw_nearly_the_same_with_opencv(tmp_path, category):
    export_labels(category, tmp_path / "out", "yolo")
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert data["names"] == {0: "crack", 1: "lösch spot"}
    assert (tmp_path / "out" / "labels" / "train" / "good" / "g0.txt").read_text() == ""
    text = (tmp_path / "out" / "labels" / "test" / "lösch spot" / "ring.txt").read_text()
    assert text.count("\n") == 1 and text.startswith("1 ")
    points = np.array(text.split()[1:], float).reshape(-1, 2) * SIZE[::-1] - 0.5
    drawn = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], 1)
    ring = masks()["ring"]
    assert (drawn & ring).sum() / (drawn | ring).sum() > 0.85  # its outline is drawn with its edge


def test_label_studio_tasks_hold_the_masks_of_their_images(tmp_path, category):
    export_labels(category, tmp_path / "out", "label-studio")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    config = (tmp_path / "out" / "label_config.xml").read_text()
    assert len(tasks) == 12 and 'value="lösch spot"' in config
    for task in tasks:
        name = task["data"]["name"]
        assert task["data"]["image"].startswith("/data/local-files/?d=out/images/t")
        assert (tmp_path / "out" / "images" / name).is_file()
        results = task["annotations"][0]["result"]
        assert bool(results) == ("/good/" not in name)
        for result in results:
            mask = decode_brush(result["value"]["rle"]).reshape(*SIZE, 4)
            assert (mask == mask[..., :1]).all() and set(np.unique(mask)) <= {0, 255}
            assert np.array_equal(mask[..., 0] > 0, masks()[name.split("/")[-1][:-4]])
    export_labels(category, tmp_path / "web", "label-studio", url="https://example.com/")
    first = json.loads((tmp_path / "web" / "tasks.json").read_text())[-1]["data"]["image"]
    assert first == "https://example.com/test/l%C3%B6sch%20spot/several.png"


def test_long_runs_of_a_brush_are_split():
    mask = np.zeros((300, 300), bool)
    mask[150:] = True
    assert np.array_equal(decode_brush(encode_brush(mask)), np.repeat(mask.ravel(), 4) * 255)


def decode_brush(data: list[int]) -> np.ndarray:
    """A reader of its own, of the format that Label Studio takes from @thi.ng/rle-pack."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, length = take(1), 1
        length += take(widths[take(2)])
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    return np.array(values)


def test_every_format_is_offered_by_the_command_line():
    from augment.cli.formats import export, import_

    offered = {p.name: list(p.type.choices) for c in (import_, export) for p in c.params if p.name == "form"}
    assert offered == {"form": list(WRITERS)}
    (form,) = (p for p in import_.params if p.name == "form")
    assert list(form.type.choices) == list(READERS)
