"""Progress bars: on stderr, only when it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress(Protocol):
    """What library code is handed to report how far it is: called like tqdm, returns a tqdm."""

    def __call__(
        self, iterable: Iterable | None = None, total: int | None = None, desc: str = "", unit: str = "it"
    ) -> tqdm:
        """A bar to iterate over, or to `update(n)` and `close()`; it is a context manager too."""
        ...


def make_progress(quiet: bool = False) -> Progress:
    """Bars with rate and time left on stderr; silent if `quiet` or if stderr is not a terminal."""

    def progress(
        iterable: Iterable | None = None, total: int | None = None, desc: str = "", unit: str = "it"
    ) -> tqdm:
        from tqdm import tqdm

        silent = quiet or not sys.stderr.isatty()
        return tqdm(
            iterable, desc=desc, total=total, unit=unit, file=sys.stderr, disable=silent, dynamic_ncols=True
        )

    return progress


no_progress: Progress = make_progress(quiet=True)
