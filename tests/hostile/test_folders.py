"""Strays, links, odd names, and folders that are missing, empty or files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile.builders import (
    GOOD,
    IMAGE,
    MASK,
    MASKS,
    PIXELS,
    Case,
    Make,
    as_image,
    as_mask,
    both,
    gone,
    link,
    put,
    renamed,
    replaced,
    saved,
)
from hostile.outcomes import assert_handled
from PIL import Image


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


CASES = list(folders())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_folder_gives_the_right_answer_or_one_line(case, base, tmp_path):
    assert_handled(case, base, tmp_path)
