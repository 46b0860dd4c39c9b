"""Which run lives where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from augment.workspace.fits import fitted_defects, is_together, joint_name
from augment.workspace.manifest import Manifest
from augment.workspace.run import Run

DEFAULT_ROOT = "augment-runs"


@dataclass(frozen=True)
class RunInfo:
    """A line of `augment list runs`."""

    kind: str  # "fit", "synthetic" or "benchmark"
    key: str  # DATASET/CATEGORY/DEFECT of a fit (crack+scratch: fitted together), else DATASET/CATEGORY
    fold: int | str | None  # 0, 1 or "all"; None for a benchmark
    detector: str | None  # of a benchmark
    state: str  # "done" or "unfinished"
    steps: int | None  # of a finished fit
    images: int | None  # of a synthetic set
    created: str  # ISO 8601, UTC
    folder: Path
    defects: tuple[str, ...] = ()  # that a fit has learnt
    together: bool = False  # it is a fit with `fit.together`

    @property
    def category_key(self) -> str:
        """DATASET/CATEGORY of a fit."""
        return self.key.rpartition("/")[0]


class Workspace:
    """The folder that holds all runs: `root`, else $AUGMENT_WORKSPACE, else ./augment-runs."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or os.environ.get("AUGMENT_WORKSPACE") or DEFAULT_ROOT)

    def adapted_folder(self, category_key: str) -> Path:
        """Where the U-Net adapted to DATASET/CATEGORY lives."""
        return self.root / "adapted" / category_key

    def fit_folder(self, key: str, fold: int | str, together: bool = False) -> Path:
        """Where the fit of DATASET/CATEGORY/DEFECT lives: its own, or the category's one with `together`."""
        if together:
            return self.root / "together" / key.rpartition("/")[0] / fold_name(fold)
        return self.root / "fits" / key / fold_name(fold)

    def synthetic_folder(self, category_key: str, fold: int | str) -> Path:
        """Where the synthetic set of DATASET/CATEGORY lives."""
        return self.root / "synthetic" / category_key / fold_name(fold)

    def benchmark_folder(self, category_key: str, detector: str) -> Path:
        """Where a detector's scores on DATASET/CATEGORY live."""
        return self.root / "benchmarks" / category_key / detector

    def runs(self) -> list[RunInfo]:
        """Every run here, by kind and key."""
        found = []
        for kind, name, pattern in (
            ("fit", "fits", "*/*/*/*/run.json"),
            ("fit", "together", "*/*/*/run.json"),
            ("synthetic", "synthetic", "*/*/*/run.json"),
            ("benchmark", "benchmarks", "*/*/*/run.json"),
        ):
            top = self.root / name
            for path in sorted(top.glob(pattern)):
                folder = path.parent
                run = Run.find(folder)
                if run is None:
                    continue
                record, key, defects = run.info(), folder.parent.relative_to(top).as_posix(), ()
                if is_together(record):
                    defects = fitted_defects(record)
                    key = f"{key}/{joint_name(defects)}"
                elif kind == "fit":
                    defects = (folder.parent.name,)
                found.append(
                    RunInfo(
                        kind=kind,
                        key=key,
                        fold=None if kind == "benchmark" else _fold_of(folder.name),
                        detector=folder.name if kind == "benchmark" else None,
                        state=record["state"],
                        steps=record.get("steps"),
                        images=len(Manifest(folder / "manifest.jsonl")) if kind == "synthetic" else None,
                        created=record["created"],
                        folder=folder,
                        defects=defects,
                        together=is_together(record),
                    )
                )
        return found


def _fold_of(name: str) -> int | str:
    return name if name == "all" else int(name.removeprefix("fold"))


def fold_name(fold: int | str) -> str:
    """The folder of a fold: `fold0`, `fold1`, or `all`."""
    return "all" if fold == "all" else f"fold{fold}"
