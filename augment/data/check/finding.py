"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from augment.data.check.inspection import Inspection
from augment.progress import Progress

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One line of `augment check`.

    Attributes:
        severity: "error": a command stops at it, or its result is wrong; "warning": the result may mislead;
            "note": good to know, it is taken care of.
        target: a file or folder, or DATASET/CATEGORY/DEFECT.
        message: what was found.
        advice: what the tool does about it, and what to do.
        check: the function that found it, such as "check_pairs"; set by `check_category`.
    """

    severity: Severity
    target: str
    message: str
    advice: str
    check: str = ""

    def __str__(self) -> str:
        line = f"{self.severity}: {self.target}: {self.message}; {self.advice}."
        return " ".join(line.splitlines())  # a file's name may hold line breaks


Check = Callable[[Inspection, Progress], Iterator[Finding]]
"""From what is in a category folder to what is to be said about it."""
