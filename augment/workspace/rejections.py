"""What the quality filter of a synthetic set turned down, attempt by attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.workspace.files import atomic_write_text, writing
from augment.workspace.manifest import Manifest

_NAME, _FOLDER = "rejected.jsonl", "rejected"


class Rejections:
    """`rejected.jsonl` of a synthetic set: a line for each attempt that failed; their pictures beside it.

    A line holds what a line of the manifest does, and `reasons`; its `id` is the image's with the attempt, as
    `crack/0007@1`, and `of` the image's own. The pictures are in `rejected/DEFECT/`, outside the category's
    folder, so that no detector learns from them.

    Args:
        folder: the run folder of the set.
    """

    def __init__(self, folder: Path):
        self._folder, self._manifest = folder, Manifest(folder / _NAME)

    def entries(self, defect: str | None = None) -> list[dict[str, Any]]:
        """The lines, of one defect or of all."""
        return [e for e in self._manifest.entries() if defect in (None, e["defect"])]

    def of(self, image_id: str, since: int = 0) -> list[dict[str, Any]]:
        """The failed attempts at an image, from attempt `since` on, rising."""
        found = [e for e in self._manifest.entries() if e["of"] == image_id and e["attempt"] >= since]
        return sorted(found, key=lambda entry: entry["attempt"])

    def paths(self, defect: str, index: int, attempt: int) -> tuple[Path, Path]:
        """Where image and mask of a failed attempt go."""
        name = self._folder / _FOLDER / defect / f"{index:04d}@{attempt}"
        return name.with_suffix(".png"), name.with_name(f"{name.name}_mask.png")

    def record(self, entry: Mapping[str, Any]) -> None:
        """Add an attempt, once its pictures are written."""
        name = {"id": f"{entry['id']}@{entry['attempt']}", "of": entry["id"]}
        self._manifest.append({**name, **{key: value for key, value in entry.items() if key != "id"}})

    def sort(self, defect: str) -> None:
        """Bring a defect's lines into the order of number and attempt; in which order they came is lost."""
        sort_lines(self._manifest.path, defect)

    def forget(self, defects: set[str]) -> None:
        """Remove what is of some defects: the pictures, then their lines."""
        gone = [entry for entry in self.entries() if entry["defect"] in defects]
        if not gone:
            return
        with writing(self._folder):
            for entry in gone:
                for path in self.paths(entry["defect"], entry["index"], entry["attempt"]):
                    path.unlink(missing_ok=True)
        kept = [entry for entry in self.entries() if entry["defect"] not in defects]
        _write(self._manifest.path, kept)
        self._manifest = Manifest(self._manifest.path)


def sort_lines(path: Path, defect: str) -> None:
    """Bring one defect's lines of a manifest into the order of number and attempt; others stay in place.

    Does nothing where they are in that order.
    """
    entries = Manifest(path).entries()
    places = [place for place, entry in enumerate(entries) if entry["defect"] == defect]
    ordered = sorted(
        (entries[place] for place in places), key=lambda entry: (entry["index"], entry.get("attempt", 0))
    )
    result = list(entries)
    for place, entry in zip(places, ordered, strict=True):
        result[place] = entry
    if result != entries:
        _write(path, result)


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    atomic_write_text(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))
