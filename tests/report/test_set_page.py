from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from augment.report.set_page import RealDefect, SetFacts, SetImage, set_page
from augment.report.set_pictures import Pictures, full_side, measures, outline, small_picture, zoom_box

_spec = importlib.util.spec_from_file_location("set_fixtures", Path(__file__).with_name("conftest.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

NASTY = "<b>&\"'</style></script><!--"


class Page(HTMLParser):
    """Checks that tags are balanced; keeps elements and the text of each kind."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [a for name, a in self.elements if name == tag and wanted.items() <= a.items()]

    def text(self, tag: str) -> list[str]:
        return [data for name, data in self.texts if name == tag]

    @property
    def data(self) -> dict:
        found = [text for text in self.text("script") if text.startswith("{")]
        return json.loads(found[0])


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


@pytest.fixture(scope="module")
def page(made_set) -> Page:
    return Page(made_set.read_text("utf-8"))


def test_a_page_is_balanced_and_needs_nothing_else(made_set, page):
    text = made_set.read_text("utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "@import" not in text and "url(" not in text and not page.all("link")
    links = [a[name] for _, a in page.elements for name in ("src", "href", "srcset") if name in a]
    assert links and all(link.startswith("data:image/jpeg;base64,") for link in links)
    policy = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy[0].startswith("default-src 'none'; img-src data:;")
    assert list(made_set.parent.iterdir()) == [made_set]


def test_there_is_a_card_an_image_and_a_strip_a_defect(page):
    assert len(page.all("li", **{"class": "card"})) == 6
    buttons = page.all("button", **{"class": "open"})
    assert [b["aria-label"] for b in buttons][:4] == [
        "scratch/0000",
        "scratch/0001",
        "scratch/0002",
        "spot/0000",
    ]
    assert [b["tabindex"] for b in buttons] == ["0"] + ["-1"] * 5
    assert [a["data-defect"] for a in page.all("div", **{"class": "strip"})] == ["scratch", "spot"]
    assert len(page.all("button", **{"class": "real"})) == 4
    assert "CC BY 4.0" in page.text("dd")


def test_every_control_has_a_name(page):
    assert all(a.get("aria-label") for a in page.all("svg", role="img"))
    assert page.all("dialog")[0]["aria-labelledby"] == "shown"
    controls = len(page.all("select")) + len(page.all("input"))
    assert len([text for text in page.text("label") if text.strip()]) == controls == len(page.all("label"))
    assert page.all("p", role="status") and page.all("html")[0]["lang"] == "en"


def test_the_numbers_that_differ_can_be_sorted_by(page):
    names = [field["name"] for field in page.data["fields"]]
    assert names[0] == "index"
    assert set(names) == {"index", "refined_pixels", "background_error", "window.top", "brightness"} - (
        {"brightness"} if len({i["facts"]["brightness"] for i in page.data["images"]}) == 1 else set()
    )
    values = [option["value"] for option in page.all("option")]
    assert all(values.count(name) == 2 for name in names)  # to sort, and for a range
    assert page.data["images"][1]["facts"]["window.top"] == 1
    assert [image["fellBack"] for image in page.data["images"]] == [False, True, False] * 2


def test_fields_of_other_versions_are_taken_as_they_come(tmp_path):
    images = made.make_images(defects=("spot",))
    for number, image in enumerate(images):
        image.entry.update(nearest=0.5 + number, change_score=None if number else 2.0, flag=number > 1)
    page = Page(set_page(tmp_path / "p.html", made.ABOUT, images, []).read_text("utf-8"))
    names = [field["name"] for field in page.data["fields"]]
    assert "nearest" in names and "change_score" in names and "flag" not in names
    assert "change_score" not in page.data["images"][1]["facts"]


def test_a_result_is_its_source_and_a_patch(page):
    for image, given in zip(page.data["images"], made.make_images(), strict=True):
        whole = decoded(page.data["pictures"][image["base"]]).copy()
        assert np.abs(whole.astype(int) - given.source).mean() < 30
        x, y, width, height, uri = image["patch"]
        assert width * height < 0.5 * whole.shape[0] * whole.shape[1]
        whole[round(y) : round(y + height), round(x) : round(x + width)] = decoded(uri)
        assert whole[given.refined].mean() > 225
        assert image["source"] is True
    assert len(page.data["pictures"]) == 2 + 4  # two sources shared by six images, and four real ones


def test_without_a_source_the_result_is_shown_whole(tmp_path):
    given = made.make_images(count=1)[0]
    bare = SetImage(given.entry, given.token, given.result, given.refined)
    page = Page(set_page(tmp_path / "p.html", made.ABOUT, [bare], []).read_text("utf-8"))
    (image,) = page.data["images"]
    assert image["source"] is False and image["patch"] is None and image["target"] is None
    assert decoded(page.data["pictures"][image["base"]])[given.refined].mean() > 225


def test_a_change_anywhere_is_in_the_patch():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 255, (1000, 1400), dtype=np.uint8)
    result = source.copy()
    result[3:5, 1390:] = 255 - result[3:5, 1390:]
    (x, y, width, height), uri = Pictures(900).difference(source, result)
    assert y == 0 and height <= 40 and x <= 1390 - 4 and x + width == pytest.approx(1400, abs=0.01)
    assert decoded(uri).shape[1] == round(width * 900 / 1400)
    assert Pictures(900).difference(source, source.copy()) is None


def test_names_are_escaped_everywhere(tmp_path):
    about = SetFacts(NASTY, NASTY, NASTY, {NASTY: NASTY}, {NASTY: [NASTY]}, NASTY, [NASTY])
    images = made.make_images(defects=(NASTY,), source=NASTY, nasty={NASTY: 1})
    real = [RealDefect(NASTY, NASTY, r.image, r.mask) for r in made.make_real()[:1]]
    page = Page(set_page(tmp_path / "p.html", about, images, real).read_text("utf-8"))
    assert len(page.all("style")) == 1 and len(page.all("script")) == 2 and not page.all("b")
    assert page.data["images"][0]["defect"] == NASTY


@pytest.mark.parametrize("holes", [False, True])
def test_an_outline_filled_again_is_the_mask(holes):
    y, x = np.mgrid[:90, :120]
    mask = (x - 50) ** 2 + (y - 40) ** 2 < 30**2
    mask[5:9, 100:110] = True
    if holes:
        mask &= (x - 50) ** 2 + (y - 40) ** 2 >= 12**2
    drawn = np.zeros(mask.shape, dtype=bool)
    for part in re.findall(r"M([^Z]*)Z", outline(mask)):
        numbers = list(map(float, part.split()))
        canvas = Image.new("1", mask.shape[::-1])
        ImageDraw.Draw(canvas).polygon(list(zip(numbers[::2], numbers[1::2], strict=True)), fill=1)
        drawn ^= np.asarray(canvas)
    assert (drawn ^ mask).sum() <= 0.05 * mask.sum()


def test_one_pixel_and_no_pixel_have_an_outline_and_a_view():
    mask = np.zeros((50, 60), dtype=bool)
    image = np.zeros((50, 60), dtype=np.uint8)
    assert outline(mask) == "" and zoom_box(mask) == (0, 0, 60, 50)
    assert small_picture(image, mask)[0] == (0, 0, 60, 50)
    mask[7, 9] = True
    assert outline(mask) == "M9 7Z"
    left, top, width, height = zoom_box(mask)
    assert left <= 9 < left + width and top <= 7 < top + height and (width, height) == (32, 32)


def test_measures_are_those_of_the_mask():
    image = np.full((48, 24, 3), 10, dtype=np.uint8)
    mask = np.zeros((48, 24), dtype=bool)
    mask[:12, :12] = True
    image[mask] = (30, 60, 90)
    found = measures(image, mask)
    assert found["area"] == pytest.approx(0.125) and found["brightness"] == pytest.approx(60)
    assert found["place"].shape == (24, 12)
    assert found["place"][:6, :6].min() == 1 and found["place"].sum() == pytest.approx(36)


def test_full_pictures_shrink_where_a_set_would_be_too_large():
    noisy = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    assert full_side([np.full((1000, 1000, 3), 99, dtype=np.uint8)], 300) == 900
    assert full_side([noisy], 10) == 900
    assert full_side([noisy], 10_000) == 480


def test_300_bottles_stay_below_60_megabytes(tmp_path):
    """Smooth pictures of 900 x 900 with grain, like photographs; 12 stand for 300."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:900, :900] / 900
    sources = [
        (120 + 80 * np.sin(6 * x + n) * np.cos(5 * y) + rng.normal(0, 3, (900, 900))).clip(0, 255)
        for n in range(12)
    ]
    images = []
    for number, source in enumerate(sources):
        source = source.astype(np.uint8)
        refined = np.zeros((900, 900), dtype=bool)
        refined[300:500, 300:500] = True
        result = np.where(refined, 255 - source, source)
        entry = {"id": f"spot/{number:04d}", "defect": "spot", "index": number}
        images.append(SetImage(entry, "t", result, refined, source, refined))
    path = set_page(tmp_path / "p.html", made.ABOUT, images, [], full_side([i.result for i in images], 300))
    assert path.stat().st_size * 25 < 60e6
