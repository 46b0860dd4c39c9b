from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from augment.report.curves import AXES, curves_picture
from augment.report.drawing import SERIES

X = np.linspace(0, 1, 50)


def test_a_picture_of_curves_has_a_colour_a_column(tmp_path):
    levels = (0.9, 0.5, 0.1)
    curves = {str(y): {"pixel_pr": SimpleNamespace(x=X, y=np.full(50, y))} for y in levels}
    picture = np.asarray(Image.open(curves_picture(curves, tmp_path / "curves.png")))[60:].astype(int)
    rows = []
    for colour in SERIES[:3]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        rows.append(np.nonzero((abs(picture - rgb) < 60).all(axis=-1))[0].mean())
    assert np.diff(rows) == pytest.approx([120, 120], abs=1)  # 300 px are the whole scale


def test_a_picture_has_a_panel_a_kind_and_none_without_curves(tmp_path):
    line = SimpleNamespace(x=np.array([0.0, np.nan, 1.0]), y=np.array([0.0, 0.5, 1.0]))
    one = Image.open(curves_picture({"a": {"pixel_pro": line}}, tmp_path / "one.png"))
    five = Image.open(curves_picture({"a": dict.fromkeys(AXES, line)}, tmp_path / "five.png"))
    assert five.width == 3 * one.width and five.height - 44 == 2 * (one.height - 44)
    Image.open(curves_picture({}, tmp_path / "none.png")).verify()


def test_long_names_wrap_in_the_legend(tmp_path):
    line = SimpleNamespace(x=X, y=X)
    curves = {f"real+{'generator' * 9}{number}": {"pixel_pr": line} for number in range(4)}
    few = Image.open(curves_picture(dict(list(curves.items())[:1]), tmp_path / "few.png"))
    many = Image.open(curves_picture(curves, tmp_path / "many.png"))
    assert many.width == few.width and many.height == few.height + 3 * 44
