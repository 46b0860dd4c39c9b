"""What the record of a fit says it has learnt: one defect type, or several of a category."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def fitted_defects(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The defect types a fit has learnt, from its `run.json`; of one that is not `fit.together`, one."""
    return tuple(record["defects"]) if is_together(record) else (record["defect"],)


def is_together(record: Mapping[str, Any]) -> bool:
    """Whether a fit was made with `fit.together`."""
    return "defects" in record


def trained_names(record: Mapping[str, Any], defect: str) -> Collection[str]:
    """The names (`Target.name_of`) of a defect type's images that a fit has seen."""
    seen = record["training"]
    return seen.get(defect, {}) if is_together(record) else seen


def joint_name(defects: Collection[str]) -> str:
    """What the defect types of one fit are called in a line: `crack+scratch`."""
    return "+".join(defects)
