"""What the page of a synthetic set is worked with: the toolbar above the images and the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augment.report.markup import Markup, element

_KEYS = (
    ("\N{LEFTWARDS ARROW} \N{RIGHTWARDS ARROW} \N{UPWARDS ARROW} \N{DOWNWARDS ARROW}", "move"),
    ("Enter", "open"),
    ("Esc", "close"),
    ("A", "accept"),
    ("R", "reject"),
    ("U", "undo"),
    ("M", "masks on or off"),
    ("Z", "zoom to the defect"),
    ("1\N{EN DASH}5", "enlarge one of the pictures"),
)


def keys_note() -> Markup:
    """Which keys do what."""
    return element(
        "p", *(element("span", element("kbd", key), f" {what}") for key, what in _KEYS), class_="keys"
    )


def toolbar(
    fields: Sequence[Mapping[str, str]],
    defects: Sequence[str],
    file: str,
    command: str,
    has_failed: bool = False,
) -> Markup:
    """Sorting, filters, the count, and the drop list.

    Args:
        fields: `name` and `label` of each number.
        defects: of the set.
        file: name of the drop list.
        command: what to do with it.
        has_failed: some of the images failed the quality filter.
    """
    orders = [("", "defect and number"), *((f["name"], f["label"]) for f in fields)]
    sort = [
        _labelled("Sort by", _select("sort", orders)),
        element("button", "rising", type="button", id="direction", aria_pressed="false"),
    ]
    kinds = [("", "all"), *((name, name) for name in defects)]
    decided = [(n, n or "all") for n in ("", "undecided", "accepted", "rejected")]
    fell = [("", "all"), ("yes", "fell back to the target"), ("no", "refined")]
    filters = [
        _labelled("Defect", _select("defect", kinds)),
        _labelled("Decision", _select("decision", decided)),
        _labelled("Mask", _select("fell", fell)),
    ]
    if has_failed:
        kinds = [("no", "passed"), ("yes", "failed, with the reasons"), ("", "all")]
        filters.append(_labelled("Quality filter", _select("failed", kinds)))
    blank = element("template", _range(fields), id="range")
    link = element("a", "Download the drop list", id="drop", download=file, role="link", aria_disabled="true")
    return element(
        "div",
        element("div", *sort, *filters, class_="row"),
        element("div", id="ranges"),
        blank,
        element(
            "div",
            element("button", "Add a range", type="button", id="add"),
            element("button", "Masks", type="button", id="masks", aria_pressed="true"),
            element("button", "Undo", type="button", id="undo"),
            element("button", "Forget all decisions", type="button", id="forget"),
            link,
            class_="row",
        ),
        element("p", id="count", role="status"),
        element("p", "Then: ", element("code", command), class_="note", id="then", hidden=True),
        element("p", class_="note", id="lost", role="alert", hidden=True),
        class_="tools",
        role="group",
        aria_label="Sort, filter and decide",
    )


def viewer() -> Markup:
    """The dialog that shows one image at full size; the script fills it."""
    buttons = [
        _button(name, text, **more)
        for name, text, more in (
            ("back", "\N{LEFTWARDS ARROW}", {"aria_label": "Image before"}),
            ("next", "\N{RIGHTWARDS ARROW}", {"aria_label": "Next image", "autofocus": True}),
            ("accept", "Accept", {}),
            ("reject", "Reject", {}),
            ("undo2", "Undo", {}),
            ("masks2", "Masks", {"aria_pressed": "true"}),
            ("zoom", "Zoom", {"aria_pressed": "false"}),
            ("close", "Close", {}),
        )
    ]
    head = element("div", element("h2", id="shown"), element("span", id="verdict"), class_="row")
    return element(
        "dialog",
        element("div", head, element("div", *buttons, class_="row"), class_="head"),
        element("div", id="panels"),
        element(
            "div",
            element("div", id="beside"),
            element("div", element("div", id="few"), element("dl", id="facts")),
            class_="below",
        ),
        id="viewer",
        aria_labelledby="shown",
    )


def _button(name: str, text: str, **attributes: str | bool) -> Markup:
    return element("button", text, type="button", id=name, **attributes)


def _select(name: str, options: Sequence[tuple[str, str]]) -> Markup:
    return element("select", *(element("option", text, value=v) for v, text in options), id=name)


def _labelled(text: str, control: Markup) -> Markup:
    return element("label", f"{text} ", control)


def _range(fields: Sequence[Mapping[str, str]]) -> Markup:
    """A line that keeps the images whose number lies between two values."""
    options = [element("option", f["label"], value=f["name"]) for f in fields]
    ends = [
        _labelled(text, element("input", type="number", step="any", class_=name))
        for text, name in (("from", "low"), ("to", "high"))
    ]
    return element(
        "div",
        _labelled("Only", element("select", *options, class_="field")),
        *ends,
        element("button", "Remove", type="button"),
        class_="row range",
    )
