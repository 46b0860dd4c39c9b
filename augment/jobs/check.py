"""A look at the data before any long step: what there is, how it will be split, and what is wrong with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.data.check import Finding, Summary, check_category, inspect_category, summaries
from augment.data.targets import resolve_folders
from augment.progress import Progress, no_progress
from augment.report.tables import format_rows

_SHOWN = 5  # findings of a kind


@dataclass(frozen=True)
class CheckResult:
    """What `augment check` found; findings are sorted, errors first within each category."""

    rows: tuple[Summary, ...]
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether a command would stop, or give a wrong result."""
        return any(finding.severity == "error" for finding in self.findings)

    def text(self) -> str:
        """The table, then one line a finding; of many of a kind only the first ones."""
        rows = [
            {
                "target": row.target,
                "images": row.images,
                "parts": row.parts,
                "two-fold": _sizes(row.two_fold),
                "third": _sizes(row.third),
            }
            for row in self.rows
        ]
        lines = []
        for (severity, _), alike in itertools.groupby(self.findings, lambda f: (f.severity, f.check)):
            first, more = _split(list(alike))
            lines += map(str, first)
            if more:
                lines.append(f"{severity}: and {len(more)} more of this kind; --json lists them all.")
        lines = lines or ["nothing to report"]
        return "\n".join([format_rows(rows), "", *lines])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "rows" and "findings"."""
        return {"rows": [asdict(row) for row in self.rows], "findings": [asdict(f) for f in self.findings]}


def check(patterns: Sequence[str], data_root: Path | None, progress: Progress = no_progress) -> CheckResult:
    """Inspect the categories that patterns name (see `resolve_targets`), reading every image and mask.

    Raises:
        TargetError: a part names or matches nothing.
    """
    rows: list[Summary] = []
    findings: list[Finding] = []
    for folder in resolve_folders(patterns, data_root):
        found = inspect_category(folder, progress)
        rows += summaries(found, progress)
        findings += check_category(found, progress)
    return CheckResult(tuple(rows), tuple(findings))


def _split(findings: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings to print, and those to leave out, which are none or several."""
    shown = _SHOWN if len(findings) > _SHOWN + 1 else len(findings)
    return findings[:shown], findings[shown:]


def _sizes(sizes: tuple[int, int] | None) -> str | None:
    return None if sizes is None else f"{sizes[0]} + {sizes[1]}"
