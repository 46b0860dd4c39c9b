from __future__ import annotations

import base64
import io
import itertools
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.report.drawing import SERIES
from augment.report.page import benchmark_page
from augment.report.tables import SCORES

NASTY = "<b>&\"'</style></script>"
COLUMNS = ("real-only", "real+augment", "augment-only")


class Page(HTMLParser):
    """Checks that tags are balanced; keeps elements (name, attributes) and the text of each kind."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> list[str]:
        return [data for name, data in self.texts if name == tag]


def make_rows(defect: str = "crack", seeds=(0, 1)) -> pd.DataFrame:
    rows = []
    for number, column in enumerate(COLUMNS):
        for seed, epoch, name in itertools.product(seeds, ("last", "oracle"), ("all", defect)):
            keys = {"category": "bottle", "defect": name, "detector": "unet", "column": column}
            keys |= {"fold": 0, "seed": seed, "epoch": epoch}
            scores = dict.fromkeys(SCORES, 0.5 + 0.1 * number + 0.02 * seed + 0.2 * (epoch == "oracle"))
            rows.append(keys | scores | {"pixel_f1": math.nan, "n_real": 4, "n_test": 9, "seconds": 1.5})
    return pd.DataFrame(rows)


def make_curves(columns=COLUMNS) -> dict:
    x = np.linspace(0, 1, 50)
    return {
        column: {name: SimpleNamespace(x=x, y=x ** (1 / (number + 2))) for name in ("pixel_pr", "pixel_pro")}
        for number, column in enumerate(columns)
    }


def make_cases(count: int, size=(60, 40), columns=COLUMNS, caption="bottle/crack/000.png") -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            "mask": np.arange(size[0] * size[1]).reshape(size) < 200,
            "maps": {column: rng.random((15, 10)) for column in columns},
            "caption": caption,
            "kind": kind,
        }
        for kind in ("best", "worst")
        for _ in range(count)
    ]


def write(path, **changes) -> str:
    parts = {
        "title": "Benchmark of bottle",
        "rows": make_rows(),
        "verdicts": ["augment helps: +3.1 points"],
        "curves": make_curves(),
        "cases": make_cases(1),
        "settings": {"seeds": [0, 1], "recipe": {"name": "tiny", "weights": None}},
    } | changes
    return benchmark_page(path / "report.html", **parts).read_text("utf-8")


def test_a_page_is_balanced_and_needs_nothing_else(tmp_path):
    text = write(tmp_path)
    page = Page(text)
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
    sources = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset")
    ]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not page.all("link")
    policy = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy[0].startswith("default-src 'none'; img-src data:;")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_page_can_be_read_by_ear(tmp_path):
    page = Page(write(tmp_path))
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert all(attributes["scope"] in ("col", "row", "rowgroup") for attributes in page.all("th"))
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"


def test_names_are_escaped_everywhere(tmp_path):
    rows = make_rows(NASTY)
    rows["column"] = rows["column"].replace("augment-only", NASTY)
    columns = ("real-only", NASTY)
    text = write(
        tmp_path,
        title=NASTY,
        rows=rows,
        verdicts=[NASTY],
        curves=make_curves(columns),
        cases=make_cases(1, columns=columns, caption=NASTY),
        settings={NASTY: [NASTY, {NASTY: NASTY}]},
        curves_note=NASTY,
    )
    page = Page(text)
    assert len(page.all("style")) == len(page.all("script")) == 1
    assert not page.all("b")
    for tag in ("h1", "title", "li", "td", "th", "dt", "dd", "p", "span"):
        assert any(NASTY in found for found in page.text(tag)), tag


def cells_after(text: str, heading: str) -> list[str]:
    """The text of the number cells of the first row headed `heading`, differences after a "|"."""
    line = text[text.index(f"</span>{heading}</th>") :]
    cells = re.findall(r'<td class="number"[^>]*>(.*?)</td>', line[: line.index("</tr>")])
    cells = [cell.replace('<span class="difference">', "|") for cell in cells]
    return [re.sub("<[^>]*>", "", cell) for cell in cells]


def test_scores_are_in_points_with_deviation_and_difference(tmp_path):
    cells = cells_after(write(tmp_path), "real+augment")
    assert cells[0] == "61.0 ± 1.4|+10.0 ± 0.0"
    assert cells[list(SCORES).index("pixel_f1")] == "-"
    assert cells[-1] == "2"
    real = cells_after(write(tmp_path), "real-only")
    assert real[0] == "51.0 ± 1.4"
    assert cells_after(write(tmp_path, rows=make_rows(seeds=(0,))), "real+augment")[0] == "60.0|+10.0"


def test_a_loss_has_a_minus_sign(tmp_path):
    rows = make_rows()
    rows.loc[rows["column"] == "real+augment", "pixel_ap"] = 0.3
    assert "|−21.0 ± 1.4" in cells_after(write(tmp_path, rows=rows), "real+augment")[4]


def test_the_oracle_stands_apart_from_the_headline(tmp_path):
    text = write(tmp_path)
    headline, oracle = text.split("for comparison with papers only")
    assert "61.0" in headline and "81.0" not in headline
    assert "81.0" in oracle and "61.0" not in oracle.split("</section>")[0]
    rows = make_rows()
    assert "oracle)" not in write(tmp_path, rows=rows[rows["epoch"] == "last"])


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("bottle: augment helps: +3.1 points", "helps"),
        ("bottle: augment hurts: -3.1 points", "hurts"),
        ("no evidence that augment helps", "none"),
        ("helps pixel AP, hurts image AUROC", "none"),
        ("bottle: it whelps", "none"),
    ],
)
def test_a_verdict_is_marked_by_its_word(tmp_path, line, kind):
    page = Page(write(tmp_path, verdicts=[line]))
    assert {"class": kind} in page.all("li")
    assert line in page.text("li")


def test_a_chart_has_a_path_a_column_and_pro_its_limit(tmp_path):
    text = write(tmp_path, aupro_limit=0.25)
    charts = re.findall("<svg.*?</svg>", text)
    assert len(charts) == 2
    assert [re.findall(r'class="curve (\w+)"', chart) for chart in charts] == [
        ["series0", "series1", "series2"]
    ] * 2
    assert [("AUPRO up to 0.25" in chart, 'class="limit"' in chart) for chart in charts] == [
        (False, False),
        (True, True),
    ]
    path = re.search(r'<path d="M([^"]*)" class="curve series1">', charts[0]).group(1)
    points = [tuple(map(float, pair.split(","))) for pair in path.split()]
    assert len(points) == 50
    (left, bottom), (right, top) = points[0], points[-1]
    assert right - left == pytest.approx(280) and bottom - top == pytest.approx(280)


def test_a_curve_of_nan_is_not_drawn(tmp_path):
    curves = make_curves()
    curves["real-only"]["pixel_pr"] = SimpleNamespace(x=np.array([np.nan]), y=np.array([np.nan]))
    charts = re.findall("<svg.*?</svg>", write(tmp_path, curves=curves))
    assert [chart.count('class="curve ') for chart in charts] == [2, 3]


def test_the_page_and_the_pictures_have_the_same_colours(tmp_path):
    text = write(tmp_path)
    assert re.findall(r"--s\d: (#\w+);", text)[: len(SERIES)] == list(SERIES)


def test_more_columns_than_colours_are_told_apart(tmp_path):
    columns = [f"real+g{number}" for number in range(len(SERIES) + 1)]
    page = Page(write(tmp_path, curves=make_curves(columns)))
    drawn = [attributes["class"] for attributes in page.all("path") if "curve" in attributes["class"]]
    assert len(drawn) == 2 * len(set(drawn)) == 2 * len(columns)


def test_pictures_show_image_truth_and_maps(tmp_path):
    case = make_cases(1)[0]
    case["image"][:] = 128
    case["mask"][:] = False
    case["mask"][20:40, 10:30] = True
    case["maps"] = {"real-only": np.where(np.arange(15)[:, None] < 7, 0.0, 1.0) * np.ones((15, 10))}
    page = Page(write(tmp_path, cases=[case]))
    found = {}
    for attributes in page.all("img"):
        data = base64.b64decode(attributes["src"].split(",")[1])
        name = attributes["alt"].split(":")[0]
        found[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert set(found) == {"test image", "truth", "anomaly map, real-only"}
    assert all(picture.shape == (60, 40, 3) for picture in found.values())
    assert np.abs(found["test image"] - 128).max() < 4
    blue = found["truth"][..., 2] - found["truth"][..., 0]
    assert blue[30, 20] > 20 > blue[5, 5]
    heat = found["anomaly map, real-only"].sum(axis=-1)
    assert heat[50:].min() > heat[:15].max() + 300


def test_a_column_without_a_map_leaves_its_cell_empty(tmp_path):
    cases = make_cases(1)
    del cases[0]["maps"]["augment-only"]
    page = Page(write(tmp_path, cases=cases))
    assert len(page.all("img")) == 2 * 5 - 1


def test_a_page_of_many_large_cases_stays_below_5_mb(tmp_path):
    columns = tuple(f"real+g{number}" for number in range(8))
    write(tmp_path, cases=make_cases(20, (400, 300), columns))
    assert 500_000 < (tmp_path / "report.html").stat().st_size < 5_000_000


def test_parts_without_content_are_left_out(tmp_path):
    page = Page(write(tmp_path, verdicts=[], curves={}, cases=[], settings={}))
    assert page.text("h2") == ["Scores", "Settings"]  # the counts remain
    assert not page.all("img") and not page.all("svg")


def test_settings_are_nested_and_long_ones_folded(tmp_path):
    settings = {"a": {"b": True, "c": None}, "groups": [["x", "y"], ["z"]], "files": list(range(1000, 1030))}
    text = write(tmp_path, settings=settings)
    assert "<dt>b</dt><dd>yes</dd><dt>c</dt><dd>-</dd>" in text
    assert "<li>x, y</li><li>z</li>" in text
    assert "<summary>30 entries</summary>1000, 1001" in text


def browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.mark.skipif(browser() is None, reason="needs chromium or chrome")
def test_a_browser_sorts_and_enlarges(tmp_path):
    text = write(tmp_path)
    check = """<script>
    window.onload = () => {
      const table = document.querySelector("table.scores"), order = () =>
        [...table.tBodies[0].rows].map((row) => row.querySelector("th").textContent).join(" ");
      const head = [...table.tHead.rows[0].cells].find((cell) => cell.textContent === "pixel AP");
      const found = [];
      for (let i = 0; i < 2; i++) {
        head.querySelector("button").click();
        found.push(order(), head.getAttribute("aria-sort"));
      }
      const details = document.querySelector(".cases details"), image = details.querySelector("img");
      const small = image.getBoundingClientRect().width;
      details.open = true;
      found.push(image.getBoundingClientRect().width > 2 * small);
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
      found.push(details.open, document.documentElement.scrollWidth <= window.innerWidth);
      document.body.innerHTML = "";
      document.body.textContent = "FOUND " + found.join("; ") + " END";
    };
    </script>"""
    (tmp_path / "report.html").write_text(text.replace("</body>", check + "</body>"), "utf-8")
    command = [browser(), "--headless", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path / 'user'}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # chromium refuses to run as root with it
    run = subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search("FOUND (.*) END", run.stdout)
    assert found, run.stderr[-2000:]
    falling, rising = "augment-only real+augment real-only", "real-only real+augment augment-only"
    assert found.group(1).split("; ") == [
        falling, "descending", rising, "ascending", "true", "false", "true",
    ]  # fmt: skip
