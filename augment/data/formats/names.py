"""Names in label files -> names of folders and files that every system and tool can take."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\s]+')


def safe_name(name: str) -> str:
    """`name` in composed Unicode, with `_` for white space and what file systems refuse."""
    return _UNSAFE.sub("_", unicodedata.normalize("NFC", name).strip()).lstrip(".-") or "unnamed"


def defect_folders(classes: Iterable[str], notes: list[str]) -> dict[str, str]:
    """Class -> folder name; classes that differ in case or signs alone share one, which is noted."""
    folders: dict[str, str] = {}
    first: dict[str, str] = {}
    for name in sorted(set(classes)):
        folder = safe_name(name)
        key = folder.casefold()
        if key in first:
            notes.append(f"The classes '{first[key]}' and '{name}' were put together.")
            folder = folders[first[key]]
        first.setdefault(key, name)
        folders[name] = folder
    return folders


def file_stems(names: Sequence[str], notes: list[str]) -> list[str]:
    """For each path a file name without suffix; none twice, case aside.

    A name that occurs once is kept; others get their folders' names before them, and a number if need be.
    """
    stems = [safe_name(PurePosixPath(name).stem) for name in names]
    counts = Counter(stem.casefold() for stem in stems)
    shared = _shared_folders(names)
    taken = {key for key, count in counts.items() if count == 1}
    doubles = 0
    for place, name in enumerate(names):
        if counts[stems[place].casefold()] == 1:
            continue
        doubles += 1
        path = PurePosixPath(name)
        stem = long = "_".join(
            safe_name(part) for part in (*path.parts[shared:-1], path.stem) if part not in "/.."
        )
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{long}_{number}", number + 1
        taken.add(stem.casefold())
        stems[place] = stem
    if doubles:
        notes.append(f"Named with their folders, since names occur twice: {doubles} images.")
    return stems


def _shared_folders(names: Sequence[str]) -> int:
    """How many leading folders all names have in common."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    return next(
        (place for place, same in enumerate(zip(*folders, strict=False)) if len(set(same)) > 1),
        min(map(len, folders), default=0),
    )
