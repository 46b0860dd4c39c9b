"""Every error a user can cause, in one tree.

::

    AugmentError            exit code 1, printed as one line
    ├── DataError           a file or folder: missing, unreadable, empty, of the wrong size
    ├── TargetError         a dataset, category, defect, method or detector that does not exist
    ├── RecipeError         a setting: unknown key, wrong type, out of range
    ├── BackboneError       model weights: missing, gated, of an unsupported kind
    └── WorkspaceError      reading or writing a run: read-only, full disk, another recipe's run

A message says what was expected, what was found, and what to do next. Usage errors of the command line
are Click's own and exit with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AugmentError(Exception):
    """Base of all errors that are the input's fault, not the program's."""


class DataError(AugmentError):
    """An image, a mask or a folder cannot be used."""


class TargetError(AugmentError):
    """A name does not exist."""


class RecipeError(AugmentError):
    """A setting is unknown or out of range."""


class BackboneError(AugmentError):
    """A model, or its weights, cannot be loaded."""


class WorkspaceError(AugmentError):
    """A run folder cannot be read or written."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Say what exists in place of `name`: the nearest names, else all of them (as one sentence)."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(known)}." if known else "None exist."
