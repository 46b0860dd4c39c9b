"""`DATASET/CATEGORY/DEFECT` patterns -> categories and targets."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from augment.data.cards import Card, find_card, load_card
from augment.data.images import check_name
from augment.data.layouts import defect_names, is_category, read_category, subfolders
from augment.data.sample import GOOD, Category, Target
from augment.errors import DataError, TargetError, suggest
from augment.resources import list_cards


def resolve_targets(patterns: Sequence[str], data_root: Path | None) -> list[Target]:
    """The defects that patterns name, each once, in the patterns' order.

    A pattern is `DATASET[/CATEGORY[/DEFECT]]`. DATASET is a folder of category folders, or a category folder
    itself (then only DEFECT may follow): an absolute path, or one relative to `data_root`, `$AUGMENT_DATA` or
    the current folder, searched in this order (only the last for `./...`); or a card's name, whose folder is
    searched in the same places.
    CATEGORY and DEFECT may hold `*`, `?` and `[...]`. What is left out stands for all. `good` is no defect.

    Raises:
        TargetError: a part names or matches nothing; the nearest names are offered.
        DataError: a category that a pattern names cannot be used (see `read_category`).
    """
    targets = {}
    for pattern in patterns:
        for category, defects in _match(pattern, data_root):
            for defect in defects:
                target = Target(category, defect)
                targets.setdefault(target.key, target)
    return list(targets.values())


def resolve_categories(patterns: Sequence[str], data_root: Path | None) -> list[Category]:
    """The categories that patterns name, each once; only the defects named remain in `Category.defects`.

    Patterns, search and errors are those of `resolve_targets`.
    """
    chosen: dict[str, tuple[Category, set[str]]] = {}
    for pattern in patterns:
        for category, defects in _match(pattern, data_root):
            chosen.setdefault(category.key, (category, set()))[1].update(defects)
    return [
        replace(
            category, defects={name: category.defects[name] for name in category.defects if name in defects}
        )
        for category, defects in chosen.values()
    ]


@dataclass(frozen=True)
class CategoryFolder:
    """A category that is not read yet, and the defects of it that were named."""

    root: Path
    dataset: str
    card: Card | None
    defects: tuple[str, ...]

    @property
    def key(self) -> str:
        """`DATASET/CATEGORY`."""
        return f"{self.dataset}/{self.root.name}"


def resolve_folders(patterns: Sequence[str], data_root: Path | None) -> list[CategoryFolder]:
    """The category folders that patterns name, each once, whatever state they are in.

    Patterns, search and errors are those of `resolve_targets`, but that nothing is read.
    """
    chosen: dict[str, CategoryFolder] = {}
    for pattern in patterns:
        for found in _match_folders(pattern, data_root):
            before = chosen.get(found.key, found)
            defects = sorted({*before.defects, *found.defects})
            chosen[found.key] = replace(before, defects=tuple(defects))
    return list(chosen.values())


def _match(pattern: str, data_root: Path | None) -> list[tuple[Category, tuple[str, ...]]]:
    """The categories a pattern matches, with the defects it matches in each."""
    return [
        (read_category(found.root, found.dataset, found.card), found.defects)
        for found in _match_folders(pattern, data_root)
    ]


def _match_folders(pattern: str, data_root: Path | None) -> list[CategoryFolder]:
    folder, rest = _find_folder(pattern, data_root)
    if is_category(folder):
        dataset_folder, roots = folder.parent, [folder]
        if rest and rest[0] == folder.name and find_card(folder.name):
            rest = rest[1:]  # a data set that is one category, named as its key is written
    else:
        dataset_folder, inside = folder, subfolders(folder)
        category_pattern, rest = (rest[0], rest[1:]) if rest else ("*", rest)
        names = _matching(category_pattern, [path.name for path in inside])
        roots = [path for path in inside if path.name in names and is_category(path)]
        if not roots:
            known = [path.name for path in inside if _is_readable_category(path)]
            raise TargetError(
                f"No category of {folder} is called '{category_pattern}'. {suggest(category_pattern, known)}"
            )

    if len(rest) > 1:
        raise TargetError(
            f"'{pattern}' has too many parts: only a DEFECT may follow a category, not '{'/'.join(rest)}'."
        )
    defect_pattern = rest[0] if rest else "*"
    if defect_pattern == GOOD:
        raise TargetError(
            f"'{pattern}' names normal images: a target is a defect, such as one of {_all_defects(roots)}."
        )

    matches = {root: _matching(defect_pattern, defect_names(root)) for root in roots}
    if not any(matches.values()):
        where = roots[0] if len(roots) == 1 else folder
        known = {name for root in roots for name in defect_names(root)}
        raise TargetError(
            f"No defect in {where} is called '{defect_pattern}'. {suggest(defect_pattern, known)}"
        )
    card = find_card(dataset_folder.name) or (find_card(folder.name) if roots == [folder] else None)
    dataset = card.name if card else dataset_folder.name or "data"
    return [
        CategoryFolder(root, dataset, card, tuple(defects)) for root, defects in matches.items() if defects
    ]


def _find_folder(pattern: str, data_root: Path | None) -> tuple[Path, tuple[str, ...]]:
    """The longest part of `pattern` that is a category folder or holds some, absolute, and the parts left."""
    parts = Path(pattern).expanduser().parts
    from_here = pattern.startswith(".")
    places = [Path()] if from_here else _places(data_root)
    for length in range(len(parts), -1 if from_here else 0, -1):
        for place in places:
            for name in _folder_names(parts[:length]):
                folder = Path(os.path.abspath(place / name))
                if _is_source(folder):
                    return check_name(folder), parts[length:]
    raise TargetError(_not_found(pattern, parts, places))


def _is_source(folder: Path) -> bool:
    """Whether a folder is a category or holds some, as far as one may look into what it holds."""
    if is_category(folder):
        return True
    with suppress(DataError):
        return any(map(_is_readable_category, subfolders(folder)))
    return False


def _is_readable_category(folder: Path) -> bool:
    with suppress(DataError):
        return is_category(folder)
    return False


def _places(data_root: Path | None) -> list[Path]:
    """Where relative paths are looked for, in order."""
    environment = os.environ.get("AUGMENT_DATA")
    given = [data_root, Path(environment).expanduser() if environment else None, Path()]
    return [place for place in given if place is not None]


def _folder_names(parts: tuple[str, ...]) -> list[Path]:
    """The folders that a pattern's leading parts may mean: themselves, and a card's other folder names."""
    names = [Path(*parts)]
    if parts and parts[0] in list_cards():
        names += [Path(folder, *parts[1:]) for folder in load_card(parts[0]).folders]
    return names


def _not_found(pattern: str, parts: tuple[str, ...], places: Sequence[Path]) -> str:
    """What to say of a pattern whose dataset is nowhere."""
    if not pattern:
        return "A target is empty: expected DATASET/CATEGORY/DEFECT."
    looked = " and ".join(str(place.absolute()) for place in places)
    if parts and parts[0] in list_cards():
        card = load_card(parts[0])
        return (
            f"The data of '{card.name}' ({card.title}) is not in {looked}: "
            f"get it from {card.url}, and name the folder that holds it with --data-root."
        )
    known = {*list_cards()}
    with suppress(DataError):  # folders nearby that may not be read
        known |= {path.name for place in places for path in subfolders(place) if _is_source(path)}
    return (
        f"'{pattern}' names no dataset folder in {looked}. {suggest(parts[0] if parts else pattern, known)} "
        "Name a folder, or the one that holds it with --data-root."
    )


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The names equal to `pattern`, else those it matches as a glob."""
    pattern = _composed(pattern)
    equal = [name for name in names if _composed(name) == pattern]
    return equal or [name for name in names if fnmatchcase(_composed(name), pattern)]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _all_defects(roots: Sequence[Path]) -> str:
    return ", ".join(sorted({name for root in roots for name in defect_names(root)}))
