"""What was found from files once, and is kept for the next time.

It lies in the user's cache folder (`resources.cache_folder`), never beside the files, under a name made of
the hashes of all it comes from: a changed, added or removed file has it found anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from augment.data.images import file_sha256
from augment.errors import WorkspaceError
from augment.resources import cache_folder
from augment.workspace.files import atomic_write_json

_log = logging.getLogger(__name__)


def kept(
    folder: str,
    name: str,
    version: int,
    files: Sequence[Sequence[Path]],
    find: Callable[[], Any],
    is_usable: Callable[[Any], bool],
    memory: MutableMapping[tuple, Any],
) -> Any:
    """What `find` returns for these files: from this process, else from the cache folder, else found now.

    Args:
        folder: of the cache folder.
        name: of what is found.
        version: of how it is found; raise it with every change that may find something else.
        files: all that it depends on, in their groups.
        find: returns something JSON can hold.
        is_usable: whether what was read is what `find` returns.
        memory: what this process found, by the files' names, sizes and times.

    Raises:
        DataError: a file cannot be read.
    """
    stamp = (name, *(tuple(map(_stamp, group)) for group in files))
    if stamp not in memory:
        hashes = [[file_sha256(path) for path in group] for group in files]
        digest = hashlib.sha256(json.dumps([version, name, hashes]).encode()).hexdigest()
        path = cache_folder() / folder / f"{digest}.json"
        found = _read(path)
        if found is None or not is_usable(found):
            found = find()
            try:
                atomic_write_json(path, found)
            except WorkspaceError as error:
                _log.info("what was found (%s) is not kept for the next time: %s", folder, error)
        memory[stamp] = found
    return memory[stamp]


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return str(path), 0, 0  # hashing it will say what is wrong
    return str(path), facts.st_size, facts.st_mtime_ns


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
