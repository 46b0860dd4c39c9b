"""The best and worst cases of the report page: test image, truth and one map a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from augment.report.drawing import TARGET_COLOUR, data_uri, overlay, shrink, shrink_mask, size_within
from augment.report.maps import coloured, score_range
from augment.report.markup import Markup, element

_SIDES = (640, 480, 320, 224, 160, 96)  # pixels; the largest whose pictures fit the budget is taken
_BUDGET = 3_500_000  # bytes of all pictures as base64
_MAX_CASES = 12  # of each kind
_TITLES = {"best": "Best", "worst": "Worst"}


def case_grids(cases: Sequence[Mapping[str, Any]]) -> Markup:
    """A table of pictures for each kind of case, at most 12 cases each, all pictures within 3.5 MB.

    Colours of a map run from the lowest to the highest score of its column. A click enlarges a picture,
    without a script.

    Args:
        cases: `image` uint8 (H, W[, 3]), `mask` bool (H, W), `maps`: column -> float (h, w), `caption`, and
            `kind` "best" or "worst".
    """
    kinds = {kind: [case for case in cases if case["kind"] == kind][:_MAX_CASES] for kind in _TITLES}
    shown = [case for kind in kinds.values() for case in kind]
    columns = list(dict.fromkeys(column for case in shown for column in case["maps"]))
    pictures = iter(_encode(shown, columns))
    return element("div", *(_grid(kind, kinds[kind], columns, pictures) for kind in _TITLES if kinds[kind]))


def _grid(kind: str, cases: Sequence[Mapping[str, Any]], columns: Sequence[str], pictures) -> Markup:
    heads = ["test image", "truth", *columns]
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    bodies = []
    for case in cases:
        caption = element("th", element("span", case["caption"]), scope="rowgroup", colspan=len(heads))
        names = ["test image", "truth", *(f"anomaly map, {column}" for column in columns)]
        cells = [
            _cell(picture, f"{name}: {case['caption']}")
            for name, picture in zip(names, next(pictures), strict=True)
        ]
        bodies.append(element("tbody", element("tr", caption), element("tr", *cells)))
    title = f"{_TITLES[kind]} cases"
    table = element(
        "table", element("caption", title), head, *bodies, class_="cases", style=f"--columns: {len(heads)}"
    )
    return element("div", table, class_="scroll", role="region", aria_label=title, tabindex="0")


def _cell(picture: str | None, text: str) -> Markup:
    if picture is None:
        return element("td", "-")
    image = element("img", src=picture, alt=text)
    return element("td", element("details", element("summary", image), element("p", text), name="enlarged"))


def _encode(cases: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[str | None]]:
    """The pictures of each case as data URIs, as large as the budget lets them be."""
    ranges = {
        column: score_range([case["maps"][column] for case in cases if column in case["maps"]])
        for column in columns
    }
    largest = min(_SIDES[0], max((max(case["image"].shape[:2]) for case in cases), default=1))
    sides = [largest, *(side for side in _SIDES if side < largest)]
    pictures, size, made = [], 0, largest
    for side in sides:
        if size * (side / made) ** 2 > _BUDGET and side != sides[-1]:
            continue  # bytes fall more slowly than the area, so this would not fit
        pictures = [_pictures(case, ranges, side) for case in cases]
        size, made = sum(len(picture or "") for row in pictures for picture in row), side
        if size <= _BUDGET:
            break
    return pictures


def _pictures(
    case: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]], side: int
) -> list[str | None]:
    image = case["image"]
    size = size_within(image.shape, min(side, max(image.shape[:2])))
    image = shrink(image, *size)
    pictures = [image, overlay(image, shrink_mask(case["mask"], *size), TARGET_COLOUR)]
    found = [data_uri(picture) for picture in pictures]
    for column, limits in ranges.items():
        scores = case["maps"].get(column)
        if scores is None:
            found.append(None)
        else:
            heat = Image.fromarray(coloured(scores, *limits)).resize(size, Image.Resampling.BILINEAR)
            found.append(data_uri(heat))
    return found
