"""Folders that are damaged or odd: each gives the right answer or one clear line, never a traceback.

A case changes one thing in a small category folder and says what must come of it. All public readers and, in
this process, `augment check` and `augment fit --dry-run` are then pointed at it.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from augment.cli import main
from augment.data.check import check_category, inspect_category
from augment.data.images import (
    file_sha256,
    image_kind,
    image_size,
    is_plain_png,
    list_images,
    read_image,
    read_mask,
    read_sample,
)
from augment.data.layouts import read_category
from augment.data.targets import resolve_folders, resolve_targets
from augment.errors import AugmentError

HEIGHT, WIDTH = 28, 40
RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[6:15, 8:30] = True
IMAGE, MASKS, GOOD = "test/spot/001.png", "ground_truth/spot/001_mask.png", "train/good/001.png"

Make = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One hostile folder.

    Attributes:
        name: of the test.
        make: changes the category folder it is given.
        path: the file it is about, relative to the folder.
        result: what must come of it: "right" (the answer is known: `pixels`, `mask`), "line" (one line that
            holds all `words`) or "either" (the answer of the undamaged file, or one line that names it).
        pixels, mask: what `path`, or the mask of the image 001, holds.
        words: of the line.
        check: words that `augment check` must say, whatever its exit code.
        target: what the commands are pointed at, relative to the folder.
    """

    name: str
    make: Make
    path: str = IMAGE
    result: str = "right"
    pixels: np.ndarray | None = None
    mask: np.ndarray | None = None
    words: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    target: str = "spot"


# --- how files are made ----------------------------------------------------------------------------


def saved(image: Image.Image | np.ndarray, form: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, format=form, **options)
    return file.getvalue()


def put(content: bytes, path: str = IMAGE, instead_of: str | None = None) -> Make:
    """Writes a file in place of another (by default of the same name)."""

    def make(root: Path) -> None:
        (root / (instead_of or path)).unlink(missing_ok=True)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return make


def as_image(content: bytes, suffix: str = "png") -> tuple[Make, str]:
    """Image 001 replaced; and its path."""
    path = f"test/spot/001.{suffix}"
    return put(content, path, IMAGE), path


def as_mask(content: bytes, suffix: str = "png") -> Make:
    return put(content, f"ground_truth/spot/001_mask.{suffix}", MASKS)


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    """What OpenCV writes, which knows 16-bit colour; pixels are RGB."""
    return cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG made by hand, of any declared size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def png_data(pixels: np.ndarray) -> bytes:
    return chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def raw_exif(kind: int, count: int, value: bytes) -> bytes:
    """EXIF of an orientation alone, of any type."""
    return b"Exif\0\0" + struct.pack("<2sHIHHHI4sI", b"II", 42, 8, 1, 0x0112, kind, count, value, 0)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as a viewer shows them."""
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(picture))


# --- damaged files ---------------------------------------------------------------------------------

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
        "noise": (RNG.bytes(5000), "001"),
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


# --- odd kinds of images ---------------------------------------------------------------------------


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

    for name, shape in {"one pixel": (1, 1), "a line": (1, 300), "a column": (300, 1)}.items():
        pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
        mask = np.ones(shape, bool)
        make, path = as_image(saved(pixels, "PNG"))
        yield Case(name, both(make, as_mask(saved(mask, "PNG"))), path, pixels=pixels, mask=mask)


def both(*makes: Make) -> Make:
    def make(root: Path) -> None:
        for one in makes:
            one(root)

    return make


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


# --- masks -----------------------------------------------------------------------------------------


def masks() -> Iterator[Case]:
    def right(name: str, content: bytes, mask: np.ndarray = MASK, suffix: str = "png", **more: Any) -> Case:
        return Case(name, as_mask(content, suffix), mask=mask, **more)

    def line(name: str, make: Make, *words: str, **more: Any) -> Case:
        return Case(name, make, more.pop("path", MASKS), "line", words=words, **more)

    white = MASK.astype(np.uint8) * 255
    blur = cv2.GaussianBlur(white, (0, 0), 1.5)
    yield right("antialiased mask", saved(blur, "PNG"), blur >= 0.5 * blur.max(), check=("not binary",))
    yield right("RGB mask", saved(np.dstack([white] * 3), "PNG"))
    yield right("red mask", saved(np.dstack([white, 0 * white, 0 * white]), "PNG"))
    yield right("mask of 0 and 1", saved(MASK.astype(np.uint8), "PNG"))
    yield right("16-bit mask", saved(MASK.astype(np.uint16) * 65535, "PNG"))
    yield right("32-bit mask", saved(MASK.astype(np.int32), "TIFF"), suffix="tif")
    yield right("floating-point mask", saved(MASK.astype(np.float32), "TIFF"), suffix="tif")
    soft = (blur / 255).astype(np.float32)
    yield right("soft floating-point mask", saved(soft, "TIFF"), soft >= soft.max() / 2, suffix="tif")
    yield right("jpg mask", saved(white, "JPEG", quality=95), suffix="jpg")
    yield right("bmp mask", saved(white, "BMP"), suffix="BMP")
    yield right("gif named png as a mask", saved(white, "GIF"))
    yield right("mask with alpha", saved(np.dstack([white, 0 * white]), "PNG"))
    inverted = np.zeros_like(MASK)
    inverted[:2, :2] = True
    yield right(
        "inverted mask", saved(~inverted, "PNG"), ~inverted, check=("warning", "of the image as defect")
    )
    yield right("mask that is all defect", saved(MASK | True, "PNG"), MASK | True, check=("100%",))
    one = np.zeros_like(MASK)
    one[3, 4] = True
    yield right("mask of one pixel", saved(one, "PNG"), one)

    yield line("no mask", lambda root: (root / MASKS).unlink(), "001.png has no mask", "001_mask.png")
    yield line("empty mask", as_mask(saved(0 * white, "PNG")), "001_mask.png", "empty", target="spot")
    nothing = np.full(MASK.shape, -1, np.float32)
    yield line("mask below 0", as_mask(saved(nothing, "TIFF"), "tif"), "001_mask.tif", "empty")
    for name, value in (("NaN", np.nan), ("infinity", np.inf)):
        content = saved(np.where(MASK, value, 0).astype(np.float32), "TIFF")
        path = "ground_truth/spot/001_mask.tif"
        yield line(f"mask of {name}", as_mask(content, "tif"), "001_mask.tif", path=path)
    yield line(
        "alpha-only mask", as_mask(saved(np.dstack([0 * white, white]), "PNG")), "001_mask.png", "empty"
    )
    small = saved(white[:20], "PNG")
    yield line("mask of another size", as_mask(small), "001_mask.png", f"{WIDTH} x 20", f"{WIDTH} x {HEIGHT}")
    yield line("mask turned", as_mask(saved(white.T, "PNG")), "001_mask.png", f"{HEIGHT} x {WIDTH}")
    for suffix in ("txt", "npy", "json", "webp"):
        make = put(b"{}", f"ground_truth/spot/001_mask.{suffix}", MASKS)
        yield line(f"mask of type {suffix}", make, "001.png has no mask", "png")
    extra = put(saved(white, "PNG"), "ground_truth/spot/007_mask.png")
    yield line("mask without image", extra, "007_mask.png")
    yield line("two masks", put(saved(white, "PNG"), "ground_truth/spot/001.png"), "001.png")
    double = put(saved(white, "BMP"), "ground_truth/spot/001_mask.bmp")
    yield line("two masks of one name", double, "001_mask")

    folder = "ground_truth/spot/001"
    one, two = (put(saved(np.roll(white, i, axis=1), "PNG"), f"{folder}/{i}.png", MASKS) for i in (0, 5))
    yield Case("a folder of masks", both(one, two), mask=MASK | np.roll(MASK, 5, axis=1))
    yield Case("a folder of masks and rubbish", both(one, two, put(b"x", f"{folder}/Thumbs.db")))
    yield line("an empty mask folder", replaced(MASKS, Path.mkdir, folder), folder)
    yield line("a mask folder of rubbish", put(b"x", f"{folder}/Thumbs.db", MASKS), folder)
    odd = put(small, f"{folder}/1.png", MASKS)
    yield line("a mask folder of two sizes", both(one, odd), "1.png", f"{WIDTH} x 20")
    yield line("a damaged mask in a folder", both(one, put(b"x", f"{folder}/1.png")), f"{folder}/1.png")
    yield line("a mask folder named like a mask", replaced(MASKS, Path.mkdir), "001.png has no mask")


def replaced(path: str, by: Callable[[Path], Any], at: str | None = None) -> Make:
    """A file removed, and something else made in its place."""

    def make(root: Path) -> None:
        (root / path).unlink()
        by(root / (at or path))

    return make


# --- folders ---------------------------------------------------------------------------------------


def link(path: str, to: str, remove: bool = True) -> Make:
    def make(root: Path) -> None:
        if remove:
            (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(to)

    return make


def renamed(*pairs: tuple[str, str]) -> Make:
    def make(root: Path) -> None:
        for old, new in pairs:
            (root / old).rename(root / new)

    return make


def gone(path: str, then: Make | None = None) -> Make:
    def make(root: Path) -> None:
        shutil.rmtree(root / path)
        if then:
            then(root)

    return make


def folders() -> Iterator[Case]:
    def line(name: str, make: Make, *words: str, **more: Any) -> Case:
        return Case(name, make, more.pop("path", IMAGE), "line", words=words, **more)

    content = saved(PIXELS, "PNG")
    strays = ("Thumbs.db", ".DS_Store", "._000.png", "desktop.ini", "notes.txt", ".hidden.png", "no_suffix")
    for stray in strays:
        makes = [put(b"x", f"{part}/{stray}") for part in ("train/good", "test/spot", "ground_truth/spot")]
        yield Case(f"stray {stray}", both(*makes), pixels=None, mask=None)
    yield Case("strays at the top", both(*(put(b"x", s) for s in strays), put(b"x", "test/Thumbs.db")))
    hidden = ("test/.git", "ground_truth/.git", "train/.ipynb_checkpoints")
    yield Case("hidden folders", lambda root: [(root / part).mkdir() for part in hidden] and None)
    for suffix in ("webp", "gif"):
        path = f"test/spot/007.{suffix}"
        others = [Image.fromarray(np.roll(PIXELS, 3))]
        animated = saved(PIXELS, suffix.upper(), save_all=True, append_images=others)
        yield Case(f"animated {suffix}", put(animated, path), check=(path, "not read", "save it as png"))

    yield Case("a folder named like an image", lambda root: (root / "train/good/9.png").mkdir())
    yield Case("a folder in train/good", lambda root: (root / "train/good/more").mkdir())
    yield line("a folder in place of an image", replaced(IMAGE, Path.mkdir), "001_mask.png")
    yield Case("a pipe named like an image", lambda root: os.mkfifo(root / "train/good/9.png"))
    yield Case("a device named like an image", link("train/good/9.png", "/dev/zero"))
    yield Case("a link to an image", link(IMAGE, "000.png"), check=("the same file",))
    yield line("a dangling image", link(IMAGE, "nowhere.png"), "001.png")
    yield line("a dangling good image", link(GOOD, "nowhere.png"), "train/good/001.png", "link", path=GOOD)
    yield line("a dangling mask", link(MASKS, "nowhere.png"), "001", path=MASKS)
    yield line("an image that links to itself", link(IMAGE, "001.png"), "001.png")
    yield line("a good image that links to itself", link(GOOD, "001.png"), "train/good/001.png", path=GOOD)
    yield line("a mask that links to itself", link(MASKS, "001_mask.png"), "001", path=MASKS)
    yield Case("a folder that links to its parent", link("train/good/up", ".."))
    yield line(
        "a defect that links to its parent", link("test/loop", "../test"), "test/loop", "holds no images"
    )
    yield line("a defect that links to itself", gone("test/spot", link("test/spot", "spot")), "spot")
    yield line("a mask folder that links up", link("ground_truth/spot/001", ".."), "001")
    yield line(
        "train/good that links to itself", gone("train/good", link("train/good", "good")), "train/good"
    )

    for name in (
        "mit Leerzeichen ", "größe", "日本語", "🔩", "-n", "a*b", "[a]", "{0}", "%s", "a'b", "a\\b", "a;rm",
        "CON", "a.b.c", "שלום", "001_mask", "x" * 240,
    ):  # fmt: skip
        make = renamed((IMAGE, f"test/spot/{name}.png"), (MASKS, f"ground_truth/spot/{name}_mask.png"))
        short = f"{name[:12]!r}{' and longer' if len(name) > 12 else ''}"
        yield Case(f"named {short}", make, f"test/spot/{name}.png")
    make = renamed((IMAGE, f"test/spot/{'x' * 251}.png"), (MASKS, f"ground_truth/spot/{'x' * 251}.png"))
    yield Case("the longest name there is", make, f"test/spot/{'x' * 251}.png")
    forms = [unicodedata.normalize(form, "größe") for form in ("NFC", "NFD")]
    make = renamed((IMAGE, f"test/spot/{forms[1]}.png"), (MASKS, f"ground_truth/spot/{forms[0]}_mask.png"))
    yield Case("a name in two Unicode forms", make, f"test/spot/{forms[1]}.png")
    make = both(*(put(content, f"test/spot/{form}.png") for form in forms))
    yield line("two names that look the same", make, "same name", target="spot")
    yield line(
        "a damaged file with a line break", put(b"x", "test/spot/a\nb.png"), "a b", path="test/spot/a\nb.png"
    )
    bad = os.fsdecode(b"bad\xff.png")
    for part in ("train/good", "test/spot", "ground_truth/spot"):
        yield line(
            f"a name that is no text in {part}", put(content, f"{part}/{bad}"), part, path=f"{part}/{bad}"
        )
    make = renamed(("test/spot", os.fsdecode(b"test/sp\xff")))
    yield line("a defect whose name is no text", make, "sp", target="")

    for suffix in ("PNG", "Png", "BMP", "TIFF", "JPG"):
        form = {"JPG": "JPEG"}.get(suffix, suffix.upper())
        makes = as_image(saved(PIXELS, form), suffix)[0], as_mask(saved(MASK, "PNG"), suffix)
        yield Case(f"extension {suffix}", both(*makes), f"test/spot/001.{suffix}", mask=MASK)
    make = both(put(content, "train/good/a.png"), put(saved(PIXELS, "JPEG"), "train/good/a.jpg"))
    yield Case("good images of one name", make)
    make = put(saved(PIXELS, "JPEG"), "test/spot/001.jpg")
    yield line("images of one name", make, "001.jpg", "001.png", "same name")
    make = put(content, "test/spot/001.PNG")
    yield line("images that differ in case only", make, "001.PNG", "001.png", "same name")
    yield line("images named a.png.png", renamed((IMAGE, "test/spot/001.png.png")), "001.png.png has no mask")

    yield line("no good images", gone("train/good"), "train/good", "holds no images")
    yield line(
        "an empty train/good", gone("train/good", lambda root: (root / "train/good").mkdir()), "train/good"
    )
    yield line("train/good is a file", gone("train/good", put(b"x", "train/good")), "train/good")
    yield line("no ground_truth", gone("ground_truth"), "has no mask", "ground_truth")
    yield line("ground_truth is a file", gone("ground_truth", put(b"x", "ground_truth")), "has no mask")
    yield line("masks are a file", gone("ground_truth/spot", put(b"x", "ground_truth/spot")), "has no mask")
    yield line("no test", gone("test"), "spot")
    yield line("test is a file", gone("test", put(b"x", "test")), "spot")
    yield line("a defect is a file", gone("test/spot", put(b"x", "test/spot")), "spot")
    yield line("an empty defect", lambda root: (root / "test/dent").mkdir(), "test/dent", target="")
    yield line("masks without images", lambda root: (root / "ground_truth/dent").mkdir(), "ground_truth/dent")
    yield Case("no test/good", gone("test/good"), check=("test/good", "warning"))
    yield line("a target that is a file", lambda root: None, "001", target="train/good/001.png")
    yield line("a target that is too long", lambda root: None, "No defect", target="x" * 300)
    yield line("a target with a zero", lambda root: None, "spot", target="spot\0")
    yield line("a target of too many parts", lambda root: None, "too many parts", target="spot/a/b/c")
    yield line("a target with an open bracket", lambda root: None, "[", target="[")


CASES = [
    *truncated(), *flipped(), *not_images(), *kinds(), *orientations(), *masks(), *folders()
]  # fmt: skip


# --- what must come of them ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A clean category: three good images and one to test, three of `spot`."""
    return write_base(tmp_path_factory.mktemp("hostile") / "parts" / "plate")


def write_base(root: Path) -> Path:
    rng = np.random.default_rng(1)
    names = (
        [f"train/good/00{i}" for i in range(3)] + ["test/good/000"] + [f"test/spot/00{i}" for i in range(3)]
    )
    for name in names:
        put(saved(rng.integers(0, 256, PIXELS.shape, dtype=np.uint8), "PNG"), f"{name}.png")(root)
    for index in range(3):
        put(saved(MASK, "PNG"), f"ground_truth/spot/00{index}_mask.png")(root)
    return root


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value, an AugmentError's text, or another exception."""

    value: Any = None
    line: str | None = None
    crash: BaseException | None = None


def attempt(call: Callable[[], Any]) -> Outcome:
    """Call it; what it says beside its answer (a warning of Pillow's) counts as a crash."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Outcome(value=call())
    except AugmentError as error:
        return Outcome(line=str(error))
    except Exception as error:
        return Outcome(crash=error)


def read_everything(root: Path) -> list:
    """Every image and mask of a category, as a fit reads them."""
    category = read_category(root, "parts")
    samples = [*category.train_good, *category.test_good, *category.anomalous]
    return [read_sample(sample) for sample in samples]


def outcomes(case: Case, root: Path) -> dict[str, Outcome]:
    """What each reader and command makes of a case."""
    path = root / case.path
    readers = {
        read.__name__: lambda read=read: read(path)
        for read in (read_image, read_mask, image_size, image_kind, is_plain_png, file_sha256)
    }
    target = f"{root}/{case.target}"
    found = {name: attempt(read) for name, read in readers.items()}
    found["list_images"] = attempt(lambda: list_images(path.parent) if path.parent.is_dir() else [])
    found["read_category"] = attempt(lambda: read_everything(root))
    found["resolve_targets"] = attempt(lambda: resolve_targets([target], None))
    found["check_category"] = attempt(
        lambda: [check_category(inspect_category(folder)) for folder in resolve_folders([target], None)]
    )
    for name, options in (("check", ()), ("fit", ("--recipe", "tiny", "--dry-run"))):
        found[f"augment {name}"] = attempt(lambda words=(name, target, *options): run(*words))
    return found


def run(*words: str) -> Any:
    """Run a command in this process; raises what it crashed with."""
    result = CliRunner().invoke(main, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output and "Warning:" not in result.stderr
    return result


def verdict(case: Case, found: dict[str, Outcome], root: Path) -> None:
    """Assert that a case came out as it must."""
    for name, outcome in found.items():
        assert outcome.crash is None, f"{name}: {outcome.crash!r}"
        assert outcome.line is None or outcome.line.strip()
    check, fit = found["augment check"].value, found["augment fit"].value
    findings = check.stdout.partition("\n\n")[2].splitlines() + check.stderr.splitlines()
    assert all(line.lower().startswith(("error: ", "warning: ", "note: ", "nothing to")) for line in findings)
    errors = [line for line in findings if line.lower().startswith("error: ")]
    assert check.exit_code == (1 if errors else 0), check.output
    assert fit.exit_code in (0, 1)
    if fit.exit_code == 1:
        (line,) = fit.stderr.strip().splitlines()
        assert line.startswith("Error: ") and fit.stdout == ""
        assert errors, f"check passes what fit stops at: {line}"
    for words in case.check:
        assert words in check.output
    size, image = found["image_size"].value, found["read_image"].value
    if size is not None and image is not None:
        assert image.shape[:2] == size == found["image_kind"].value.shape

    stem = Path(case.path).stem
    if case.result == "right":
        assert found["read_category"].line is None and fit.exit_code == 0, fit.output
        assert not errors
        assert_close(image, case.pixels)
        if case.mask is not None:
            samples = read_category(root, "parts").defects["spot"]
            (sample,) = [one for one in samples if one.image.name.startswith("001")]
            assert np.array_equal(read_sample(sample)[1], case.mask)
    elif case.result == "line":
        lines = [found[name].line for name in ("resolve_targets", "read_category")] + [fit.stderr.strip()]
        lines = [" ".join(line.split()) for line in lines if line]
        assert lines and all(words in lines[0] for words in case.words), lines
        assert any(word in line for line in errors for word in (stem, *case.words)), errors
    else:
        assert all(stem in outcome.line for outcome in found.values() if outcome.line is not None)
        if case.pixels is not None and image is not None:
            assert np.array_equal(image, case.pixels)
        if case.mask is not None and found["read_mask"].value is not None:
            assert np.array_equal(found["read_mask"].value, case.mask)


def assert_close(image: np.ndarray | None, pixels: np.ndarray | None) -> None:
    if pixels is not None:
        assert image is not None and image.shape == pixels.shape
        assert np.abs(image.astype(int) - pixels).max() <= 1  # 16 bit are rounded


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_folder_gives_the_right_answer_or_one_line(case, base, tmp_path):
    root = shutil.copytree(base, tmp_path / "parts" / "plate")
    case.make(root)
    verdict(case, outcomes(case, root), root)


# --- folders that may not be read ------------------------------------------------------------------


@contextmanager
def nobody(root: Path) -> Iterator[None]:
    """Root may read everything, so it becomes nobody for a while; `root` is given away first."""
    if os.geteuid():
        yield
        return
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that nobody may reach, which is not so of pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions as Unix has them")
@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, 0o000) for path in (".", "train", "test", IMAGE, MASKS, GOOD)),
        *(
            (path, mode)
            for path in ("train/good", "test/spot", "ground_truth/spot")
            for mode in (0o000, 0o400, 0o100)  # none, only to list, only to enter
        ),
        ("test", 0o100),
        ("train", 0o400),
    ],
)
def test_what_may_not_be_read_is_one_line(base, shared, path, mode):
    root = shutil.copytree(base, shared / "parts" / "plate")
    case = Case("no rights", lambda root: None, path)
    outcomes(case, base)  # imports everything, which nobody may not be able to
    with nobody(root):
        (root / path).chmod(mode)
        try:
            found = outcomes(case, root)
        finally:
            (root / path).chmod(0o755)
    for name, outcome in found.items():
        assert outcome.crash is None, f"{name}: {outcome.crash!r}"
    for command in ("augment check", "augment fit"):
        result = found[command].value
        assert result.exit_code == 1, result.output
        lines = [line for line in result.output.splitlines() if line.lower().startswith("error: ")]
        name = "plate" if path == "." else path
        assert any(name in line and "readable" in line for line in lines), result.output


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions as Unix has them")
def test_a_folder_that_may_only_be_read_is_enough(base, shared):
    root = shutil.copytree(base, shared / "parts" / "plate")
    before = outcomes(CASES[0], root)
    with nobody(root):
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        found = outcomes(CASES[0], root)
    for command in ("augment check", "augment fit"):
        assert found[command].value.exit_code == 0
        assert found[command].value.output == before[command].value.output


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions as Unix has them")
def test_folders_nearby_that_may_not_be_read_do_not_hide_a_typo(base, shared):
    root = shutil.copytree(base, shared / "parts" / "plate")
    (root.parent / "secret").mkdir()
    run("check", str(root))
    with nobody(root):
        (root.parent / "secret").chmod(0)
        result = run("check", str(root.parent / "plat"))
        by_card = run("check", "mvtek", "--data-root", str(root.parent))
        (root.parent / "secret").chmod(0o755)
    assert result.exit_code == 1 and "Did you mean plate" in result.stderr
    assert by_card.exit_code == 1 and "Did you mean mvtec" in by_card.stderr
