"""The page of a synthetic set in a real browser; skipped where there is none."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

from augment.report.set_page import set_page  # noqa: E402

_spec = importlib.util.spec_from_file_location("set_fixtures", Path(__file__).with_name("conftest.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1200,900"):
        options.add_argument(flag)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.downloads = downloads
    yield chrome
    chrome.quit()


class Shown:
    """The page in the browser, and what a person does with it."""

    def __init__(self, browser, path: Path):
        self.browser = browser
        browser.get(path.as_uri())

    def by(self, name: str):
        return self.browser.find_element(By.ID, name)

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def choose(self, name: str, text: str) -> None:
        Select(self.by(name)).select_by_visible_text(text)

    @property
    def ids(self) -> list[str]:
        cards = self.browser.find_elements(By.CSS_SELECTOR, ".card")
        return [card.find_element(By.CLASS_NAME, "id").text for card in cards if card.is_displayed()]

    @property
    def focus(self) -> str:
        return self.browser.switch_to.active_element.get_attribute("aria-label") or ""

    @property
    def count(self) -> str:
        return self.by("count").text

    @property
    def dropped(self) -> list[str]:
        link = self.by("drop").get_attribute("href") or ""
        return unquote(link.partition(",")[2]).splitlines()

    @property
    def titles(self) -> list[str]:
        return [found.text for found in self.browser.find_elements(By.CSS_SELECTOR, "dialog figcaption")]


@pytest.fixture
def shown(browser, made_set) -> Shown:
    page = Shown(browser, made_set)
    browser.execute_script("localStorage.clear()")
    page = Shown(browser, made_set)
    browser.get_log("browser")
    yield page
    assert [line["message"] for line in browser.get_log("browser")] == []


def start(shown: Shown) -> None:
    shown.browser.execute_script("document.querySelector('.open').focus()")


def test_images_are_sorted_by_any_number_both_ways(shown):
    assert shown.ids == [f"{d}/000{i}" for d in ("scratch", "spot") for i in range(3)]
    shown.choose("sort", "background error")
    assert [name[-1] for name in shown.ids] == list("221100")
    shown.by("direction").click()
    assert shown.by("direction").text == "falling"
    assert [name[-1] for name in shown.ids] == list("001122")
    assert shown.browser.find_element(By.CSS_SELECTOR, ".card .value").text == "0.3"


def test_images_are_filtered_by_defect_fall_back_and_range(shown):
    shown.choose("defect", "spot")
    assert shown.ids == ["spot/0000", "spot/0001", "spot/0002"] and shown.count.startswith("3 of 6 shown")
    strips = shown.browser.find_elements(By.CSS_SELECTOR, ".strip")
    assert [strip.is_displayed() for strip in strips] == [False, True]
    shown.choose("fell", "refined")
    assert shown.ids == ["spot/0000", "spot/0002"]
    shown.by("add").click()
    row = shown.browser.find_element(By.CLASS_NAME, "range")
    Select(row.find_element(By.CLASS_NAME, "field")).select_by_visible_text("mask area, pixels")
    row.find_element(By.CLASS_NAME, "low").send_keys("41")
    assert shown.ids == ["spot/0002"]
    row.find_element(By.CLASS_NAME, "high").send_keys("50")
    assert shown.ids == []
    row.find_element(By.TAG_NAME, "button").click()
    assert shown.ids == ["spot/0000", "spot/0002"]


def test_keys_move_decide_undo_and_the_list_follows(shown):
    assert shown.by("drop").get_attribute("aria-disabled") == "true" and shown.dropped == []
    start(shown)
    shown.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert shown.focus == "scratch/0001"
    shown.press("r")
    assert shown.focus == "scratch/0002" and shown.dropped == ["scratch/0001"]
    shown.press("a", Keys.ARROW_RIGHT, "R")
    assert shown.dropped == ["scratch/0001", "spot/0001"]
    assert shown.count.endswith("1 accepted, 2 rejected, 3 undecided.")
    shown.press("u")
    assert shown.focus == "spot/0001" and shown.dropped == ["scratch/0001"]
    shown.press("u", "u", "u")
    assert shown.dropped == [] and "0 accepted, 0 rejected" in shown.count


def test_up_and_down_move_by_a_row(shown):
    shown.browser.set_window_size(500, 900)
    try:
        start(shown)
        tops = [c.rect["y"] for c in shown.browser.find_elements(By.CSS_SELECTOR, ".card")]
        row = tops.count(tops[0])
        assert 1 < row < 6
        shown.press(Keys.ARROW_DOWN)
        assert shown.focus == shown.ids[row]
        shown.press(Keys.ARROW_UP)
        assert shown.focus == shown.ids[0]
        wide = shown.browser.execute_script("return document.documentElement.scrollWidth > innerWidth")
        assert not wide
    finally:
        shown.browser.set_window_size(1200, 900)


def test_decided_images_leave_a_filter_and_the_next_is_at_hand(shown):
    shown.choose("decision", "undecided")
    start(shown)
    shown.press("r", "a")
    assert shown.ids[0] == "scratch/0002" and shown.focus == "scratch/0002"
    shown.choose("decision", "rejected")
    assert shown.ids == ["scratch/0000"]


def test_decisions_outlive_the_page_but_not_the_image(shown, browser, made_set, tmp_path):
    start(shown)
    shown.press("r", "a")
    again = Shown(browser, made_set)
    assert again.dropped == ["scratch/0000"] and "1 accepted, 1 rejected" in again.count
    changed = tmp_path / "report.html"
    changed.write_text(made_set.read_text("utf-8").replace('"token":"scratch0"', '"token":"other"'), "utf-8")
    again = Shown(browser, changed)
    assert again.dropped == [] and "1 accepted, 0 rejected, 5 undecided" in again.count


def test_keys_do_nothing_while_one_types(shown):
    shown.by("add").click()
    field = shown.browser.find_element(By.CSS_SELECTOR, ".range .low")
    field.send_keys("r1a", Keys.ARROW_LEFT)
    assert shown.dropped == [] and "0 accepted" in shown.count


def test_enter_opens_all_four_pictures_beside_a_real_one(shown):
    start(shown)
    shown.press(Keys.ENTER)
    dialog = shown.by("viewer")
    assert dialog.is_displayed() and shown.by("shown").text == "scratch/0000"
    assert shown.titles == ["source", "target mask", "result", "refined mask", "real scratch: 000.png"]
    shown.browser.find_elements(By.CSS_SELECTOR, "#few button")[1].click()
    assert shown.titles[-1] == "real scratch: 001.png"
    outlines = shown.browser.find_elements(By.CSS_SELECTOR, "dialog .outline")
    assert outlines and all(found.is_displayed() for found in outlines)
    shown.press("m")
    assert not any(found.is_displayed() for found in outlines)
    assert not shown.browser.find_element(By.CSS_SELECTOR, ".card .outline").is_displayed()
    shown.press("m")
    box = "return document.querySelector('#panels svg').getAttribute('viewBox')"
    assert shown.browser.execute_script(box) == "0 0 80 60"
    shown.press("z")
    assert shown.browser.execute_script(box) != "0 0 80 60"
    shown.press("3")
    assert shown.browser.find_element(By.CSS_SELECTOR, ".large figcaption").text == "result"
    shown.press(Keys.ARROW_RIGHT, "r")
    assert shown.dropped == ["scratch/0001"] and shown.by("shown").text == "scratch/0002"
    shown.press(Keys.ESCAPE)
    assert not dialog.is_displayed() and shown.focus == "scratch/0002"


def test_a_result_shows_its_patch_over_its_source(shown):
    start(shown)
    shown.press(Keys.ENTER)
    counts = shown.browser.execute_script(
        "return [...document.querySelectorAll('#panels svg')].map((s) => s.querySelectorAll('image').length)"
    )
    assert counts == [1, 1, 2, 2]
    sizes = shown.browser.execute_async_script(
        "const done = arguments[0]; const image = new Image();"
        "image.onload = () => done([image.naturalWidth, image.naturalHeight]);"
        "image.src = document.querySelector('#panels image').getAttribute('href');"
    )
    assert sizes == [80, 60]


def test_a_real_defect_opens_alone(shown):
    shown.browser.find_element(By.CSS_SELECTOR, "button.real").click()
    assert shown.titles == ["training image", "its mask"]
    shown.press("r", Keys.ARROW_RIGHT)
    assert shown.dropped == [] and not shown.by("accept").is_displayed()
    shown.by("close").click()
    assert not shown.by("viewer").is_displayed() and shown.focus == "real scratch, 000.png"


def test_the_list_is_downloaded_as_a_file(shown):
    start(shown)
    shown.press("r", "r")
    shown.by("drop").click()
    path = shown.browser.downloads / "drop-parts-washer-fold0.txt"
    WebDriverWait(shown.browser, 10).until(lambda _: path.exists())
    assert path.read_text() == "scratch/0000\nscratch/0001\n"
    assert "--drop drop-parts-washer-fold0.txt" in shown.by("then").text


def test_what_failed_the_filter_is_shown_when_asked_for_and_cannot_be_decided(browser, tmp_path):
    images = made.make_images()
    (failed,) = made.make_images(
        count=1, defects=("spot",), id="spot/0000@0", reasons={"strength": "0.9 < 1.2"}
    )
    images[3] = replace(
        images[3],
        entry=images[3].entry | {"attempt": 1, "rejected": [{"attempt": 0}], "scores": {"seam": 0.2}},
    )
    path = set_page(tmp_path / "report.html", made.ABOUT, [*images, failed], made.make_real())
    shown = Shown(browser, path)
    browser.execute_script("localStorage.clear()")
    shown = Shown(browser, path)
    assert len(shown.ids) == 6 and "spot/0000@0" not in shown.ids
    shown.choose("failed", "failed, with the reasons")
    assert shown.ids == ["spot/0000@0"]
    assert browser.find_element(By.CSS_SELECTOR, ".card.failed .reason").text == "strength 0.9 < 1.2"
    start_on = browser.find_element(By.CSS_SELECTOR, ".card.failed .open")
    start_on.click()
    assert not shown.by("reject").is_enabled() and shown.by("verdict").text.startswith("failed the filter")
    assert "strength 0.9 < 1.2" in shown.by("facts").text
    shown.press("r", Keys.ESCAPE)
    assert shown.dropped == [] and shown.count.endswith("6 undecided.")
    shown.choose("failed", "all")
    assert len(shown.ids) == 7
    shown.choose("sort", "attempts that failed before")
    assert shown.ids[0] == "spot/0000"
    assert [line["message"] for line in browser.get_log("browser")] == []
