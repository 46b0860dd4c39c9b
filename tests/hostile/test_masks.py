"""Masks of every kind, missing, empty, doubled, or of another size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hostile.builders import HEIGHT, MASK, MASKS, WIDTH, Case, Make, as_mask, both, put, replaced, saved
from hostile.outcomes import assert_handled


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


CASES = list(masks())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_mask_gives_the_right_answer_or_one_line(case, base, tmp_path):
    assert_handled(case, base, tmp_path)
