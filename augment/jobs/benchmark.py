"""Do the synthetic images help? Detectors trained with and without them, tested on real held-out images.

For each category, fold and seed a detector is trained twice, from the same initial weights: on the good
images and the fold's real defects ("real-only"), and on these and the synthetic images ("real+synthetic").
Both are tested on the held-out real images of every defect that has synthetic images, and on `test/good`.

A run folder holds one line a training in `manifest.jsonl` (a killed benchmark redoes only the unfinished one;
a line made from other files is redone), the proof that nothing leaked in `files_foldN.json`, and the results.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.data.held_out import TRAININGS, Split, finished_folds, make_split
from augment.data.images import read_image, read_mask
from augment.data.sample import GOOD, Category, Sample
from augment.detectors.base import AnomalyMap, Detector
from augment.detectors.resizing import resize_mask
from augment.metrics.detection import detection_scores
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.registry import DETECTORS
from augment.report.maps import map_sheet
from augment.report.pictures import benchmark_picture
from augment.report.tables import format_table
from augment.workspace import (
    Manifest,
    Run,
    Workspace,
    atomic_path,
    atomic_write_json,
    atomic_write_text,
    fold_name,
)

SCORES = ("image_auroc", "image_ap", "image_f1", "pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro")
ALL = "all"  # the defect of a row that pools all defects
MEAN = "mean"  # the fold, seed or category of a row that averages over them
_KEYS = ("category", "defect", "detector", "training", "fold", "seed")


@dataclass(frozen=True)
class BenchmarkResult:
    """The scores and where they were written.

    Attributes:
        rows: one row a training and defect, and mean rows; columns: category, defect ("all" = pooled),
            detector, training, fold, seed (text; "mean" = averaged), the scores in [0, 1], counts, seconds.
        folder: holds the files below.
        csv, json: `rows`.
        picture: test images beside the truth and both trainings' maps; `scores.png` draws the scores.
    """

    rows: pd.DataFrame
    folder: Path
    csv: Path
    json: Path
    picture: Path

    def table(self) -> str:
        """The pooled rows and the means as aligned text."""
        columns = ["category", "detector", "training", "fold", "seed", *SCORES]
        columns += ["n_real", "n_synthetic", "seconds"]
        return format_table(self.rows.loc[self.rows["defect"] == ALL, columns])


def benchmark(
    categories: Sequence[Category],
    recipe: Recipe,
    workspace: Workspace,
    *,
    detectors: Sequence[str] | None = None,
    fold: int | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Progress = no_progress,
) -> BenchmarkResult:
    """Train and score every detector on every category, fold and seed (`recipe.benchmark.seeds`).

    Args:
        categories: whose synthetic images are in the workspace.
        recipe: its `data` and `benchmark` sections are used.
        workspace: where synthetic sets are read and results written.
        detectors: names; None = the recipe's.
        fold: the one to run; None = every fold of the protocol that has a finished synthetic set.
        device: "auto" or a torch device.
        force: score anew what is there.
        progress: makes the bars.

    Raises:
        WorkspaceError: no finished synthetic set, one that was fitted on test images (or on all images), or
            results there with other settings.
        TargetError: no such detector.
        DataError: an image cannot be read, or maps hold NaN.
    """
    from augment.devices import choose_device

    device = str(choose_device(device))
    names = tuple(detectors or recipe.benchmark.detectors)
    for name in names:
        DETECTORS.get(name)  # a typo must not show only after the first detector's hours
    parts = []
    for category in categories:
        folds = finished_folds(category, recipe, workspace, fold)
        splits = [make_split(category, recipe, workspace, number) for number in folds]
        for name in names:
            folder = workspace.benchmark_folder(category.key, name)
            rows = _score_category(category, name, splits, recipe, folder, device, force, progress)
            examples = _examples(category, splits[0], recipe.benchmark.seeds[0], folder)
            parts.append((_write(folder, rows, examples), rows, examples))
    if len(parts) == 1:
        return parts[0][0]
    all_rows = [row for _, rows, _ in parts for row in rows]
    all_examples = [example for _, _, examples in parts for example in examples]
    return _write(workspace.root / "benchmarks", all_rows, all_examples)


# --- training and scoring --------------------------------------------------------------------------


def _score_category(
    category: Category,
    detector: str,
    splits: Sequence[Split],
    recipe: Recipe,
    folder: Path,
    device: str,
    force: bool,
    progress: Progress,
) -> list[dict[str, Any]]:
    """The rows of one category and detector: those already there, and those still missing, which are made."""
    sections = ("data", f"benchmark.{detector}", "benchmark.aupro_limit")
    make_detector = DETECTORS.get(detector)
    run = Run.open(folder, recipe, sections, seed=0, force=force)  # each row has its own seed
    manifest = Manifest(folder / "manifest.jsonl")
    there = {entry["id"]: entry for entry in manifest.entries()}
    rows: list[dict[str, Any]] = []
    for part in splits:
        atomic_write_json(folder / f"files_{fold_name(part.fold)}.json", part.record())
        for seed, training in itertools.product(recipe.benchmark.seeds, TRAININGS):
            name, files = _entry_id(part.fold, seed, training), part.digest(training)
            entry = there.get(name)
            if entry is None or entry["files"] != files:
                if run.done:
                    run.reopen()
                made = make_detector(recipe.benchmark, seed=seed, device=device)
                scores, maps = _train_and_score(made, part, training, recipe.benchmark.aupro_limit, progress)
                with atomic_path(_maps_file(folder, name)) as temporary, temporary.open("wb") as file:
                    np.savez_compressed(file, *(maps[index].scores for index in part.pictured()))
                entry = {"id": name, "files": files, "rows": scores}
                manifest.append(entry)
            keys = {"category": category.key, "detector": detector, "training": training}
            keys |= {"fold": str(part.fold), "seed": str(seed)}
            rows += [keys | row for row in entry["rows"]]
    if not run.done:
        run.finish()
    return rows


def _train_and_score(
    detector: Detector, part: Split, training: str, aupro_limit: float, progress: Progress
) -> tuple[list[dict[str, Any]], list[AnomalyMap]]:
    """Scores of all defects together and, where several, of each; and the map of each test image."""
    start = time.perf_counter()
    train = part.training(training)
    detector.fit(train, progress)
    images = (read_image(sample.image) for sample in progress(part.test, desc="testing", unit="image"))
    maps = list(detector.predict(images))
    masks = [_truth(sample, found.scores.shape) for sample, found in zip(part.test, maps, strict=True)]
    seconds = time.perf_counter() - start

    synthetic = train[len(part.good + part.real) :]
    defects = list(dict.fromkeys(sample.defect for sample in part.real))
    rows = []
    for defect in [ALL, *defects] if len(defects) > 1 else [ALL]:
        chosen = [i for i, sample in enumerate(part.test) if defect == ALL or sample.defect in (defect, GOOD)]
        tested = [part.test[i] for i in chosen]
        scores = detection_scores(
            [maps[i].scores for i in chosen],
            [masks[i] for i in chosen],
            [maps[i].score for i in chosen],
            [sample.mask is not None for sample in tested],
            aupro_limit,
        )
        counts = {
            "n_good": len(part.good),
            "n_real": sum(defect in (ALL, sample.defect) for sample in part.real),
            "n_synthetic": sum(defect in (ALL, sample.defect) for sample in synthetic),
            "n_test": len(tested),
        }
        rows.append({"defect": defect, **scores, **counts, "seconds": seconds})
    return rows, maps


def _truth(sample: Sample, shape: tuple[int, int]) -> np.ndarray:
    """The true mask at the size of the detector's map."""
    if sample.mask is None:
        return np.zeros(shape, dtype=bool)
    return resize_mask(read_mask(sample.mask), shape)


def _entry_id(fold: int, seed: int, training: str) -> str:
    return f"{fold_name(fold)}/seed{seed}/{training}"


def _maps_file(folder: Path, entry_id: str) -> Path:
    return folder / "maps" / f"{entry_id.replace('/', '_')}.npz"


# --- results ---------------------------------------------------------------------------------------


def _examples(category: Category, part: Split, seed: int, folder: Path) -> list[dict[str, Any]]:
    """A few test images of a split with the maps of both trainings, for the picture."""
    files = {name: np.load(_maps_file(folder, _entry_id(part.fold, seed, name))) for name in TRAININGS}
    examples = []
    for number, index in enumerate(part.pictured()):
        sample = part.test[index]
        image = read_image(sample.image)
        examples.append(
            {
                "image": image,
                "mask": _truth(sample, image.shape[:2]),
                "maps": {name: maps[f"arr_{number}"] for name, maps in files.items()},
                "caption": f"{category.key}/{sample.defect}/{sample.image.name}",
            }
        )
    return examples


def _write(
    folder: Path, rows: Sequence[dict[str, Any]], examples: Sequence[dict[str, Any]]
) -> BenchmarkResult:
    """Write the table as CSV and JSON, and the pictures."""
    frame = with_means(pd.DataFrame(rows))
    result = BenchmarkResult(
        frame, folder, folder / "scores.csv", folder / "scores.json", folder / "maps.png"
    )
    atomic_write_text(result.csv, frame.to_csv(index=False))
    atomic_write_text(result.json, frame.to_json(orient="records", indent=1))
    map_sheet(examples, result.picture)
    pooled = frame["defect"].eq(ALL) & frame["fold"].ne(MEAN)
    benchmark_picture(frame[pooled], folder / "scores.png")
    return result


def with_means(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` in the order of the columns, with means over folds and seeds, then over categories, after them.

    A mean row has `fold` and `seed` "mean" (and `category` "mean"); its counts are means too. There is none
    where a single row would be averaged. A mean over categories weighs every category alike.
    """
    values = [name for name in rows.columns if name not in _KEYS]
    rows = rows[[*_KEYS, *values]]
    kinds = ["category", "defect", "detector", "training"]
    means = rows.groupby(kinds, sort=False)[values].mean().reset_index().assign(fold=MEAN, seed=MEAN)
    several = rows.groupby(kinds, sort=False).size().max() > 1
    parts = [rows, means] if several else [rows]
    if rows["category"].nunique() > 1:
        pooled = means[means["defect"] == ALL]
        overall = pooled.groupby(kinds[1:], sort=False)[values].mean().reset_index()
        parts.append(overall.assign(category=MEAN, fold=MEAN, seed=MEAN))
    return pd.concat([part[rows.columns] for part in parts], ignore_index=True)
