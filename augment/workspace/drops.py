"""Which images of a synthetic set were dropped, and which attempt at each is wanted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from augment.errors import WorkspaceError
from augment.workspace.files import atomic_write_text
from augment.workspace.manifest import Manifest

_NAME = "dropped.jsonl"


class Drops:
    """`dropped.jsonl` of a synthetic set: a line for each time an image was dropped.

    A line holds the image's `id`, the `attempt` that is wanted since (the one after the attempt that was
    dropped), and the `list` that dropped it, as a hash of its ids. An image without a line is wanted as it
    first was: attempt 0. Where the quality filter turns attempts down, the first that passes from there on is
    taken. The file is replaced as a whole, so a list is recorded with all its lines or not at all.

    Args:
        folder: the run folder of the set.
    """

    def __init__(self, folder: Path):
        self.path = folder / _NAME
        self._text = self.path.read_text("utf-8") if self.path.is_file() else ""
        self._entries = {entry["id"]: entry for entry in Manifest(self.path).entries()}

    def attempt(self, image_id: str) -> int:
        """Which attempt at an image is wanted; 0: it was never dropped."""
        return self._entries[image_id]["attempt"] if image_id in self._entries else 0

    def indices(self, defect: str) -> list[int]:
        """The numbers of a defect's images that were ever dropped, rising."""
        parts = (image_id.rpartition("/") for image_id in self._entries)
        return sorted(int(number) for name, _, number in parts if name == defect)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._entries

    def was_recorded(self, ids: Sequence[str]) -> bool:
        """Whether the newest line of each of these images is of this very list."""
        name = _hash(ids)
        return all(image_id in self._entries and self._entries[image_id]["list"] == name for image_id in ids)

    def record(self, ids: Sequence[str], painted: Mapping[str, int] | None = None) -> None:
        """Want the next attempt at each of these images.

        Args:
            ids: the images.
            painted: which attempt at each is there, where that is not the one that was wanted.
        """
        name, lines, painted = _hash(ids), [], painted or {}
        for image_id in dict.fromkeys(ids):
            attempt = max(self.attempt(image_id), painted.get(image_id, 0)) + 1
            entry = {"id": image_id, "attempt": attempt, "list": name}
            self._entries[image_id] = entry
            lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
        self._write(self._text + "".join(lines))

    def forget(self, defects: set[str]) -> None:
        """Want the images of some defects as they first were."""
        kept = [line for line in self._text.splitlines(keepends=True) if _defect(line) not in defects]
        self._entries = {i: entry for i, entry in self._entries.items() if _defect_of(i) not in defects}
        if self._text:
            self._write("".join(kept))

    def copy_to(self, folder: Path, painted: Mapping[str, int] | None = None) -> None:
        """Make another set of the same images (a baseline's) want the same attempts.

        Args:
            folder: of that set.
            painted: which attempt at each image is here, where that is not the one that was wanted.
        """
        later = {i: a for i, a in (painted or {}).items() if a > self.attempt(i)}
        lines = (
            json.dumps({"id": i, "attempt": a, "list": ""}, ensure_ascii=False) for i, a in later.items()
        )
        text = self._text + "".join(f"{line}\n" for line in lines)
        other = Drops(folder)
        if other._text != text:
            other._write(text)

    def _write(self, text: str) -> None:
        self._text = text
        if text or self.path.exists():
            atomic_write_text(self.path, text)


def read_drop_list(path: Path) -> list[str]:
    """The image ids (`DEFECT/0007`) of a drop list, one a line; empty lines and `#` lines are passed over.

    Raises:
        WorkspaceError: unreadable, or without an id.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"The drop list {path} cannot be read: {error}.") from error
    ids = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not ids:
        raise WorkspaceError(f"The drop list {path} names no image. Write one a line, as in crack/0007.")
    return ids


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()[:16]


def _defect(line: str) -> str:
    return _defect_of(json.loads(line)["id"])


def _defect_of(image_id: str) -> str:
    return image_id.rpartition("/")[0]
