from __future__ import annotations

import numpy as np
from PIL import Image

from augment.report.maps import coloured, map_sheet


def make_row(columns, **more) -> dict:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (60, 40, 3), dtype=np.uint8),
        "mask": np.arange(2400).reshape(60, 40) < 200,
        "maps": {column: rng.random((15, 10)) for column in columns},
        "caption": "bottle/crack/000.png",
        **more,
    }


def test_a_sheet_grows_with_its_columns(tmp_path):
    two = Image.open(map_sheet([make_row(["a", "b"])], tmp_path / "2.png"))
    five = Image.open(
        map_sheet([make_row([f"real+{'generator' * 6}{n}" for n in range(5)])], tmp_path / "5.png")
    )
    assert five.width - two.width == 3 * (200 + 6) and five.height == two.height


def test_a_best_or_worst_case_is_named_so(tmp_path):
    plain = Image.open(map_sheet([make_row(["a"])], tmp_path / "plain.png"))
    best = np.asarray(Image.open(map_sheet([make_row(["a"], kind="best")], tmp_path / "best.png"))).astype(
        int
    )
    named = map_sheet([make_row(["a"], caption="best: bottle/crack/000.png")], tmp_path / "named.png")
    assert (best == np.asarray(Image.open(named))).all()
    assert not (best == np.asarray(plain)).all()


def test_the_highest_score_is_lightest():
    heat = coloured(np.array([[-3.0, 0.0, 5.0]]), -3.0, 5.0).sum(axis=-1)
    assert heat[0, 0] < heat[0, 1] < heat[0, 2]
