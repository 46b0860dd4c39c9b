"""One process at a time on a run folder.

The operating system holds the lock and drops it when the process ends, however it ends, so there are no stale
locks; the file `.NAME.lock` beside the folder says who holds it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from augment.errors import WorkspaceError
from augment.workspace.files import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_log = logging.getLogger(__name__)
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what a lock that is taken answers
_BYTE = 1 << 30  # of the file, far behind its text, which Windows locks: what is locked cannot be read there


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder, which need not exist yet, for this process alone.

    Where the file system knows no locks (some network drives), a warning says so and there is none.

    Raises:
        WorkspaceError: another process holds it (the message says which), or the disk is full or read-only.
    """
    path = folder.with_name(f".{folder.name}.lock")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(path, folder)
    try:
        with writing(path):
            since = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(holder).encode() + b"\n")
        yield
    finally:
        if fcntl is not None:
            path.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
        os.close(descriptor)


def _taken(path: Path, folder: Path) -> int:
    """The descriptor of the lock file, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                holder = _holder(path)
                os.close(descriptor)
                raise WorkspaceError(
                    f"{folder} is in use by {holder}. Wait for it to end, or work in another folder."
                ) from None
            _log.warning(
                "%s cannot be locked (%s): see that no other process works on it.", folder, error.strerror
            )
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # its last holder has just removed it


def _lock(descriptor: int) -> None:
    """Take the lock or raise an OSError, without waiting."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)


def _holder(path: Path) -> str:
    """Who holds the lock, as its file says."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken it
        return "another process"
