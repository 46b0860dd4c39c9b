"""Small category folders that are damaged or odd: how they are made.

A case changes one thing in a small category folder and says what must come of it.
"""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

HEIGHT, WIDTH = 28, 40
_RNG = np.random.default_rng(7)
PIXELS = _RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = _RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
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


# --- files -----------------------------------------------------------------------------------------


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


# --- folders ---------------------------------------------------------------------------------------


def write_base(root: Path) -> Path:
    """A clean category: three good images and one to test, three of `spot`."""
    rng = np.random.default_rng(1)
    names = (
        [f"train/good/00{i}" for i in range(3)] + ["test/good/000"] + [f"test/spot/00{i}" for i in range(3)]
    )
    for name in names:
        put(saved(rng.integers(0, 256, PIXELS.shape, dtype=np.uint8), "PNG"), f"{name}.png")(root)
    for index in range(3):
        put(saved(MASK, "PNG"), f"ground_truth/spot/00{index}_mask.png")(root)
    return root


def both(*makes: Make) -> Make:
    """Changes made one after the other."""

    def make(root: Path) -> None:
        for one in makes:
            one(root)

    return make


def replaced(path: str, by: Callable[[Path], Any], at: str | None = None) -> Make:
    """A file removed, and something else made in its place."""

    def make(root: Path) -> None:
        (root / path).unlink()
        by(root / (at or path))

    return make


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
