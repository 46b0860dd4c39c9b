"""What `augment list` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def list_things(what: str, workspace: Path | str | None = None) -> list[dict[str, Any]]:
    """Rows of equal keys, for a table or JSON.

    Args:
        what: "methods", "detectors", "datasets", "recipes" or "runs".
        workspace: whose runs.
    """
    return {
        "methods": _methods,
        "detectors": _detectors,
        "datasets": _datasets,
        "recipes": _recipes,
        "runs": lambda: _runs(workspace),
    }[what]()


def _methods() -> list[dict[str, Any]]:
    from augment.registry import METHODS

    return [{"method": name, "what": text} for name, text in METHODS.entries().items()]


def _detectors() -> list[dict[str, Any]]:
    from augment.registry import DETECTORS

    return [{"detector": name, "what": text} for name, text in DETECTORS.entries().items()]


def _datasets() -> list[dict[str, Any]]:
    from augment.data.cards import load_card
    from augment.resources import list_cards

    return [
        {
            "dataset": name,
            "categories": len(card.categories),
            "title": card.title,
            "licence": card.licence,
            "url": card.url,
        }
        for name, card in ((name, load_card(name)) for name in list_cards())
    ]


def _recipes() -> list[dict[str, Any]]:
    from augment.resources import list_recipes

    return [{"recipe": name, "what": _first_comment(path)} for name, path in list_recipes().items()]


def _first_comment(path: Path) -> str:
    """The comment lines a recipe starts with, as one."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# "))
    return " ".join(words)


def _runs(workspace: Path | str | None) -> list[dict[str, Any]]:
    from augment.workspace import Workspace

    return [
        {
            "kind": run.kind,
            "target": run.key,
            "of": run.detector or f"fold {run.fold}",
            "state": run.state,
            "steps": run.steps,
            "images": run.images,
            "created": run.created,
            "folder": str(run.folder),
        }
        for run in Workspace(workspace).runs()
    ]
