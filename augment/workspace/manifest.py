"""A file with one JSON line an image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.errors import WorkspaceError, suggest
from augment.workspace.files import json_default, writing


class Manifest:
    """A file with one JSON object a line, each with an `id`; a killed writer costs at most its last line.

    A torn last line is ignored on reading and overwritten by the next `append`. A later line with the same
    `id` replaces the earlier one.

    Raises:
        WorkspaceError: a line other than the last is not JSON with an `id`.
    """

    def __init__(self, path: Path):
        self.path = path
        self._entries: dict[str, dict[str, Any]] = {}
        content = path.read_bytes() if path.is_file() else b""
        self._end = content.rfind(b"\n") + 1  # bytes of whole lines
        for number, line in enumerate(content[: self._end].splitlines(), start=1):
            try:
                entry = json.loads(line)
                self._entries[entry["id"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise WorkspaceError(
                    f"{path}, line {number}, is not a manifest entry. Restore the file or redo the run with "
                    "--force."
                ) from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line and flush it to the disk."""
        line = json.dumps(entry, ensure_ascii=False, default=json_default).encode("utf-8") + b"\n"
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "x+b") as file:
                file.seek(self._end)
                file.truncate()
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        self._end += len(line)
        self._entries[entry["id"]] = json.loads(line)

    def entries(self) -> list[dict[str, Any]]:
        """All entries in the order they were first written."""
        return list(self._entries.values())

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)


def find_entry(name: str) -> tuple[Path, dict[str, Any]]:
    """A line of a manifest, by `MANIFEST:LINE` (from 1) or `MANIFEST:ID`, as manifest.jsonl:crack/0007.

    Returns:
        The manifest's file and the line.

    Raises:
        WorkspaceError: there is no such file or line, or a later line has taken its place.
    """
    place, _, which = name.rpartition(":")
    path = Path(place)
    if Path(name).is_file():
        raise WorkspaceError(f"Say which line of {name}, as in {name}:7 or {name}:crack/0007.")
    if not path.is_file():
        raise WorkspaceError(
            f"There is no manifest '{place}'. Write MANIFEST:LINE, as in manifest.jsonl:7, or MANIFEST:ID, "
            "as in manifest.jsonl:crack/0007."
        )
    manifest = Manifest(path)
    known = {entry["id"]: entry for entry in manifest.entries()}
    if not which.isdecimal():
        if which not in known:
            raise WorkspaceError(f"{path} holds no image '{which}'. {suggest(which, known)}")
        return path, known[which]
    lines = path.read_bytes().splitlines()
    if not 1 <= int(which) <= len(lines):
        raise WorkspaceError(f"{path} has {len(lines)} lines; there is no line {which}.")
    try:
        entry = json.loads(lines[int(which) - 1])
        is_newest = entry == known[entry["id"]]
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{path}, line {which}, was not written to its end. Run the command that wrote it again."
        ) from error
    if not is_newest:
        raise WorkspaceError(
            f"{path}, line {which}, is out of date: a later line of {entry['id']} has taken its place. "
            f"Use {path}:{entry['id']}."
        )
    return path, entry
