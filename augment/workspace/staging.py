"""A folder that appears when it is whole, and is made from where it stopped if the maker was killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.errors import WorkspaceError
from augment.workspace.files import atomic_write_json, atomic_write_text, writing

_MARK = ".of"  # in the unfinished folder: whose work it is


class Staging:
    """Makes `target` under the name `.NAME.part` beside it; a JSON file beside it records how it was made.

    Args:
        target: the folder to make.
        record: the JSON file that `finish` writes; also tells that the folder may be replaced.
        fingerprint: of all that decides the folder's content. An unfinished folder of another one is
            emptied; a finished one of the same is done.
        force: make it anew where it exists.

    Raises:
        WorkspaceError: `target` exists, made of something else and without `force`, or by something else.
    """

    def __init__(self, target: Path, record: Path, fingerprint: str, *, force: bool = False):
        self._target, self._record, self._fingerprint = target, record, fingerprint
        self.folder = target.with_name(f".{target.name}.part")
        self._old = target.with_name(f".{target.name}.old")
        self.is_done = False
        before = self._recorded()
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            if before is None:
                raise WorkspaceError(
                    f"{target} exists, and no record says that this command made it: choose another name, or "
                    "move it away."
                )
            self.is_done = before == fingerprint and not force
            if not self.is_done and not force:
                raise WorkspaceError(
                    f"{target} exists, made from other data or with other settings: replace it with --force, "
                    "or choose another name."
                )

    def open(self) -> Path:
        """The folder to fill; what is there from a killed run of the same work is kept."""
        mark = self.folder / _MARK
        with writing(self.folder):
            if self.folder.exists() and not (mark.is_file() and mark.read_text() == self._fingerprint):
                shutil.rmtree(self.folder)
        atomic_write_text(mark, self._fingerprint)
        return self.folder

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Put the folder in its place and write the record; what it replaces is removed last."""
        with writing(self._target):
            (self.folder / _MARK).unlink()
            if self._target.exists():
                shutil.rmtree(self._old, ignore_errors=True)
                self._target.rename(self._old)
            atomic_write_json(self._record, {"fingerprint": self._fingerprint, **facts})
            self.folder.rename(self._target)
            shutil.rmtree(self._old, ignore_errors=True)

    def recorded(self) -> dict[str, Any]:
        """The facts of a finished folder."""
        return json.loads(self._record.read_text(encoding="utf-8"))

    def _recorded(self) -> str | None:
        try:
            return self.recorded()["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
