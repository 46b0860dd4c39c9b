from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.report.drawing import (
    ORANGE,
    REFINED_COLOUR,
    SERIES,
    TARGET_COLOUR,
    fit_text,
    shrink_mask,
    text_width,
)
from augment.report.pictures import benchmark_picture, contact_sheet, loss_curve
from augment.report.tables import format_rows

SCORES = ["image_auroc", "image_ap", "image_f1", "pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro"]


def colours(path) -> set[tuple[int, ...]]:
    return {tuple(map(int, c)) for c in np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0)}


def make_row(shape: tuple[int, ...], box: tuple[slice, slice]) -> dict[str, np.ndarray]:
    mask = np.zeros(shape[:2], bool)
    mask[box] = True
    image = np.full(shape, 120, np.uint8)
    return {"source": image, "target": mask, "result": image, "refined": mask}


def test_a_sheet_takes_grey_and_colour_of_any_size_and_shows_both_masks(tmp_path):
    rows = [
        make_row((90, 60), np.s_[20:60, 20:40]),
        make_row((64, 100, 3), np.s_[10:50, 10:90]),
        make_row((900, 900, 3), np.s_[10:14, 890:894]),
    ]
    path = contact_sheet(rows, tmp_path / "sheet.png", ["a", "b", "c"])
    assert {TARGET_COLOUR, REFINED_COLOUR} <= colours(path)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_with_an_empty_mask_or_no_rows_is_still_drawn(tmp_path):
    contact_sheet([make_row((40, 40), np.s_[0:0, 0:0])], tmp_path / "a.png")
    contact_sheet([], tmp_path / "b.png")


def test_a_long_sheet_shows_twenty(tmp_path):
    rows = [make_row((50, 50), np.s_[10:40, 10:40])] * 30
    twenty = contact_sheet(rows[:20], tmp_path / "20.png")
    thirty = contact_sheet(rows, tmp_path / "30.png")
    assert twenty.read_bytes() == thirty.read_bytes()


def test_a_thin_mask_survives_shrinking():
    mask = np.zeros((2000, 2000), bool)
    mask[1000, :] = True
    small = np.asarray(shrink_mask(mask, 100, 100))
    assert set(np.unique(small)) == {0, 255}
    assert (small.max(axis=0) == 255).all()


@pytest.mark.parametrize("losses", [[], [0.3], [0.0, 0.0], [1.0, float("nan"), 0.5], np.linspace(2, 1, 300)])
def test_a_loss_curve_is_drawn_for_any_losses(tmp_path, losses):
    assert Image.open(loss_curve(losses, tmp_path / "loss.png")).size == (760, 400)


def scores_frame(real: float, both: float) -> pd.DataFrame:
    pairs = (("real-only", real), ("real+synthetic", both))
    return pd.DataFrame(
        [
            {
                "category": "bottle",
                "detector": "unet",
                "column": name,
                "seed": s,
                **dict.fromkeys(SCORES, v),
            }
            for name, v in pairs
            for s in (0, 1)
        ]
    )


def test_better_scores_lie_further_right(tmp_path):
    def orange_centre(both: float) -> float:
        pixels = np.asarray(Image.open(benchmark_picture(scores_frame(0.5, both), tmp_path / "b.png")))
        orange = tuple(int(ORANGE[i : i + 2], 16) for i in (1, 3, 5))
        ys, xs = np.nonzero((pixels == orange).all(axis=-1))
        return xs[(ys > 60) & (xs < 650)].mean()

    assert orange_centre(0.9) - orange_centre(0.6) == pytest.approx(150, abs=3)  # 500 px are 100 %


def test_any_number_of_columns_has_a_dot_each(tmp_path):
    names = ["real-only", "real+augment", "augment-only", *(f"real+{'generator' * 5}{n}" for n in range(3))]
    rows = [
        {"category": "bottle", "detector": "unet", "column": name, "pixel_ap": (number + 2) / 10}
        for number, name in enumerate(names)
    ]
    pixels = np.asarray(Image.open(benchmark_picture(pd.DataFrame(rows), tmp_path / "b.png")))
    plot = pixels[-90:, 150:651]
    centres = []
    for colour in SERIES[: len(names)]:
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        centres.append(np.nonzero((plot == rgb).all(axis=-1))[1].mean())
    assert centres == pytest.approx([100, 150, 200, 250, 300, 350], abs=2)  # 500 px are 100 points


def test_a_missing_score_has_no_dot(tmp_path):
    benchmark_picture(scores_frame(0.5, float("nan")), tmp_path / "b.png")


def test_long_text_is_shortened_in_the_middle():
    assert fit_text("short", 13, 200) == "short"
    shortened = fit_text("very_long_name_" * 20, 13, 200)
    assert "…" in shortened and text_width(shortened, 13) <= 200


def test_a_table_aligns_words_left_and_numbers_right():
    frame = pd.DataFrame({"category": ["a", "bottle"], "ap": [0.5, float("nan")], "n": [3, 100]})
    assert format_rows(frame.to_dict("records")).splitlines() == [
        "category      ap    n",
        "--------  ------  ---",
        "a         0.5000    3",
        "bottle         -  100",
    ]
