"""Images of every mode, depth and orientation that a format knows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from hostile.builders import (
    GREY,
    HEIGHT,
    MASK,
    MASKS,
    PIXELS,
    WIDTH,
    Case,
    as_image,
    as_mask,
    both,
    chunk,
    encoded,
    exif,
    png,
    png_data,
    raw_exif,
    saved,
    turned,
)
from hostile.outcomes import assert_handled
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo


def kinds() -> Iterator[Case]:
    def right(name: str, content: bytes, pixels: np.ndarray, suffix: str = "png", **more: Any) -> Case:
        make, path = as_image(content, suffix)
        return Case(name, make, path, pixels=pixels, **more)

    alpha = GREY[..., None]
    deep_grey, deep = GREY.astype(np.uint16) * 257, PIXELS.astype(np.uint16) * 257
    palette = Image.fromarray(PIXELS).quantize(16)
    shown = np.array(palette.convert("RGB"))
    rgba, la = np.dstack([PIXELS, alpha]), np.dstack([GREY, alpha])
    others = [Image.fromarray(np.roll(PIXELS, i, axis=1)) for i in (1, 2)]
    cmyk = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    red = np.broadcast_to(np.uint8([255, 0, 0]), PIXELS.shape)

    yield right("RGBA", saved(rgba, "PNG"), PIXELS, check=("with alpha",))
    yield right("grey and alpha", saved(la, "PNG"), GREY, check=("with alpha",))
    yield right("RGBA tif", saved(rgba, "TIFF"), PIXELS, "tif", check=("with alpha",))
    yield right("1-bit png", saved(GREY > 127, "PNG"), (GREY > 127) * np.uint8(255))
    for compression in ("group4", "tiff_lzw"):
        content = saved(GREY > 127, "TIFF", compression=compression)
        yield right(f"1-bit {compression} tif", content, (GREY > 127) * np.uint8(255), "tif")
    yield right("palette", saved(palette, "PNG"), shown, check=("with a palette",))
    yield right("palette, one colour clear", saved(palette, "PNG", transparency=3), shown)
    yield right("palette, alpha a colour", saved(palette, "PNG", transparency=bytes(range(16))), shown)
    yield right("palette bmp", saved(palette, "BMP"), shown, "bmp")
    yield right("16-bit grey png", saved(deep_grey, "PNG"), GREY, check=("of 16 bit",))
    yield right("16-bit grey tif", saved(deep_grey, "TIFF"), GREY, "tif", check=("of 16 bit",))
    big_endian = Image.frombytes("I;16B", (WIDTH, HEIGHT), deep_grey.astype(">u2").tobytes())
    yield right("16-bit big-endian tif", saved(big_endian, "TIFF"), GREY, "tif")
    yield right("16-bit colour png", encoded(".png", deep), PIXELS, check=("of 16 bit",))
    yield right("16-bit colour tif", encoded(".tif", deep), PIXELS, "tif")
    yield right("32-bit grey tif", saved(deep_grey.astype(np.int32), "TIFF"), GREY, "tif")
    yield right("CMYK tif", saved(cmyk, "TIFF"), red, "tif")
    yield right("CMYK jpg", saved(cmyk, "JPEG", quality=100), red, "jpg")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield right(f"{compression} tif", saved(PIXELS, "TIFF", compression=compression), PIXELS, "tif")
    yield right("BigTIFF", saved(PIXELS, "TIFF", big_tiff=True), PIXELS, "tif")
    frames = {"save_all": True, "append_images": others}
    several = ("of several frames",)
    yield right("multi-page tif", saved(PIXELS, "TIFF", **frames), PIXELS, "tif", check=several)
    yield right("animated png", saved(PIXELS, "PNG", **frames), PIXELS, check=several)
    gif = saved(palette, "GIF", **frames)
    first = np.array(Image.open(io.BytesIO(gif)).convert("RGB"))
    yield right("animated gif named png", gif, first, check=several)
    webp = saved(PIXELS, "WEBP", lossless=True, **frames)
    yield right("animated webp named png", webp, PIXELS, check=several)
    jpeg = saved(PIXELS, "JPEG", progressive=True)
    decoded = np.array(Image.open(io.BytesIO(jpeg)))
    yield right("progressive jpg", jpeg, decoded, "jpeg")
    yield right("png named jpg", saved(PIXELS, "PNG"), PIXELS, "jpg")
    yield right("jpg named png", jpeg, decoded)
    yield right("bmp named tif", saved(PIXELS, "BMP"), PIXELS, "tif")
    yield right("tif named bmp", saved(PIXELS, "TIFF"), PIXELS, "bmp")
    mpo = saved(PIXELS, "MPO", **frames)
    yield right("two pictures in one jpg", mpo, np.array(Image.open(io.BytesIO(mpo))), "jpg")
    yield right("trailing rubbish", saved(PIXELS, "PNG") + b"rubbish" * 99, PIXELS)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield right("a colour profile", saved(PIXELS, "PNG", icc_profile=profile), PIXELS)
    yield right("a broken colour profile", saved(PIXELS, "PNG", icc_profile=b"none"), PIXELS)
    info = PngInfo()
    info.add_text("comment", "größe\n" * 50, zip=True)
    yield right("comments", saved(PIXELS, "PNG", pnginfo=info), PIXELS)

    for name, content in {
        "floating-point tif": saved(PIXELS[..., 0].astype(np.float32), "TIFF"),
        "32-bit values beyond 16": saved(deep_grey.astype(np.int32) * 70_000 // 257, "TIFF"),
        "negative values": saved(-deep_grey.astype(np.int32) - 1, "TIFF"),
        "floating-point colour tif": encoded(".tif", PIXELS.astype(np.float32)),
        "double-precision tif": cv2.imencode(".tif", PIXELS[..., 0].astype(np.float64))[1].tobytes(),
    }.items():
        make, path = as_image(content, "tif")
        yield Case(name, make, path, "line", words=("001.tif",))

    rng = np.random.default_rng(8)
    for name, shape in {"one pixel": (1, 1), "a line": (1, 300), "a column": (300, 1)}.items():
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        mask = np.ones(shape, bool)
        make, path = as_image(saved(pixels, "PNG"))
        yield Case(name, both(make, as_mask(saved(mask, "PNG"))), path, pixels=pixels, mask=mask)


def orientations() -> Iterator[Case]:
    """Image and mask must agree, in whatever way each is turned."""
    for value in range(1, 9):
        for suffix, form in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF")):
            content = saved(PIXELS, form, exif=exif(value))
            plain = np.array(Image.open(io.BytesIO(saved(PIXELS, form))))
            make, path = as_image(content, suffix)
            mask = turned(MASK.astype(np.uint8) * 255, value)
            yield Case(
                f"{suffix} turned by {value}, mask upright",
                both(make, as_mask(saved(mask, "PNG"))),
                path,
                pixels=turned(plain, value),
                mask=mask > 0,
            )
    for value in (3, 6):
        mask = turned(MASK.astype(np.uint8) * 255, value)
        content = saved(MASK.astype(np.uint8) * 255, "PNG", exif=exif(value))
        make, path = as_image(saved(PIXELS, "PNG", exif=exif(value)))
        pixels = turned(PIXELS, value)
        yield Case(
            f"image and mask turned by {value}",
            both(make, as_mask(content)),
            path,
            pixels=pixels,
            mask=mask > 0,
        )
    make, path = as_image(saved(PIXELS, "PNG", exif=exif(6)))
    words = ("001_mask.png", f"{WIDTH} x {HEIGHT}", f"{HEIGHT} x {WIDTH}")
    yield Case("image turned, mask left lying", make, MASKS, "line", words=words)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    early = png(WIDTH, HEIGHT, chunk(b"iTXt", text), png_data(PIXELS))
    late = png(WIDTH, HEIGHT, png_data(PIXELS), chunk(b"eXIf", exif(6).tobytes()[6:]))
    late_xmp = png(WIDTH, HEIGHT, png_data(PIXELS), chunk(b"iTXt", text))
    jpeg = saved(PIXELS, "JPEG", xmp=xmp)
    mask = as_mask(saved(turned(MASK.astype(np.uint8), 6), "PNG"))
    for name, content, suffix in (
        ("turned by XMP in a png", early, "png"),
        ("turned by EXIF after a png's pixels", late, "png"),
        ("turned by XMP after a png's pixels", late_xmp, "png"),
        ("turned by XMP in a jpg", jpeg, "jpg"),
    ):
        make, path = as_image(content, suffix)
        plain = PIXELS if suffix == "png" else np.array(Image.open(io.BytesIO(jpeg)))
        yield Case(name, both(make, mask), path, pixels=turned(plain, 6))
    for name, entry in {
        "of 0": (3, 1, b"\0"),
        "of 9": (3, 1, b"\x09"),
        "of 65535": (3, 1, b"\xff\xff"),
        "of two numbers": (3, 2, b"\1\0\6\0"),
        "that is text": (2, 4, b"left"),
        "that is bytes": (7, 4, b"\0\0\0\6"),
        "that is a fraction of nothing": (5, 1, b"\0"),
    }.items():
        make, path = as_image(saved(PIXELS, "PNG", exif=raw_exif(*entry)))
        yield Case(f"an orientation {name}", make, path, pixels=PIXELS)
    for name, data in {
        "rubbish": b"Exif\0\0rubbish",
        "cut off": b"Exif\0\0II*\0\x08\0",
        "empty": b"",
    }.items():
        for suffix, form in (("png", "PNG"), ("jpg", "JPEG")):
            make, path = as_image(saved(PIXELS, form, exif=data), suffix)
            plain = np.array(Image.open(io.BytesIO(saved(PIXELS, form))))
            yield Case(f"EXIF that is {name}, {suffix}", make, path, pixels=plain)


CASES = [*kinds(), *orientations()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_image_gives_the_right_answer_or_one_line(case, base, tmp_path):
    assert_handled(case, base, tmp_path)
