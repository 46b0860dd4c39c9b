"""Work before and after the device's, done in threads of its own while the device is busy.

Order is kept, and what is in the making is bounded. An error reaches the caller as if it were its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextlib.contextmanager
def ahead(items: Iterable[Item], waiting: int) -> Iterator[Iterator[Item]]:
    """The same items in the same order, made in a thread up to `waiting` of them before they are asked for.

    With 0 each is made when it is asked for, without a thread. An error in the making is raised in its place.
    After the end of the context no more are made; the thread, which may be at one, is not waited for long.
    """
    if not waiting:
        yield iter(items)
        return
    queue: Queue[tuple[str, Any]] = Queue(maxsize=waiting)
    stopped = False

    def make() -> None:
        try:
            for item in items:
                queue.put(("item", item))
                if stopped:
                    return
            queue.put(("end", None))
        except BaseException as error:
            queue.put(("error", error))

    def made() -> Iterator[Item]:
        while True:
            kind, value = queue.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value

    thread = Thread(target=make, name="augment-ahead", daemon=True)
    thread.start()
    try:
        yield made()
    finally:
        stopped = True
        with contextlib.suppress(Empty):
            while True:  # it may be waiting for room
                queue.get_nowait()
        thread.join(timeout=1)


class Writer:
    """Calls functions in a thread of its own, one after the other in the order they came.

    `put` waits while `waiting` calls wait. The first error of a call is raised by the next `put` or `flush`,
    or at the end of the context, and nothing is called after it. However the context is left, what was put
    before is done first, so that an interruption loses nothing that is finished.

    Args:
        waiting: 0: `put` calls the function itself, without a thread.
    """

    def __init__(self, waiting: int):
        self._error: BaseException | None = None
        self._queue: Queue[tuple[Callable, tuple] | None] = Queue(maxsize=waiting)
        self._thread = Thread(target=self._work, name="augment-writer", daemon=True) if waiting else None

    def __enter__(self) -> Writer:
        if self._thread is not None:
            self._thread.start()
        return self

    def put(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have `function(*arguments)` called."""
        if self._thread is None:
            function(*arguments)
            return
        self._raise()
        self._queue.put((function, arguments))

    def flush(self) -> None:
        """Wait until all that was put is done."""
        if self._thread is not None:
            self._queue.join()
            self._raise()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        for call in iter(self._queue.get, None):
            if self._error is None:
                function, arguments = call
                try:
                    function(*arguments)
                except BaseException as error:
                    self._error = error
            self._queue.task_done()
