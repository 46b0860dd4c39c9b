"""A look at the data before any long step: what there is, how it will be split, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.data.check import Finding, Summary, check_category, inspect_category, summaries
from augment.data.targets import resolve_folders
from augment.progress import Progress, no_progress
from augment.report.tables import format_rows


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
        """The table, then one line a finding."""
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
        lines = [str(finding) for finding in self.findings] or ["nothing to report"]
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


def _sizes(sizes: tuple[int, int] | None) -> str | None:
    return None if sizes is None else f"{sizes[0]} + {sizes[1]}"
