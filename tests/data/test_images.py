from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from PIL import Image

from augment.data import images
from augment.data.images import (
    file_sha256,
    image_size,
    is_plain_png,
    list_images,
    read_image,
    read_mask,
    read_sample,
    to_rgb,
    write_png,
)
from augment.data.sample import Sample
from augment.errors import DataError, WorkspaceError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
LOSSLESS = ["png", "PNG", "bmp", "Bmp", "tif", "TIF", "tiff"]


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "rgb"])
def test_lossless_formats_are_read_exactly(tmp_path, suffix, pixels):
    path = tmp_path / f"ein Bild ü.{suffix}"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read_image(path), pixels)
    assert image_size(path) == (12, 20)
    assert list_images(tmp_path) == [path]


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "Jpeg"])
def test_jpeg_is_read_in_any_case_of_its_extension(tmp_path, suffix):
    path = tmp_path / f"000.{suffix}"
    Image.new("RGB", (20, 12), (200, 100, 50)).save(path, format="JPEG", quality=95)
    image = read_image(path)
    assert image.shape == (12, 20, 3)
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 3  # JPEG's own rounding
    assert list_images(tmp_path) == [path]


def test_alpha_is_dropped(tmp_path):
    alpha = np.zeros((12, 20, 1), np.uint8)
    Image.fromarray(np.concatenate([COLOUR, alpha], axis=2)).save(tmp_path / "rgba.png")
    Image.fromarray(np.stack([GREY, GREY * 0], axis=2)).save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "rgba.png"), COLOUR)
    assert np.array_equal(read_image(tmp_path / "la.png"), GREY)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (4, 1))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9])
    image.putdata([0, 1, 2, 3])
    image.save(tmp_path / "p.png", transparency=1)
    expected = [[[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 9]]]
    assert read_image(tmp_path / "p.png").tolist() == expected


def test_one_bit_becomes_black_and_white(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "bits.png"), (GREY > 127) * 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_divided_by_257_and_rounded(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    assert read_image(tmp_path / f"deep.{suffix}").tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]


def test_thirty_two_bit_is_read_where_it_fits_in_sixteen(tmp_path):
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(tmp_path / "fits.tif")
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "beyond.tif")
    assert read_image(tmp_path / "fits.tif").tolist() == [[0, 255]]
    with pytest.raises(DataError, match=r"beyond\.tif holds 32-bit values beyond"):
        read_image(tmp_path / "beyond.tif")


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif holds floating-point pixels"):
        read_image(tmp_path / "float.tif")


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert read_image(tmp_path / "red.tif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied(tmp_path, suffix):
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255  # white on the left, so at the top once turned
    Image.fromarray(pixels).save(path, exif=exif)
    image = read_image(path)
    assert image.shape == (16, 8, 3)
    assert image[:7].min() > 200
    assert image[9:].max() < 50
    assert image_size(path) == (16, 8)


def test_size_is_read_from_the_header_alone(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    assert image_size(path) == (64, 48)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_truncated_file_is_one_clear_line(tmp_path, suffix, read):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut\.{suffix}.*replace or remove it") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "an empty file"), (b"not an image at all", "no image"), (b"\x89PNG\r\n\x1a\n", "")],
    ids=["empty", "text", "signature only"],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "000.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(DataError, match=rf"000\.png.*{message}"):
            read(path)


def test_missing_file_is_named(tmp_path):
    for read in (read_image, read_mask, image_size, file_sha256):
        with pytest.raises(DataError, match=r"gone\.png"):
            read(tmp_path / "gone.png")


def test_oversized_image_is_refused(tmp_path, monkeypatch):
    write_png(tmp_path / "big.png", COLOUR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"big\.png cannot be read"):
        read_image(tmp_path / "big.png")


def test_listing_passes_over_other_files(tmp_path):
    for name in ("Thumbs.db", "._000.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    write_png(tmp_path / "1.png", GREY)
    assert list_images(tmp_path) == [tmp_path / "1.png"]


MASK = np.zeros((12, 20), bool)
MASK[3:7, 5:15] = True


@pytest.mark.parametrize(
    "pixels",
    [
        MASK,
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.uint8) * 238,  # MVTec LOCO numbers its defects downwards from 255
        MASK.astype(np.uint16) * 65535,
        MASK.astype(np.uint16),
        MASK[..., None].astype(np.uint8) * np.array([0, 0, 255], np.uint8),
        np.dstack([MASK.astype(np.uint8) * 255] * 3 + [np.full(MASK.shape, 255, np.uint8)]),
    ],
    ids=["1 bit", "0/1", "0/255", "0/238", "16 bit", "16 bit 0/1", "blue", "rgba"],
)
def test_masks_of_any_mode_are_read(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", (12, 20))
    assert mask.dtype == bool
    assert np.array_equal(mask, MASK)


def test_palette_mask(tmp_path):
    image = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_class_numbers_all_count_as_defect(tmp_path):
    Image.fromarray(np.array([[0, 1, 2, 9]], np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, True, True, True]]


def test_antialiased_edges_are_cut_at_half(tmp_path):
    Image.fromarray(np.array([[0, 60, 127, 128, 255]], np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, False, False, True, True]]


def test_jpeg_mask_has_no_halo(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[21:43, 19:45] = 255
    Image.fromarray(mask).save(tmp_path / "mask.jpg", quality=75)
    assert np.array_equal(read_mask(tmp_path / "mask.jpg"), mask > 0)


def test_a_folder_of_masks_is_merged(tmp_path):
    other = np.roll(MASK, 3, axis=0)
    write_png(tmp_path / "000.png", MASK)
    write_png(tmp_path / "001.png", other)
    assert np.array_equal(read_mask(tmp_path, (12, 20)), MASK | other)
    write_png(tmp_path / "002.png", MASK[:5])
    with pytest.raises(DataError, match="differ in size"):
        read_mask(tmp_path)


def test_empty_mask_folder(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        read_mask(tmp_path)


def test_mask_size_mismatch_names_the_file_and_both_sizes(tmp_path):
    write_png(tmp_path / "mask.png", MASK)
    with pytest.raises(DataError, match=r"mask\.png is 20 x 12 pixels but its image is 20 x 13"):
        read_mask(tmp_path / "mask.png", (13, 20))


def test_empty_mask_is_named(tmp_path):
    write_png(tmp_path / "mask.png", MASK & False)
    with pytest.raises(DataError, match=r"mask\.png is empty"):
        read_mask(tmp_path / "mask.png", (12, 20))


def test_read_sample(tmp_path):
    write_png(tmp_path / "image.png", COLOUR)
    write_png(tmp_path / "mask.png", MASK)
    image, mask = read_sample(Sample(tmp_path / "image.png", tmp_path / "mask.png", "crack"))
    assert np.array_equal(image, COLOUR)
    assert np.array_equal(mask, MASK)
    assert read_sample(Sample(tmp_path / "image.png", None, "good"))[1] is None


@pytest.mark.parametrize("pixels", [GREY, COLOUR, MASK], ids=["grey", "rgb", "mask"])
def test_written_png_reads_back_equal(tmp_path, pixels):
    path = tmp_path / "new folder" / "000.png"
    write_png(path, pixels)
    assert np.array_equal(read_image(path), pixels * np.uint8(255) if pixels.dtype == bool else pixels)
    assert [p.name for p in path.parent.iterdir()] == ["000.png"]


def test_write_refuses_other_types(tmp_path):
    with pytest.raises(TypeError, match="float64"):
        write_png(tmp_path / "000.png", GREY / 255)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), WorkspaceError),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), WorkspaceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "read-only", "Ctrl-C"],
)
def test_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, failure, error):
    path = tmp_path / "000.png"
    write_png(path, GREY)

    def save_half(self, file, **kwargs):
        file.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(images.Image.Image, "save", save_half)
    with pytest.raises(error):
        write_png(path, COLOUR)
    assert list(tmp_path.iterdir()) == [path]
    assert np.array_equal(read_image(path), GREY)


def test_to_rgb():
    assert np.array_equal(to_rgb(GREY), np.stack([GREY] * 3, axis=2))
    assert to_rgb(COLOUR) is COLOUR


def test_hash_of_a_file_and_of_a_mask_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a.png").startswith("ba7816bf8f01cfea")  # FIPS 180-2's example
    one = file_sha256(tmp_path)
    (tmp_path / "a.png").write_bytes(b"abd")
    assert file_sha256(tmp_path) != one


def test_plain_png_is_told_from_the_rest(tmp_path):
    write_png(tmp_path / "grey.png", GREY)
    write_png(tmp_path / "rgb.png", COLOUR)
    Image.fromarray(GREY.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(MASK).save(tmp_path / "bits.png")
    Image.fromarray(COLOUR).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(COLOUR).save(tmp_path / "named.png", format="BMP")
    plain = {path.name for path in list_images(tmp_path) if is_plain_png(path)}
    assert plain == {"grey.png", "rgb.png"}
