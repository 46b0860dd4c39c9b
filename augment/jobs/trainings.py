"""One training of a detector: trained, tested, scored; its maps kept for curves and intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.data.held_out import Split
from augment.data.images import read_image, read_mask
from augment.data.sample import GOOD, Sample
from augment.detectors.base import Detector
from augment.detectors.resizing import resize_mask
from augment.errors import WorkspaceError
from augment.jobs.columns import Column
from augment.metrics.bootstrap import MapSet
from augment.metrics.detection import detection_scores
from augment.progress import Progress
from augment.recipe import BenchmarkConfig
from augment.registry import DETECTORS
from augment.workspace import atomic_path, fold_name

SCORES = (
    "image_auroc", "image_ap", "image_f1",
    "pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro", "pixel_aupro_05",
)  # fmt: skip
ALL = "all"  # the defect of a row that pools all defects
LAST, ORACLE = "last", "oracle"  # the epochs a row may show


@dataclass(frozen=True)
class Tested:
    """A detector's answers to a test set.

    Attributes:
        maps: float32 (h, w) each, higher = more anomalous.
        scores: (N,) one an image.
    """

    maps: Sequence[np.ndarray]
    scores: np.ndarray

    def save(self, path: Path) -> None:
        """Write maps and scores to an .npz file, whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, *self.maps, scores=self.scores)

    @classmethod
    def load(cls, path: Path) -> Tested:
        """Read what `save` wrote.

        Raises:
            WorkspaceError: the file is missing or damaged.
        """
        try:
            with np.load(path) as file:
                return cls([file[f"arr_{i}"] for i in range(len(file.files) - 1)], file["scores"])
        except (OSError, ValueError, KeyError) as error:
            raise WorkspaceError(f"{path} cannot be read ({error}). Redo it with --force.") from error

    def map_set(self, test: Sequence[Sample]) -> MapSet:
        """With the truth, at the maps' size."""
        return MapSet(
            maps=self.maps,
            masks=[truth(sample, found.shape) for sample, found in zip(test, self.maps, strict=True)],
            image_scores=self.scores,
            image_labels=[sample.mask is not None for sample in test],
            strata=[sample.defect for sample in test],
        )


@dataclass(frozen=True, eq=False)
class Training:
    """One training of a detector: what it learns from and is tested on.

    Attributes:
        category: its key.
        detector: its name.
        part: what the fold trains and tests on.
        seed: of the detector.
        column: which of the fold's images it learns from.
    """

    category: str
    detector: str
    part: Split
    seed: int
    column: Column

    @property
    def id(self) -> str:
        """`foldN/seedN/COLUMN`."""
        return f"{fold_name(self.part.fold)}/seed{self.seed}/{self.column.key}"

    @property
    def files(self) -> str:
        """A digest of the images it learns from."""
        column = self.column
        return self.part.digest(self.part.training(column.generator, column.n, column.with_real))

    def maps(self, folder: Path) -> Path:
        """The file of its test maps in a run folder."""
        return folder / "maps" / f"{self.id.replace('/', '_').replace(' ', '_')}.npz"

    def run(
        self, config: BenchmarkConfig, device: str, progress: Progress
    ) -> tuple[list[dict[str, Any]], Tested]:
        """Train a new detector, and test it; see `train_and_score`."""
        detector = DETECTORS.get(self.detector)(config, seed=self.seed, device=device)
        return train_and_score(detector, self.part, self.column, config, progress)

    def estimate(self, config: BenchmarkConfig, device: str) -> float | None:
        """Seconds that it will take; None: not known beforehand."""
        detector = DETECTORS.get(self.detector)(config, seed=0, device=device)
        return detector.estimate(self.part.training())


def train_and_score(
    detector: Detector, part: Split, column: Column, config: BenchmarkConfig, progress: Progress
) -> tuple[list[dict[str, Any]], Tested]:
    """Train on a column's images and test on the fold's held-out ones.

    Returns:
        Rows of all defects together and, where several, of each, for the last epoch; with
        `config.oracle_checks` also for the epoch whose pooled pixel AP on the test set was best, which no
        honest figure may be. And the last epoch's maps.
    """
    start = time.perf_counter()
    train = part.training(column.generator, column.n, column.with_real)
    best: list[dict[str, Any]] = []

    def check() -> None:
        rows = score(_test(detector, part, None), part, config.aupro_limit)
        if not best or rows[0]["pixel_ap"] > best[0]["pixel_ap"]:
            best[:] = [row | {"epoch": ORACLE} for row in rows]

    detector.fit(train, progress, check if config.oracle_checks else None)
    tested = _test(detector, part, progress)
    rows = [row | {"epoch": LAST} for row in score(tested, part, config.aupro_limit)]
    facts = {"n_good": len(part.good), "seconds": time.perf_counter() - start}
    painted = part.painted(column.generator, column.n)
    for row in (*rows, *best):
        real = [s for s in part.real if column.with_real and row["defect"] in (ALL, s.defect)]
        row |= facts | {
            "n_real": len(real),
            "n_synthetic": sum(row["defect"] in (ALL, sample.defect) for sample in painted),
        }
    return rows + best, tested


def score(tested: Tested, part: Split, aupro_limit: float) -> list[dict[str, Any]]:
    """The scores of all defects together and, where several, of each (with the same normal images)."""
    whole = tested.map_set(part.test)
    rows = []
    for defect in [ALL, *part.defects] if len(part.defects) > 1 else [ALL]:
        chosen = [i for i, found in enumerate(whole.strata) if defect == ALL or found in (defect, GOOD)]
        scores = detection_scores(
            [whole.maps[i] for i in chosen],
            [whole.masks[i] for i in chosen],
            [whole.image_scores[i] for i in chosen],
            [whole.image_labels[i] for i in chosen],
            aupro_limit,
        )
        rows.append({"defect": defect, **scores, "n_test": len(chosen)})
    return rows


def _test(detector: Detector, part: Split, progress: Progress | None) -> Tested:
    samples = part.test if progress is None else progress(part.test, desc="testing", unit="image")
    answers = list(detector.predict(read_image(sample.image) for sample in samples))
    maps = [np.asarray(answer.scores, dtype=np.float32) for answer in answers]
    return Tested(maps, np.array([answer.score for answer in answers], dtype=np.float64))


def truth(sample: Sample, shape: tuple[int, int]) -> np.ndarray:
    """The true mask at the size of the detector's map."""
    if sample.mask is None:
        return np.zeros(shape, dtype=bool)
    return resize_mask(read_mask(sample.mask), shape)
