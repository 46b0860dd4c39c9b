"""The page of a synthetic set: every image to look at, sort, filter, and accept or reject by key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from augment.report.document import document, section
from augment.report.markup import Markup, element
from augment.report.page_tables import settings_list
from augment.report.set_charts import distributions
from augment.report.set_pictures import Box, Pictures, measures, outline, small_picture, zoom_box
from augment.report.set_tools import keys_note, toolbar, viewer
from augment.workspace.files import atomic_write_text

_LABELS = {
    "index": "number",
    "refined_pixels": "mask area, pixels",
    "target_pixels": "target mask area, pixels",
    "brightness": "brightness in the mask",
    "scores.touched_outside": "pixels changed outside the mask",
    "scores.coverage": "coverage: IoU of mask and visible change",
    "scores.strength": "strength, 1 is just visible",
    "scores.seam": "seam at the mask's border",
    "scores.raggedness": "raggedness of the mask",
    "scores.nearest": "distance to the nearest real defect",
    "failed": "attempts that failed before",
}
_TOLD = (
    ("source", "source"),
    ("mask_source", "target mask from"),
    ("refinement", "mask"),
    ("nearest", "nearest real defect"),
)


@dataclass(frozen=True)
class SetImage:
    """One synthetic image.

    Attributes:
        entry: its line of the manifest; has at least `id`, `defect` and `index`. With `reasons` (criterion ->
            words), it failed the quality filter: it is shown, and is no part of the set.
        token: names its bytes, so that a decision is not taken over to another image of the same id.
        result: uint8 (H, W[, 3]).
        refined: bool (H, W), the mask that was written.
        source: uint8 of the result's shape; None where it cannot be had any more.
        target: bool (H, W), the target mask; None where it cannot be had any more.
    """

    entry: Mapping[str, Any]
    token: str
    result: np.ndarray
    refined: np.ndarray
    source: np.ndarray | None = None
    target: np.ndarray | None = None


@dataclass(frozen=True)
class RealDefect:
    """A training image of a defect: its name, uint8 (H, W[, 3]), and its mask, bool (H, W)."""

    defect: str
    name: str
    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class SetFacts:
    """What a page says about its set.

    Attributes:
        title: heading of the page.
        name: `DATASET/CATEGORY fold0`, say.
        key: names the set and nothing else; decisions are kept in the browser under it.
        facts: shown at the top, name -> value.
        settings: the whole recipe, folded.
        command: what to run with a drop list, up to its file's name.
        notes: sentences to show above the images.
    """

    title: str
    name: str
    key: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    command: str
    notes: Sequence[str] = ()


@dataclass
class _Parts:
    """What the page is made of, filled image by image."""

    pictures: Pictures
    cards: list[Markup] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    strips: dict[str, list[Markup]] = field(default_factory=dict)
    real: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: {"real": {}, "synthetic": {}}
    )


def set_page(
    path: Path, about: SetFacts, images: Iterable[SetImage], real: Iterable[RealDefect], side: int = 900
) -> Path:
    """Write the page of a synthetic set and return its path; images are read one at a time.

    Args:
        path: HTML file to write.
        about: the words.
        images: in the order they are shown first.
        real: training images of the same defects.
        side: of the full pictures, pixels; see `augment.report.set_pictures.full_side`.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    parts = _Parts(Pictures(side))
    for image in images:
        _add_image(parts, image)
    for defect in real:
        _add_real(parts, defect)
    fields = _fields([image["facts"] for image in parts.images])
    defects = list(dict.fromkeys(image["defect"] for image in parts.images))
    has_failed = any(image["failed"] for image in parts.images)
    file = f"drop-{about.name.replace('/', '-').replace(' ', '-')}.txt"
    data = {
        "key": about.key,
        "fields": fields,
        "images": parts.images,
        "real": parts.real,
        "pictures": parts.pictures.stored,
    }
    body = [
        element("h1", about.title),
        settings_list(about.facts),
        element("details", element("summary", "Recipe"), settings_list(about.settings), class_="section"),
        _strips(parts),
        section(
            "Synthetic images",
            *(element("p", note, class_="note") for note in about.notes),
            keys_note(),
            toolbar(fields, defects, file, f"{about.command} --drop {file}", has_failed),
            element("ul", *parts.cards, class_="set", aria_label="Synthetic images"),
        ),
        section(
            "Real against synthetic",
            element(
                "p",
                "Real: the images that the fit has seen. Each curve is the share of images; a tick below the "
                "axis is one real image.",
                class_="note",
            ),
            distributions(parts.measured["real"], parts.measured["synthetic"]),
        ),
        viewer(),
        _data(data),
    ]
    atomic_write_text(path, document(about.title, body, ["page.css", "set.css"], ["set.js"]))
    return path


def _add_image(parts: _Parts, image: SetImage) -> None:
    entry, result = image.entry, image.result
    measured = measures(result, image.refined)
    reasons = [f"{name} {words}" for name, words in entry.get("reasons", {}).items()]
    if not reasons:
        parts.measured["synthetic"].setdefault(entry["defect"], []).append(measured)
    facts = numbers(entry)
    if entry.get("rejected"):
        facts["failed"] = len(entry["rejected"])
    if measured["brightness"] == measured["brightness"]:
        facts["brightness"] = round(measured["brightness"], 1)
    patch, base = None, result
    if image.source is not None and image.source.shape == result.shape:
        patch, base = parts.pictures.difference(image.source, result), image.source
    seen = image.refined if image.target is None else image.refined | image.target
    box, small = small_picture(result, seen)
    path = outline(image.refined)
    record = {
        "id": entry["id"],
        "defect": entry["defect"],
        "token": image.token,
        "size": [result.shape[1], result.shape[0]],
        "zoom": zoom_box(seen),
        "base": parts.pictures.add(base),
        "source": base is not result,
        "patch": patch and [*patch[0], patch[1]],
        "refined": path,
        "target": None if image.target is None else outline(image.target),
        "fellBack": "fell back" in str(entry.get("refinement", "")),
        "failed": ", ".join(reasons),
        "facts": facts,
        "words": _words(entry) | ({"failed by": ", ".join(reasons)} if reasons else {}),
    }
    number = len(parts.images)
    parts.images.append(record)
    body = [
        _small(entry["id"], box, small, path, "refined", class_="open", tabindex=-1 if number else 0),
        element(
            "p",
            element("span", entry["id"], class_="id"),
            element("span", class_="state"),
            element("span", class_="value"),
            *(element("span", reason, class_="reason") for reason in reasons),
        ),
    ]
    parts.cards.append(element("li", *body, class_="card failed" if reasons else "card", data_n=number))


def _add_real(parts: _Parts, real: RealDefect) -> None:
    parts.measured["real"].setdefault(real.defect, []).append(measures(real.image, real.mask))
    box, small = small_picture(real.image, real.mask)
    path = outline(real.mask)
    record = {
        "name": real.name,
        "defect": real.defect,
        "size": [real.image.shape[1], real.image.shape[0]],
        "zoom": zoom_box(real.mask),
        "base": parts.pictures.add(real.image),
        "refined": path,
    }
    label = f"real {real.defect}, {real.name}"
    button = _small(label, box, small, path, "target", class_="real", data_n=len(parts.real))
    parts.strips.setdefault(real.defect, []).append(element("li", button))
    parts.real.append(record)


def _small(label: str, box: Box, picture: str, path: str, kind: str, **attributes: Any) -> Markup:
    """A small picture with its outline, as a button."""
    x, y, width, height = box
    image = element("image", href=picture, x=x, y=y, width=width, height=height, preserveAspectRatio="none")
    drawn = element("path", d=path, class_=f"outline {kind}")
    svg = element("svg", image, drawn, viewBox=f"{x} {y} {width} {height}", aria_hidden="true")
    return element("button", svg, type="button", aria_label=label, title=label, **attributes)


def numbers(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a manifest line, those of nested groups with dotted names."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            found[prefix + name] = value
    return found


def _words(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the viewer tells about an image besides numbers."""
    told = {}
    for name, label in _TOLD:
        if isinstance(entry.get(name), str):
            told[label] = Path(entry[name]).name if "/" in entry[name] else entry[name]
    return told


def _fields(facts: Sequence[Mapping[str, float]]) -> list[dict[str, str]]:
    """The numbers that differ from image to image, and `index`; those to sort and filter by."""
    names = dict.fromkeys(["index", *(name for found in facts for name in found)])
    chosen = [n for n in names if n == "index" or len({found.get(n) for found in facts}) > 1]
    return [
        {"name": name, "label": _LABELS.get(name, name.replace("_", " ").replace(".", ": "))}
        for name in chosen
    ]


def _strips(parts: _Parts) -> Markup | None:
    """The real defects, a strip a type."""
    if not parts.strips:
        return None
    rows = [
        element(
            "div",
            element("h3", f"{defect}, {len(found)}"),
            element("ul", *found, aria_label=f"Real {defect}", tabindex="0"),
            class_="strip",
            data_defect=defect,
        )
        for defect, found in parts.strips.items()
    ]
    note = "The images that the fit has learnt from. Choose one to enlarge it."
    return section("Real training defects", element("p", note, class_="note"), *rows)


def _data(data: Mapping[str, Any]) -> Markup:
    """Values for the script; no "<", so that nothing in them can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return element("script", Markup(text), type="application/json", id="data")
