"""Dataset cards: what a public dataset is called, may be used for, and contains (`datasets/*.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from augment.errors import DataError, TargetError, suggest
from augment.resources import list_cards


@dataclass(frozen=True)
class CategoryCard:
    """The words a prompt uses for a category and its defects."""

    words: str
    defects: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """One dataset. In YAML the keys are these fields, without `name`, which is the file's."""

    name: str
    title: str
    licence: str
    citation: str
    url: str
    layout: str  # the folder convention the publisher uses, for people: "MVTec AD", "MVTec LOCO"
    categories: dict[str, CategoryCard]
    folders: tuple[str, ...] = ()  # other names its folder goes by, such as the archive's own

    def category(self, folder_name: str) -> CategoryCard | None:
        """The words for a category folder; a data set that is one category may be called as it likes."""
        if folder_name not in self.categories and folder_name in (self.name, *self.folders):
            return next(iter(self.categories.values()), None)
        return self.categories.get(folder_name)


def load_card(name: str) -> Card:
    """The card called `name`.

    Raises:
        TargetError: no card has that name.
        DataError: the card's file is not valid.
    """
    known = list_cards()
    if name not in known:
        raise TargetError(f"No dataset card is called '{name}'. {suggest(name, known)}")
    return read_card(known[name])


def find_card(folder_name: str) -> Card | None:
    """The card of the dataset whose folder is called `folder_name`, or None."""
    for card in map(load_card, list_cards()):
        if folder_name == card.name or folder_name in card.folders:
            return card
    return None


def read_card(path: Path) -> Card:
    """Read one card file.

    Raises:
        DataError: not YAML, a key missing or unknown, or a value that is no text.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"The dataset card {path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        categories = {str(key): _category(value) for key, value in values.pop("categories").items()}
        folders = tuple(values.pop("folders", ()))
        card = Card(path.stem, **values, categories=categories, folders=folders)
    except (AttributeError, KeyError, TypeError) as error:
        expected = ", ".join(f.name for f in fields(Card) if f.name != "name")
        raise DataError(f"The dataset card {path} must hold the keys {expected} ({error}).") from error
    return card


def _category(value: dict[str, Any]) -> CategoryCard:
    return CategoryCard(
        value["words"], {str(key): str(words) for key, words in value.get("defects", {}).items()}
    )
