from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from PIL import Image

from augment.data.export import MvtecWriter
from augment.data.images import list_images, read_image
from augment.data.layouts import read_category
from augment.data.sample import Sample
from augment.errors import DataError, WorkspaceError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
MASK = np.zeros((24, 32), bool)
MASK[4:9, 5:20] = True


def good(path, image, **options):
    image.save(path, **options)
    return Sample(path, None, "good")


def test_plain_pngs_keep_their_bytes_and_the_rest_becomes_png(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    sources = [
        good(tmp_path / "rgb.png", Image.fromarray(COLOUR), compress_level=1),
        good(tmp_path / "grey.PNG", Image.fromarray(GREY), compress_level=1),
        good(tmp_path / "photo.jpg", Image.fromarray(COLOUR)),
        good(tmp_path / "deep.tif", Image.fromarray(GREY.astype(np.uint16) * 257)),
        good(tmp_path / "alpha.png", Image.fromarray(COLOUR).convert("RGBA")),
        good(tmp_path / "turned.png", Image.fromarray(COLOUR), exif=exif),
    ]
    MvtecWriter(tmp_path / "out", "plate").write_good(sources, sources[:1])
    train = list_images(tmp_path / "out" / "plate" / "train" / "good")
    assert [path.name for path in train] == [f"000{k}.png" for k in range(6)]
    assert [path.name for path in list_images(tmp_path / "out" / "plate" / "test" / "good")] == ["0000.png"]
    for path, source in zip(train, sources, strict=True):
        assert np.array_equal(read_image(path), read_image(source.image))
        assert Image.open(path).format == "PNG"
        assert not path.is_symlink()
    assert [p.read_bytes() == s.image.read_bytes() for p, s in zip(train, sources, strict=True)] == [
        True, True, False, False, False, False
    ]  # fmt: skip


def test_good_images_already_there_are_skipped(tmp_path):
    source = good(tmp_path / "a.png", Image.fromarray(COLOUR))
    writer = MvtecWriter(tmp_path / "out", "plate")
    writer.write_good([source], [])
    before = os.stat(writer.folder / "train" / "good" / "0000.png").st_mtime_ns
    writer.write_good([source, source], [])
    after = os.stat(writer.folder / "train" / "good" / "0000.png").st_mtime_ns
    assert before == after
    assert len(list_images(writer.folder / "train" / "good")) == 2


def test_a_truncated_good_image_is_not_copied(tmp_path):
    source = good(tmp_path / "a.png", Image.fromarray(COLOUR))
    source.image.write_bytes(source.image.read_bytes()[:-200])
    writer = MvtecWriter(tmp_path / "out", "plate")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        writer.write_good([source], [])
    assert not list(tmp_path.glob("out/**/*.png"))


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "rgb"])
def test_what_is_written_reads_back_equal(tmp_path, image):
    writer = MvtecWriter(tmp_path, "plate")
    assert not writer.has("long crack ü", 3)
    image_path, mask_path = writer.write("long crack ü", 3, image, MASK)
    assert writer.has("long crack ü", 3)
    assert (image_path, mask_path) == writer.paths("long crack ü", 3)
    assert image_path == tmp_path / "plate" / "test" / "long crack ü" / "0003.png"
    assert mask_path == tmp_path / "plate" / "ground_truth" / "long crack ü" / "0003_mask.png"
    assert np.array_equal(read_image(image_path), image)
    assert np.array_equal(np.array(Image.open(mask_path)), MASK * 255)
    assert Image.open(mask_path).mode == "L"


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    first = MvtecWriter(tmp_path / "a", "plate").write("crack", 0, COLOUR, MASK)
    second = MvtecWriter(tmp_path / "b", "plate").write("crack", 0, COLOUR, MASK)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_half_a_pair_is_not_there(tmp_path):
    writer = MvtecWriter(tmp_path, "plate")
    for half in range(2):
        writer.write("crack", 0, COLOUR, MASK)[half].unlink()
        assert not writer.has("crack", 0)


@pytest.mark.parametrize("mask", [MASK & False, MASK[:10]], ids=["empty", "of another size"])
def test_a_wrong_mask_is_refused_and_nothing_written(tmp_path, mask):
    with pytest.raises(DataError, match=r"0000\.png needs a mask of its size"):
        MvtecWriter(tmp_path, "plate").write("crack", 0, COLOUR, mask)
    assert not any(tmp_path.iterdir())


def test_numbers_have_one_width_so_that_masks_sort_like_images(tmp_path):
    writer = MvtecWriter(tmp_path, "plate")
    pairs = [writer.paths("crack", index) for index in (0, 9, 10, 100, 999, 1000, 9999)]
    assert (
        sorted(pairs, key=lambda pair: pair[0].name) == sorted(pairs, key=lambda pair: pair[1].name) == pairs
    )
    with pytest.raises(DataError, match="at most 10000"):
        writer.paths("crack", 10000)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(WorkspaceError, match="cannot be written"):
            MvtecWriter(tmp_path, "plate").write("crack", 0, COLOUR, MASK)
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_way_is_a_workspace_error(tmp_path):
    (tmp_path / "plate").write_bytes(b"")
    with pytest.raises(WorkspaceError, match=r"0000_mask\.png cannot be written"):
        MvtecWriter(tmp_path, "plate").write("crack", 0, COLOUR, MASK)


def test_an_exported_category_is_read_again(tmp_path):
    source = good(tmp_path / "a.jpg", Image.fromarray(COLOUR))
    writer = MvtecWriter(tmp_path / "out", "plate")
    writer.write_good([source], [source])
    writer.write("crack", 0, COLOUR, MASK)
    category = read_category(writer.folder, "synthetic")
    assert (len(category.train_good), len(category.test_good), list(category.defects)) == (1, 1, ["crack"])
