"""Writes that are whole or absent, and their errors in one line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.errors import WorkspaceError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into a WorkspaceError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkspaceError(
                f"The disk is full: {path} could not be written. Free some space and run the same command "
                "again; it resumes."
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise WorkspaceError(
                f"{path} cannot be written: {os.strerror(error.errno)}. Make its folder writable or choose "
                "another with --workspace."
            ) from error
        raise WorkspaceError(f"{path} cannot be written: {error.strerror or error}.") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to `path` on success and removed on failure.

    The temporary name is `.NAME.part`: hidden and without the suffix, so that a reader of the folder never
    takes a leftover of a killed process for a file; writing the same file again replaces it. Parent folders
    are made.

    Raises:
        WorkspaceError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, or leave what was there."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: Path, value: Any) -> None:
    """Write a whole indented JSON file, or leave what was there."""
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=json_default) + "\n")


def json_default(value: Any) -> Any:
    """What JSON lacks: paths as text, numpy scalars and arrays as numbers and lists."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
