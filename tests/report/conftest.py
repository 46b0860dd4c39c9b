"""A small made-up synthetic set for the page's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augment.report.set_page import RealDefect, SetFacts, SetImage, set_page

ABOUT = SetFacts(
    title="Synthetic images of parts/washer, fold0",
    name="parts/washer fold0",
    key="augment-report:parts/washer:fold0:now",
    facts={"seed": 3, "licence of the data": "CC BY 4.0"},
    settings={"name": "tiny", "fit": {"steps": 6}},
    command="augment synthesize parts/washer --fold 0 -n 3",
)


def make_images(size=(60, 80), count=3, defects=("scratch", "spot"), **changes) -> list[SetImage]:
    """`count` images of each defect, on two sources; the masks grow with the number."""
    rng = np.random.default_rng(0)
    sources = rng.integers(0, 200, (2, *size, 1), dtype=np.uint8).repeat(3, axis=3)
    images = []
    for defect in defects:
        for index in range(count):
            refined = np.zeros(size, dtype=bool)
            refined[20 : 24 + 4 * index, 30:40] = True
            target = refined.copy()
            target[18:20, 30:40] = True
            result = sources[index % 2].copy()
            result[refined] = 255
            entry = {
                "id": f"{defect}/{index:04d}",
                "defect": defect,
                "index": index,
                "seed": 3,
                "attempt": 0,
                "source": "/data/good/001.png",
                "mask_source": "/data/mask/007_mask.png",
                "refined_pixels": int(refined.sum()),
                "background_error": round(0.3 - 0.1 * index, 3),
                "window": {"top": index, "left": 0},
                "refinement": "none (fell back to the target mask)" if index == 1 else "difference",
            } | changes
            images.append(SetImage(entry, f"{defect}{index}", result, refined, sources[index % 2], target))
    return images


def make_real(size=(60, 80), defects=("scratch", "spot")) -> list[RealDefect]:
    rng = np.random.default_rng(1)
    found = []
    for defect in defects:
        for index in range(2):
            mask = np.zeros(size, dtype=bool)
            mask[10 : 20 + index, 10:20] = True
            image = rng.integers(0, 200, (*size, 3), dtype=np.uint8)
            found.append(RealDefect(defect, f"{index:03d}.png", image, mask))
    return found


@pytest.fixture(scope="session")
def made_set(tmp_path_factory) -> Path:
    """The page of that set."""
    path = tmp_path_factory.mktemp("set") / "report.html"
    return set_page(path, ABOUT, make_images(), make_real())
