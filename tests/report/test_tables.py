from __future__ import annotations

import math

import pandas as pd
import pytest

from augment.report.tables import format_summary, points, summary, to_latex, to_markdown


def row(column: str, ap: float, *, auroc: float = 0.9, **names) -> dict:
    keys = {"category": "bottle", "defect": "all", "detector": "unet", "epoch": "last", "fold": 0, "seed": 0}
    return keys | {"column": column, "image_auroc": auroc, "pixel_ap": ap, "n_real": 4} | names


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two seeds of two columns, one defect, and one oracle epoch."""
    return pd.DataFrame(
        [
            row("real-only", 0.6, seed=0),
            row("real+augment", 0.7, seed=0, auroc=0.95),
            row("real-only", 0.5, seed=1),
            row("real+augment", 0.4, seed=1, auroc=math.nan),
            row("real-only", 0.3, defect="thin_crack"),
            row("real+augment", 0.35, defect="thin_crack"),
            row("real-only", 0.65, epoch="oracle"),
        ]
    )


def test_a_summary_pairs_by_seed_and_puts_headline_and_pooled_rows_first(rows):
    frame = summary(rows.sample(frac=1, random_state=0))
    keys = frame[["defect", "column", "epoch"]].apply(tuple, axis=1).tolist()
    assert keys == [
        ("all", "real-only", "last"),
        ("all", "real+augment", "last"),
        ("thin_crack", "real-only", "last"),
        ("thin_crack", "real+augment", "last"),
        ("all", "real-only", "oracle"),
    ]
    real, both, _, crack, oracle = frame.to_dict("records")
    assert real["pixel_ap"] == pytest.approx(0.55)
    assert real["pixel_ap_std"] == pytest.approx(0.1 / math.sqrt(2))
    assert math.isnan(real["pixel_ap_diff"])
    assert both["pixel_ap_diff"] == pytest.approx(0.0)  # +0.1 and -0.1
    assert both["pixel_ap_diff_std"] == pytest.approx(0.2 / math.sqrt(2))
    assert (both["image_auroc"], both["runs"], both["n_real"]) == (0.95, 2, 4)  # NaN is left out of a mean
    assert crack["pixel_ap_diff"] == pytest.approx(0.05) and math.isnan(crack["pixel_ap_std"])
    assert math.isnan(oracle["pixel_ap_diff"]) and oracle["runs"] == 1


def test_a_difference_is_taken_within_an_epoch_and_a_fold():
    frame = summary(
        pd.DataFrame(
            [
                row("real-only", 0.2, fold=0),
                row("real-only", 0.8, fold=1),
                row("real-only", 0.9, fold=0, epoch="oracle"),
                row("augment-only", 0.3, fold=0),
                row("augment-only", 0.95, fold=0, epoch="oracle"),
            ]
        )
    )
    found = frame.set_index(["column", "epoch"])["pixel_ap_diff"]
    assert found["augment-only", "last"] == pytest.approx(0.1)
    assert found["augment-only", "oracle"] == pytest.approx(0.05)


def test_categories_weigh_alike_over_the_runs_that_all_have():
    rows = [row("real-only", ap, category=category, seed=seed) for category, seed, ap in
            [("a", 0, 0.2), ("b", 0, 0.4), ("a", 1, 0.6), ("b", 1, 1.0), ("a", 2, 0.9)]]  # fmt: skip
    frame = summary(pd.DataFrame(rows))
    assert frame["category"].tolist() == ["a", "b", "mean"]
    mean = frame.iloc[-1]
    assert mean["runs"] == 2
    assert mean["pixel_ap"] == pytest.approx((0.3 + 0.8) / 2)
    assert mean["pixel_ap_std"] == pytest.approx(0.5 / math.sqrt(2))


def test_rows_that_are_means_are_left_out_and_a_run_named_twice_is_an_error(rows):
    means = rows.assign(fold="mean", seed="mean").drop_duplicates(["defect", "column", "epoch"])
    both = pd.concat([rows, means], ignore_index=True)
    pd.testing.assert_frame_equal(summary(both), summary(rows))
    with pytest.raises(ValueError, match="twice"):
        summary(pd.concat([rows, rows]))


def test_a_frame_read_from_its_csv_gives_the_same_table(rows, tmp_path):
    rows.to_csv(tmp_path / "scores.csv", index=False)
    assert to_markdown(pd.read_csv(tmp_path / "scores.csv")) == to_markdown(rows)


def test_points():
    assert points(0.786, 0.0271) == "78.6 ± 2.7"
    assert points(0.786) == "78.6"
    assert points(math.nan, 0.1) == "-"
    assert points(-0.0004, 0.001, sign=True) == "+0.0 ± 0.1"
    assert points(-0.054, 0.048, sign=True, between="±") == "-5.4±4.8"


def test_the_terminal_table_keeps_the_oracle_apart(rows):
    assert format_summary(rows).splitlines() == [
        "category  detector  trained on    image AUROC   pixel AP    AP gain",
        "--------  --------  ------------  -----------  ---------  ---------",
        "bottle    unet      real-only        90.0±0.0   55.0±7.1          -",
        "bottle    unet      real+augment         95.0  55.0±21.2  +0.0±14.1",
        "",
        "Best epoch on the test set (oracle), for comparison with papers only:",
        "category  detector  trained on  image AUROC  pixel AP  AP gain",
        "--------  --------  ----------  -----------  --------  -------",
        "bottle    unet      real-only          90.0      65.0        -",
    ]


def test_a_wide_terminal_table_cuts_names_not_scores():
    scores = dict.fromkeys(["pixel_auroc", "pixel_f1", "pixel_aupro"], 1.0)
    rows = [
        row(f"real+{'generator' * 5}", 1.0, category="plant/line/" + "part" * 20, seed=seed, **scores)
        for seed in (0, 1)
    ]
    lines = format_summary(pd.DataFrame(rows)).splitlines()
    assert max(map(len, lines)) <= 120
    assert "…" in lines[2] and lines[2].startswith("plant/line") and "100.0±0.0" in lines[2]


AWKWARD = "a|b_50%\\<x>"


def test_markdown(rows):
    text = to_markdown(rows)
    assert text.split("\n\n")[:2] == [
        "All defects",
        "| category | detector | trained on | image AUROC | pixel AP |\n"
        "|---|---|---|---:|---:|\n"
        "| bottle | unet | real-only | 90.0 ± 0.0 | 55.0 ± 7.1 |\n"
        "| bottle | unet | real+augment | 95.0 (+5.0) | 55.0 ± 21.2 (+0.0 ± 14.1) |",
    ]
    assert "By defect\n\n| category | defect |" in text
    assert "| bottle | thin\\_crack | unet | real+augment | 90.0 (+0.0) | 35.0 (+5.0) |" in text
    assert text.index("(oracle)") > text.index("By defect")
    assert "a\\|b\\_50%\\\\\\<x\\>" in to_markdown(rows.assign(category=AWKWARD))


LATEX = r"""% needs \usepackage{booktabs}

% All defects
\begin{tabular}{lllrr}
\toprule
category & detector & trained on & image AUROC & pixel AP \\
\midrule
bottle & unet & real-only & $90.0 \pm 0.0$ & $55.0 \pm 7.1$ \\
bottle & unet & real+augment & $95.0$ & $55.0 \pm 21.2$ \\
&  & \quad difference & $+5.0$ & $+0.0 \pm 14.1$ \\
\bottomrule
\end{tabular}

% By defect
\begin{tabular}{llllrr}
\toprule
category & defect & detector & trained on & image AUROC & pixel AP \\
\midrule
bottle & thin\_crack & unet & real-only & $90.0$ & $30.0$ \\
bottle & thin\_crack & unet & real+augment & $90.0$ & $35.0$ \\
&  &  & \quad difference & $+0.0$ & $+5.0$ \\
\bottomrule
\end{tabular}"""


def test_latex(rows):
    text = to_latex(rows[rows["epoch"] == "last"])
    assert text == LATEX
    awkward = to_latex(rows.assign(category=AWKWARD, pixel_ap=math.nan))
    assert r"a\textbar{}b\_50\%\textbackslash{}\textless{}x\textgreater{} & unet" in awkward
    assert "$90.0 \\pm 0.0$ & -- \\\\" in awkward and "nan" not in awkward
