"""Recipes and dataset cards: packaged in a wheel, else those of the checkout. The user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from augment.errors import RecipeError, suggest

_PACKAGE = Path(__file__).parent


def resource_folder(kind: str) -> Path:
    """The folder of `recipes` or `datasets`: inside the installed package, else beside it."""
    packaged = _PACKAGE / kind
    return packaged if packaged.is_dir() else _PACKAGE.parent / kind


def list_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that ships."""
    return {path.stem: path for path in sorted(resource_folder("recipes").glob("*.yaml"))}


def list_cards() -> dict[str, Path]:
    """Name -> file of every dataset card that ships."""
    return {path.stem: path for path in sorted(resource_folder("datasets").glob("*.yaml"))}


def cache_folder() -> Path:
    """What can be found again is kept here: $AUGMENT_CACHE, else `augment` in $XDG_CACHE_HOME or ~/.cache."""
    own, shared = os.environ.get("AUGMENT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path.home() / ".cache") / "augment"


def find_recipe(name: str) -> Path:
    """The file of the recipe called `name`, or `name` itself where it is a file.

    Raises:
        RecipeError: neither a recipe's name nor a file.
    """
    known = list_recipes()
    if name in known:
        return known[name]
    path = Path(name)
    if path.is_file():
        return path
    raise RecipeError(f"No recipe is called '{name}', and it is no file. {suggest(name, known)}")
