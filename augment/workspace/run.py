"""A run folder and its record."""

from __future__ import annotations

import functools
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from augment.errors import WorkspaceError
from augment.recipe import Recipe
from augment.workspace.files import atomic_write_json, atomic_write_text, writing

_RECORDED_PACKAGES = (
    "augment-defects", "torch", "diffusers", "transformers", "numpy", "pillow", "scipy",
    "opencv-python-headless", "albumentations",
)  # fmt: skip


class Run:
    """One run folder with its record. Make one with `open`, or look one up with `find`."""

    def __init__(self, folder: Path, record: dict[str, Any]):
        self.folder = folder
        self._record = record

    @classmethod
    def find(cls, folder: Path) -> Run | None:
        """The run in `folder`, or None where there is none.

        Raises:
            WorkspaceError: its run.json is unreadable.
        """
        path = folder / "run.json"
        try:
            return cls(folder, json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise WorkspaceError(f"{path} cannot be read ({error}). Redo the run with --force.") from error

    @classmethod
    def is_done(cls, folder: Path) -> bool:
        """Whether a finished run is in `folder`."""
        run = cls.find(folder)
        return run is not None and run.done

    @classmethod
    def open(
        cls,
        folder: Path,
        recipe: Recipe,
        sections: Sequence[str],
        seed: int,
        *,
        sources: Mapping[str, str] | None = None,
        force: bool = False,
        is_empty: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run, or go on with the one that is there.

        Args:
            folder: the run's folder; made if missing.
            recipe: the resolved settings, written to recipe.yaml.
            sections: dotted names of the settings this run depends on ("fit", "benchmark.unet").
            seed: its seed.
            sources: file -> SHA-256 of everything it reads.
            force: wipe what is there first.
            is_empty: nothing was made in the run that is there: unless it is done, a new one takes its place.
            extra: further facts for run.json; not compared.

        Raises:
            WorkspaceError: a run with other settings, another seed or other source files is there that is not
                empty, and `force` is not set; or the folder cannot be written.
        """
        existing = None
        if force:
            wipe(folder)
        else:
            existing = cls.find(folder)
        if existing is not None and (existing.done or not is_empty):
            existing._refuse_other(recipe, sections, seed, sources or {})
            return existing
        run = cls(
            folder,
            {
                "state": "unfinished",
                "created": _now(),
                "seed": seed,
                "versions": package_versions(),
                "revision": code_revision(),
                **(extra or {}),
                "sources": dict(sources or {}),
            },
        )
        atomic_write_text(folder / "recipe.yaml", recipe.to_yaml())
        run._write()
        return run

    @property
    def done(self) -> bool:
        """Whether `finish` was called."""
        return self._record["state"] == "done"

    def info(self) -> dict[str, Any]:
        """What run.json holds."""
        return dict(self._record)

    def finish(self, **facts: Any) -> None:
        """Record that the run is done, with facts about it (steps, seconds, loss, ...)."""
        self._record |= {**facts, "state": "done", "finished": _now()}
        self._write()

    def reopen(self, **facts: Any) -> None:
        """Record that the run is not done any more: it is being extended."""
        self._record |= {**facts, "state": "unfinished"}
        self._write()

    def _write(self) -> None:
        atomic_write_json(self.folder / "run.json", self._record)

    def _refuse_other(
        self, recipe: Recipe, sections: Sequence[str], seed: int, sources: Mapping[str, str]
    ) -> None:
        """Raise if this run was made with another seed, other settings or other files."""
        path = self.folder / "recipe.yaml"
        try:
            # a setting that is younger than the run was as its default is
            then = _flatten(Recipe().to_dict()) | _flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise WorkspaceError(f"{path} cannot be read ({error}). Redo the run with --force.") from error
        then, now = _in_force(then), _in_force(_flatten(recipe.to_dict()))
        prefixes = tuple(section + "." for section in sections)
        keys = [key for key in (now | then) if key in sections or key.startswith(prefixes)]
        pairs = [("seed", self._record["seed"], seed)]
        pairs += [(key, then.get(key), now.get(key)) for key in keys]
        for key, old, new in pairs:
            if old != new:
                raise WorkspaceError(
                    f"{self.folder} holds a run with {key} = {old}, not {new}. Keep that setting, choose "
                    "another --workspace, or redo the run with --force."
                )
        recorded = self._record["sources"]
        for file in sorted(recorded.keys() | sources.keys()):
            if recorded.get(file) != sources.get(file):
                change = (
                    "is new" if file not in recorded else "is gone" if file not in sources else "has changed"
                )
                raise WorkspaceError(
                    f"{self.folder} holds a run on other files: {file} {change} since. Restore it, choose "
                    "another --workspace, or redo the run with --force."
                )


def wipe(folder: Path) -> None:
    """Remove a run folder, its record first: what is left if that is interrupted counts as no run.

    Raises:
        WorkspaceError: it may not be removed.
    """
    with writing(folder):
        (folder / "run.json").unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str]:
    """Installed versions of what decides a run's bytes, read without importing any of it."""
    versions = {"python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


@functools.cache
def code_revision() -> str | None:
    """The git commit this package runs from, "+" where files differ from it; None outside a checkout."""
    package = Path(__file__).parents[1]
    command = ["git", "-C", str(package), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    is_own = (package.parent / ".git").exists()  # not the repository some environment happens to lie in
    return answer.stdout.strip() if is_own else None


def _in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with dotted keys, of a group that is switched off (`synthesize.filter`) only that it is."""
    off = tuple(
        key.removesuffix("enabled")
        for key, value in settings.items()
        if key.endswith(".enabled") and value is False
    )
    return {
        key: value for key, value in settings.items() if key.endswith(".enabled") or not key.startswith(off)
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
