"""Files that are cut off, changed, or no images at all."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hostile.builders import (
    GOOD,
    HEIGHT,
    IMAGE,
    MASK,
    PIXELS,
    WIDTH,
    Case,
    as_image,
    as_mask,
    chunk,
    png,
    png_data,
    put,
    saved,
)
from hostile.outcomes import assert_handled
from PIL import Image

FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}
KEPT = (1, 8, 20, 40, 0.3, 0.7, -40, -12, -1)  # bytes from the start, a share, or but the last ones


def truncated() -> Iterator[Case]:
    for suffix, form in FORMATS.items():
        for place, source in (("image", PIXELS), ("mask", MASK.astype(np.uint8) * 255)):
            whole = saved(source, form)
            for keep in KEPT:
                part = whole[: int(keep * len(whole)) if isinstance(keep, float) else keep]
                name = f"truncated {suffix} {place}, {keep} kept"
                if place == "image":
                    make, path = as_image(part, suffix)
                    pixels = np.array(Image.open(io.BytesIO(whole)).convert("RGB"))
                    yield Case(name, make, path, "either", pixels=pixels)
                else:
                    path = f"ground_truth/spot/001_mask.{suffix}"
                    yield Case(name, as_mask(part, suffix), path, "either", mask=MASK)
    for suffix, form in FORMATS.items():
        path = f"train/good/001.{suffix}"
        half = saved(PIXELS, form)[:700]
        yield Case(f"truncated good {suffix}", put(half, path, GOOD), path, "line", words=("001." + suffix,))


def flipped() -> Iterator[Case]:
    """Single bytes changed, mostly in the header: any pixels or one line, and no disagreement on the size."""
    forms = {
        **FORMATS,
        "tiff": "TIFF",
        "gif.png": "GIF",
        "webp.png": "WEBP",
    }
    for suffix, form in forms.items():
        options = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
        whole = saved(PIXELS, form, **options)
        for seed in range(5):
            rng = np.random.default_rng([seed, len(whole)])
            content = bytearray(whole)
            reach = 64 if seed < 3 else len(whole)
            for place in rng.integers(4, reach, 3 if seed else 1):
                content[place] = rng.integers(256)
            make, path = as_image(bytes(content), suffix)
            yield Case(f"bytes changed in {form} {suffix}, {seed}", make, path, "either")
    ifd = saved(PIXELS, "TIFF")
    start = struct.unpack("<I", ifd[4:8])[0]
    for tag in range(struct.unpack("<H", ifd[start : start + 2])[0]):  # each tag's kind and count in turn
        content = bytearray(ifd)
        place = start + 2 + 12 * tag
        content[place + 2 : place + 8] = struct.pack("<HI", tag % 13, 2**31 - 5 if tag % 2 else 0)
        make, path = as_image(bytes(content), "tif")
        yield Case(f"tag {tag} of a tif changed", make, path, "either")


def not_images() -> Iterator[Case]:
    contents = {
        "zero-byte": (b"", "empty file"),
        "text": (b"these are not the pixels you are looking for", "001"),
        "html": (b"<!DOCTYPE html><html><body>404</body></html>", "001"),
        "a git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "001"),
        "zeros": (bytes(5000), "001"),
        "noise": (np.random.default_rng(8).bytes(5000), "001"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 28\nshowpage\n%%EOF\n", "001"),
        "pdf": (b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", "001"),
        "a png of no width": (png(0, HEIGHT, png_data(PIXELS)), "001"),
        "a png without data": (png(WIDTH, HEIGHT), "001"),
        "a png of an unknown colour type": (png(WIDTH, HEIGHT, png_data(PIXELS), colour=5), "001"),
        "a png of wrong checksums": (
            saved(PIXELS, "PNG").replace(b"IDAT", b"IDAT\0", 1),
            "001",
        ),
        "a png of 3.6 gigapixels": (png(60000, 60000, png_data(PIXELS)), "60000"),
        "a png of 2**31 pixels' width": (png(2**31 - 1, 1, png_data(PIXELS)), "001"),
        "a bmp of 3.6 gigapixels": (_bmp(60000, 60000), "60000"),
        "a bmp of negative size": (_bmp(-5, 5), "001"),
        "a tif of 3.6 gigapixels": (_tif(60000, 60000), "60000"),
        "a png with a text bomb": (
            png(WIDTH, HEIGHT, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000))), png_data(PIXELS)),
            "001",
        ),
    }
    for name, (content, word) in contents.items():
        make, path = as_image(content)
        yield Case(f"{name}, as an image", make, path, "line", words=("001.png", word))
        if "pixels" not in name:
            path = "ground_truth/spot/001_mask.png"
            yield Case(f"{name}, as a mask", as_mask(content), path, "line", words=("001_mask.png",))
    large = png(12000, 12000, png_data(PIXELS), colour=0)  # few enough pixels to be read, if they were there
    yield Case("a png of 144 megapixels", as_image(large)[0], IMAGE, "line", words=("12000 x 12000",))
    path = "train/good/001.png"
    yield Case("a good png of 144 megapixels", put(large, path), path, "line", words=("001.png", "truncated"))


def _bmp(width: int, height: int) -> bytes:
    content = bytearray(saved(PIXELS, "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def _tif(width: int, height: int) -> bytes:
    content = bytearray(saved(PIXELS, "TIFF"))
    start = struct.unpack("<I", content[4:8])[0]
    for tag in range(struct.unpack("<H", content[start : start + 2])[0]):
        place = start + 2 + 12 * tag
        number = struct.unpack("<H", content[place : place + 2])[0]
        if number in (256, 257):
            value = width if number == 256 else height
            content[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(content)


CASES = [*truncated(), *flipped(), *not_images()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_gives_the_right_answer_or_one_line(case, base, tmp_path):
    assert_handled(case, base, tmp_path)
