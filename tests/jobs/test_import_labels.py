from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from augment.data.formats.reading import ReadOptions
from augment.data.images import read_image, read_mask, write_png
from augment.data.layouts import read_category
from augment.errors import DataError, TargetError, WorkspaceError
from augment.jobs import import_labels as job
from augment.jobs.import_labels import ImportOptions, import_labels

SIZE = (40, 60)
SQUARE = [10, 5, 20, 5, 20, 15, 10, 15]
SQUARE_MASK = np.zeros(SIZE, bool)
SQUARE_MASK[5:15, 10:20] = True


def picture(path: Path, size=SIZE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def annotation(image_id=1, category_id=1, **changes):
    return {
        "id": f"{image_id}{category_id}",
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": [SQUARE],
        "bbox": [10, 5, 10, 10],
        **changes,
    }


def coco(folder: Path, annotations, images=("a.png", "b.png", "c.png"), **changes) -> Path:
    """A COCO file with its images; `a.png` has the id 1."""
    for name in images:
        if not (folder / name).exists():
            picture(folder / name)
    entries = [
        {"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]}
        for number, name in enumerate(images, start=1)
    ]
    categories = [{"id": 1, "name": "crack"}, {"id": 2, "name": "dent"}]
    value = {"images": entries, "annotations": annotations, "categories": categories, **changes}
    path = folder / "labels.json"
    path.write_text(json.dumps(value))
    return path


def yolo(folder: Path, lines: str, names="names: [crack, dent]") -> Path:
    picture(folder / "images" / "train" / "a.jpg")
    picture(folder / "images" / "train" / "b.jpg")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(lines)
    if names:
        (folder / "data.yaml").write_text(names)
    return folder


def labelme(folder: Path, shapes, name="a", **changes) -> Path:
    picture(folder / f"{name}.png")
    value = {"imagePath": f"{name}.png", "imageHeight": SIZE[0], "imageWidth": SIZE[1], "shapes": shapes}
    (folder / f"{name}.json").write_text(json.dumps(value | changes))
    return folder


def run(source, tmp_path, form="coco", force=False, **options):
    result = import_labels(source, tmp_path / "set", form, "part", ImportOptions(**options), force=force)
    return result


def mask_of(tmp_path, defect, stem):
    return read_mask(tmp_path / "set" / "part" / "ground_truth" / defect / f"{stem}_mask.png")


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- what becomes of a set -------------------------------------------------------------------------


def test_classes_become_defects_several_become_combined_and_none_good(tmp_path):
    other = [30, 20, 40, 20, 40, 30]
    names = ("a.png", "b.png", "c.png", "d.png", "e.png")
    labels = [annotation(1), annotation(2, 2), annotation(3), annotation(3, 2, segmentation=[other])]
    result = run(coco(tmp_path / "in", labels, names), tmp_path, test_good=0.5)
    assert result.images == {
        "test/combined": 1, "test/crack": 1, "test/dent": 1, "test/good": 1, "train/good": 1
    }  # fmt: skip
    category = read_category(tmp_path / "set" / "part", "set")
    assert len(category.anomalous) == 3
    assert np.array_equal(mask_of(tmp_path, "crack", "a"), SQUARE_MASK)
    both = mask_of(tmp_path, "combined", "c")
    assert both[SQUARE_MASK].all() and both.sum() > 100
    raw = Image.open(tmp_path / "set" / "part" / "ground_truth" / "dent" / "b_mask.png")
    assert raw.mode == "L" and set(np.unique(np.array(raw))) == {0, 255}
    assert any("several classes: 1 image." in note for note in result.notes)
    record = json.loads((tmp_path / "set" / "part.import.json").read_text())
    assert record["names"]["test/crack/a.png"] == "a.png"


def test_the_share_of_good_images_is_exact_the_same_each_time_and_never_all(tmp_path):
    names = ["x.png", *(f"{k}.png" for k in range(10))]
    source = coco(tmp_path / "in", [annotation(1)], names)
    for share, expected in ((0, (10, None)), (0.2, (8, 2)), (1, (1, 9))):
        result = run(source, tmp_path, force=True, test_good=share)
        assert (result.images["train/good"], result.images.get("test/good")) == expected
    before = tree(tmp_path / "set")
    run(source, tmp_path, force=True, test_good=1)
    assert tree(tmp_path / "set") == before


@pytest.mark.parametrize("compressed", [True, False])
def test_coco_runs_are_drawn_exactly(tmp_path, compressed):
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]))) if compressed is False else None
    if compressed:
        runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        value = {"size": list(SIZE), "counts": runs["counts"].decode()}
    else:
        lengths = np.diff(np.concatenate([[0], edges, [flat.size]]))
        value = {"size": list(SIZE), "counts": lengths.tolist()}
    run(coco(tmp_path / "in", [annotation(segmentation=value, iscrowd=1)]), tmp_path)
    assert np.array_equal(mask_of(tmp_path, "crack", "a"), mask)


def test_a_folder_of_coco_files_is_read_and_images_found_by_name(tmp_path):
    for split, number in (("train", 1), ("valid", 2)):
        folder = tmp_path / "in" / split
        coco(folder, [annotation(1, number)], [f"{split}.png"])
        (folder / "images").mkdir()
        (folder / f"{split}.png").rename(folder / "images" / f"{split}.png")
    (tmp_path / "in" / "notes.json").write_text("[]")
    assert run(tmp_path / "in", tmp_path).images == {"test/crack": 1, "test/dent": 1}
    moved = tmp_path / "photos" / "deep"
    moved.mkdir(parents=True)
    for path in (tmp_path / "in").rglob("*.png"):
        path.rename(moved / path.name)
    options = {"read": ReadOptions(images=tmp_path / "photos")}
    assert run(tmp_path / "in", tmp_path, force=True, **options).images == {"test/crack": 1, "test/dent": 1}


@pytest.mark.parametrize("names", ["names: [crack, dent]", "names: {0: crack, 1: dent}", ""])
def test_yolo_polygons_and_class_names(tmp_path, names):
    xs, ys = SQUARE[::2], SQUARE[1::2]
    pairs = " ".join(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in zip(xs, ys, strict=True))
    result = run(yolo(tmp_path / "in", f"1 {pairs}\n\n", names), tmp_path, "yolo")
    defect = "dent" if names else "class_1"
    assert result.images == {f"test/{defect}": 1, "train/good": 1}
    assert np.array_equal(mask_of(tmp_path, defect, "a"), SQUARE_MASK)


def test_yolo_labels_beside_images_or_apart_from_them(tmp_path):
    text = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"
    picture(tmp_path / "flat" / "a.png")
    (tmp_path / "flat" / "a.txt").write_text(text)
    (tmp_path / "flat" / "classes.txt").write_text("crack\ndent\n")
    (tmp_path / "flat" / "readme.txt").write_text("not labels")
    assert run(tmp_path / "flat", tmp_path, "yolo").images == {"test/crack": 1}
    (tmp_path / "flat" / "a.png").rename(tmp_path / "a.png")
    picture(tmp_path / "photos" / "sub" / "a.png")
    (tmp_path / "flat" / "sub").mkdir()
    (tmp_path / "flat" / "a.txt").rename(tmp_path / "flat" / "sub" / "a.txt")
    options = {"read": ReadOptions(images=tmp_path / "photos")}
    assert run(tmp_path / "flat", tmp_path, "yolo", force=True, **options).images == {"test/crack": 1}


def test_labelme_shapes_of_every_kind(tmp_path):
    def encoded(mask):
        file = io.BytesIO()
        Image.fromarray(mask).save(file, format="PNG")
        return base64.b64encode(file.getvalue()).decode()

    shapes = {
        "polygon": [[10, 5], [20, 5], [20, 15], [10, 15]],
        "rectangle": [[20, 15], [10, 5]],
        "circle": [[30, 20], [30, 30]],
        "line": [[5, 5], [50, 5]],
        "linestrip": [[5, 5], [50, 5], [50, 35]],
        "point": [[7, 7]],
        "mask": [[10, 5], [19, 14]],
    }
    for kind, points in shapes.items():
        shape = {"label": kind, "shape_type": kind, "points": points}
        if kind == "mask":
            shape["mask"] = encoded(np.ones((10, 10), bool))
        labelme(tmp_path / "in", [shape], f"of_{kind}")
    picture(tmp_path / "in" / "unlabelled.png")
    labelme(tmp_path / "in", [], "empty")
    result = run(tmp_path / "in", tmp_path, "labelme", read=ReadOptions(line_width=4), test_good=0)
    assert result.images == {f"test/{kind}": 1 for kind in sorted(shapes)} | {"train/good": 2}
    for kind in ("polygon", "rectangle", "mask"):
        assert np.array_equal(mask_of(tmp_path, kind, f"of_{kind}"), SQUARE_MASK)
    areas = {kind: int(mask_of(tmp_path, kind, f"of_{kind}").sum()) for kind in shapes}
    assert areas["circle"] == pytest.approx(314, abs=6) and areas["line"] == pytest.approx(192, abs=8)
    assert areas["linestrip"] > areas["line"] and areas["point"] == pytest.approx(12, abs=4)
    assert any("4 pixels wide: 3" in note for note in result.notes)


def test_mask_files_beside_their_images_or_in_folders_of_classes(tmp_path):
    for item in ("kos01", "kos02"):
        picture(tmp_path / "in" / item / "Part0.jpg")
        write_png(tmp_path / "in" / item / "Part0_label.png", SQUARE_MASK & (item == "kos01"))
    read = ReadOptions(defect="defect")
    result = run(tmp_path / "in", tmp_path, "masks", read=read, test_good=0)
    assert result.images == {"test/defect": 1, "train/good": 1}
    assert any("names occur twice: 2" in note for note in result.notes)
    assert np.array_equal(mask_of(tmp_path, "defect", "kos01_Part0"), SQUARE_MASK)
    for name in ("1", "2", "3"):
        picture(tmp_path / "photos" / f"{name}.png")
    write_png(tmp_path / "masks" / "crack" / "1.png", SQUARE_MASK)
    write_png(tmp_path / "masks" / "dent" / "2_mask.png", SQUARE_MASK)
    read = ReadOptions(images=tmp_path / "photos")
    result = run(tmp_path / "masks", tmp_path, "masks", force=True, read=read)
    assert result.images == {"test/crack": 1, "test/dent": 1, "train/good": 1}


def test_doubled_and_unicode_names_get_names_of_their_own(tmp_path):
    decomposed = unicodedata.normalize("NFD", "größe 7.png")
    names = ["x/a.png", "y/a.png", "y/A.jpg", decomposed, "b.c.png"]
    categories = [{"id": 1, "name": "Riß: tief/breit"}, {"id": 2, "name": "riß tief_breit"}]
    names.append("good.png")
    labels = [annotation(number, 1 + (number == 5)) for number in range(1, 6)]
    result = run(coco(tmp_path / "in", labels, names, categories=categories), tmp_path)
    assert result.images == {"test/Riß_tief_breit": 5, "train/good": 1}
    stems = {path.stem for path in (tmp_path / "set/part/test/Riß_tief_breit").iterdir()}
    assert stems == {"x_a", "y_a", "y_A_2", unicodedata.normalize("NFC", "größe_7"), "b.c"}
    assert any("put together" in note for note in result.notes)
    assert len(read_category(tmp_path / "set" / "part", "set").anomalous) == 5


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("stored", [True, False])
def test_images_that_exif_turns_are_upright_with_their_masks(tmp_path, orientation, stored):
    """Tools label either the picture a viewer shows, or the pixels as they are stored."""
    folder = tmp_path / "in"
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = SIZE if orientation == 3 else SIZE[::-1]
    picture(folder / "a.png", exif=exif)
    source = coco(folder, [annotation()], ["a.png"])
    if not stored or orientation == 3:
        value = json.loads(source.read_text())
        value["images"][0] |= {"width": upright[1], "height": upright[0]}
        source.write_text(json.dumps(value))
    run(source, tmp_path)
    image = read_image(tmp_path / "set" / "part" / "test" / "crack" / "a.png")
    assert np.array_equal(image, read_image(folder / "a.png")) and image.shape[:2] == upright
    mask = mask_of(tmp_path, "crack", "a")
    if stored and orientation != 3:
        assert np.array_equal(mask, np.rot90(SQUARE_MASK, 3 if orientation == 6 else 1))
    else:
        assert mask[5:15, 10:20].all() and mask.sum() == 100


def test_boxes_and_classes_to_pass_over(tmp_path):
    labels = [annotation(1, segmentation=[]), annotation(2, 2)]
    source = coco(tmp_path / "in", labels)
    with pytest.raises(DataError, match=r"annotation 11, has a box and no outline.*--boxes"):
        run(source, tmp_path)
    result = run(source, tmp_path, read=ReadOptions(boxes=True), ignore=("dent",), test_good=0)
    assert result.images == {"test/crack": 1, "train/good": 2}
    assert np.array_equal(mask_of(tmp_path, "crack", "a"), SQUARE_MASK)
    with pytest.raises(TargetError, match="Did you mean dent"):
        run(source, tmp_path, read=ReadOptions(boxes=True), ignore=("dend",))


# --- bad input -------------------------------------------------------------------------------------


def spoil_coco(**changes):
    return lambda folder: ("coco", coco(folder, [annotation(**changes)]))


def spoil_file(form, text, name="labels.json"):
    def make(folder):
        picture(folder / "a.png")
        (folder / name).write_text(text)
        return form, folder

    return make


def spoil_missing_image(folder):
    source = coco(folder, [annotation()])
    (folder / "a.png").unlink()
    return "coco", source


def spoil_size(folder):
    picture(folder / "a.png", (30, 30))
    return "coco", coco(folder, [annotation()])


def spoil_twice(folder):
    picture(folder / "x" / "a.png")
    picture(folder / "y" / "a.png")
    source = coco(folder, [annotation()])
    (folder / "a.png").unlink()
    return "coco", source


def spoil_categories(categories):
    return lambda folder: ("coco", coco(folder, [annotation()], categories=categories))


spoil_good_class = spoil_categories([{"id": 1, "name": "good"}])


def spoil_no_image_of_text(folder):
    source = yolo(folder, "")
    (source / "labels" / "train" / "z.txt").write_text("0 0 0 1 0 1 1")
    return "yolo", source


def spoil_yolo(line, names="names: [crack]"):
    return lambda folder: ("yolo", yolo(folder, line, names))


def spoil_labelme(shape=None, **changes):
    shape = {"label": "crack", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 5]], **(shape or {})}
    return lambda folder: ("labelme", labelme(folder, [shape], **changes))


def spoil_mask(size, name="a_mask.png"):
    def make(folder):
        picture(folder / "a.png")
        write_png(folder / name, np.ones(size, bool))
        return "masks", folder

    return make


RUNS = {"size": list(SIZE), "counts": [5, 5, 2390]}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_missing_image, "image 1, names the image a.png, which is not in .*--images"),
        (spoil_twice, "of which there are 2"),
        (spoil_size, "a.png is 30 x 30 pixels, but its labels are for an image of 60 x 40"),
        (spoil_coco(segmentation=[[70, 1, 90, 1, 90, 9]]), "annotation 11, lies outside of its image"),
        (spoil_coco(category_id=9), "category_id 9, which 'categories' does not list"),
        (spoil_coco(image_id=9), "image 9, which 'images' does not list"),
        (spoil_coco(segmentation=[[1, 2, 3, 4]]), "2 points"),
        (spoil_coco(segmentation=[], bbox=None), "empty segmentation"),
        (spoil_coco(segmentation=RUNS | {"size": [40, 50]}), "do not add up"),
        (spoil_coco(segmentation={"size": [30, 80], "counts": [5, 5, 2390]}), "80 x 30 pixels, its image"),
        (spoil_coco(segmentation=RUNS | {"counts": "0000!"}), "no text of COCO's"),
        (spoil_coco(segmentation=RUNS | {"counts": "0000"}), "do not add up"),
        (spoil_coco(segmentation=RUNS | {"counts": [2400]}), "without a defect pixel"),
        (spoil_coco(segmentation=RUNS | {"counts": None}), "without counts"),
        (spoil_coco(image_id=[1]), "image None, which 'images' does not list"),
        (spoil_categories([{"id": {}, "name": "x"}]), "whose id is {}, no number"),
        (spoil_categories(["x"]), "no list 'categories'"),
        (spoil_good_class, "--ignore good"),
        (spoil_file("coco", "{"), "labels.json is no valid JSON"),
        (spoil_file("coco", "[]"), "holds no COCO file"),
        (spoil_file("labelme", "{"), "labels.json is no valid JSON"),
        (spoil_file("labelme", "{}"), "holds no LabelMe file"),
        (spoil_file("yolo", "names: [", "data.yaml"), "data.yaml cannot be read"),
        (spoil_file("yolo", "names: 3", "data.yaml"), "'names' must be a list"),
        (spoil_file("masks", ""), "holds no masks"),
        (spoil_no_image_of_text, "z.txt has no image of its name"),
        (spoil_yolo("7 0.1 0.1 0.5 0.1 0.5 0.5"), "a.txt, line 1, has the class 7, which has no name"),
        (spoil_yolo("0 0.1 0.1 0.5 0.1"), "is a box and no outline"),
        (spoil_yolo("0 10 10 50 10 50 50"), "shares of the image's width"),
        (spoil_yolo("0 0.1 0.1 0.5 0.1 0.5"), "odd number"),
        (spoil_yolo("crack 0.1 0.1"), "no class number"),
        (spoil_labelme({"shape_type": "star"}), "shape 1, is a star: expected polygon"),
        (spoil_labelme({"shape_type": "circle"}), "circle of 3 points"),
        (spoil_labelme({"points": [[1, 1]]}), "1 points"),
        (spoil_labelme({"label": ""}), "has no label"),
        (spoil_labelme({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "?"}), "no picture"),
        (spoil_labelme(imageHeight=99), "labels are for an image of 60 x 99"),
        (spoil_labelme(name="b", imagePath="../gone.png"), None),  # found by the file's own name
        (spoil_mask((9, 9)), "labels are for an image of 9 x 9"),
        (spoil_mask(SIZE, "z_mask.png"), "has 0 images of its name"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(tmp_path, spoil, words):
    form, source = spoil(tmp_path / "in")
    if words is None:
        assert run(source, tmp_path, form).images == {"test/crack": 1}
        return
    with pytest.raises(DataError, match=words) as caught:
        run(source, tmp_path, form)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_bad_images_can_be_left_out_and_are_told(tmp_path):
    labels = [annotation(1), annotation(2, segmentation=[[70, 1, 90, 1, 90, 9]]), annotation(3, 9)]
    source = coco(tmp_path / "in", labels, ("a.png", "b.png", "c.png", "d.png"))
    with pytest.raises(DataError, match="1 other "):
        run(source, tmp_path)
    result = run(source, tmp_path, skip_bad=True)
    assert result.images == {"test/crack": 1, "train/good": 1}  # those left out are not taken for good ones
    assert sum(note.startswith("Left out:") for note in result.notes) == 2


def test_a_damaged_image_is_left_out_whole(tmp_path):
    source = coco(tmp_path / "in", [annotation(1, 1), annotation(2, 2)])
    path = tmp_path / "in" / "a.png"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        run(source, tmp_path)
    assert run(source, tmp_path, skip_bad=True).images == {"test/dent": 1, "train/good": 1}
    assert list(read_category(tmp_path / "set" / "part", "set").defects) == ["dent"]


def test_labels_that_reach_out_are_cut_off_and_told(tmp_path):
    source = coco(tmp_path / "in", [annotation(segmentation=[[50, 30, 90, 30, 90, 70, 50, 70]])])
    result = run(source, tmp_path)
    assert mask_of(tmp_path, "crack", "a").sum() == 100
    assert any("edge: 1 label." in note for note in result.notes)


# --- interruptions and repetition ------------------------------------------------------------------


def test_done_is_skipped_and_other_labels_need_force(tmp_path):
    source = coco(tmp_path / "in", [annotation()])
    first = run(source, tmp_path)
    again = run(source, tmp_path)
    assert again.skipped and again.images == first.images and again.notes == first.notes
    source.write_text(source.read_text().replace("crack", "split"))
    with pytest.raises(WorkspaceError, match=r"exists, made from other data.*--force"):
        run(source, tmp_path)
    assert "test/crack/a.png" in tree(tmp_path / "set" / "part")
    run(source, tmp_path, force=True)
    files = tree(tmp_path / "set" / "part")
    assert "test/split/a.png" in files and not any("crack" in name for name in files)
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"part", "part.import.json"}


def test_data_of_others_is_never_replaced(tmp_path):
    source = coco(tmp_path / "in", [annotation()])
    mine = picture(tmp_path / "set" / "part" / "train" / "good" / "mine.png")
    for force in (False, True):
        with pytest.raises(WorkspaceError, match="no record says that this command made it"):
            run(source, tmp_path, force=force)
    assert mine.is_file()


def test_a_killed_import_goes_on_and_shows_nothing_before(tmp_path, monkeypatch):
    source = coco(tmp_path / "in", [annotation(1), annotation(2)])
    write, calls = job._write, []

    def stop_at_third(item, root):
        calls.append(item.stem)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(item, root)

    monkeypatch.setattr(job, "_write", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path)
    assert not (tmp_path / "set" / "part").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*.png")}
    assert len(kept) == 4
    monkeypatch.setattr(job, "_write", write)
    run(source, tmp_path)
    for path, time in kept.items():
        final = tmp_path / "set" / "part" / path.relative_to(tmp_path / "set" / ".part.part")
        assert final.stat().st_mtime_ns == time
    whole = {name: (tmp_path / "set" / name).read_bytes() for name in tree(tmp_path / "set")}
    run(source, tmp_path, force=True)
    assert {name: (tmp_path / "set" / name).read_bytes() for name in tree(tmp_path / "set")} == whole
