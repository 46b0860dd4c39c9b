"""What a benchmark ends with: the table, the verdicts with their intervals, curves, pictures, the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.data.held_out import Split
from augment.data.images import read_image
from augment.data.sample import Category
from augment.jobs.columns import REAL_ONLY
from augment.jobs.trainings import ALL, LAST, Tested, truth
from augment.metrics.bootstrap import Interval, paired_bootstrap, verdict
from augment.metrics.curves import Curve, detection_curves
from augment.metrics.detection import average_precision
from augment.metrics.operating_points import operating_points
from augment.recipe import Recipe
from augment.report.curves import curves_picture
from augment.report.maps import map_sheet
from augment.report.page import benchmark_page
from augment.report.pictures import benchmark_picture
from augment.report.tables import format_summary, to_latex, to_markdown
from augment.workspace import Run, atomic_write_json, atomic_write_text

_ENDS = ("low", "difference", "high")
_ANSWERS = {"helps": "synthetic helps", "hurts": "synthetic hurts", "no evidence": "no evidence either way"}
_CASES = 4  # best and worst test images shown, of each


@dataclass(frozen=True)
class Comparison:
    """Every training of one detector on one category.

    Attributes:
        category, detector, folder: which, and where.
        splits: of each fold.
        columns: their labels, `real-only` first.
        rows: one a training, defect and epoch.
        tested: (fold, seed, column) -> maps.
    """

    category: Category
    detector: str
    folder: Path
    splits: Sequence[Split]
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    tested: Mapping[tuple[int, int, str], Tested]


@dataclass(frozen=True)
class Verdict:
    """Whether a column is better than real-only.

    Attributes:
        category, detector, column: which.
        answer: "helps", "no evidence" or "hurts", by pixel AP.
        intervals: score -> difference with its 95 % interval over test images, in [0, 1].
    """

    category: str
    detector: str
    column: str
    answer: str
    intervals: Mapping[str, Interval]

    def __str__(self) -> str:
        low, middle, high = (f"{100 * getattr(self.intervals['pixel_ap'], end):+.1f}" for end in _ENDS)
        where = f"{self.category}, {self.detector}, {self.column}"
        return f"{where}: {_ANSWERS[self.answer]}: pixel AP {middle} [{low}, {high}]"


@dataclass(frozen=True)
class BenchmarkResult:
    """The scores and where they were written.

    Attributes:
        rows: one row a training, defect and epoch; columns: category, defect ("all" = pooled), detector,
            column, n, fold, seed, epoch ("last"; "oracle" = best on the test set), the scores in [0, 1],
            counts, seconds.
        verdicts: one for each column with synthetic images.
        folder: holds `scores.csv`, `.json`, `.md`, `.tex`, `verdicts.json`, `report.html`, pictures.
    """

    rows: pd.DataFrame
    verdicts: Sequence[Verdict]
    folder: Path

    @property
    def csv(self) -> Path:
        """The rows."""
        return self.folder / "scores.csv"

    @property
    def page(self) -> Path:
        """Everything on one page."""
        return self.folder / "report.html"

    def text(self, form: str = "table") -> str:
        """The scores and verdicts for the terminal (`table`: the pooled means), or as `markdown`, `latex` or
        `csv`.
        """
        if form == "csv":
            return self.rows.to_csv(index=False).rstrip()
        if form != "table":
            return (to_markdown if form == "markdown" else to_latex)(self.rows)
        verdicts = "\n".join(map(str, self.verdicts))
        return f"{format_summary(self.rows)}\n\n{verdicts}".rstrip()


def write_results(folder: Path, comparisons: Sequence[Comparison], recipe: Recipe) -> BenchmarkResult:
    """Write everything that is made of the trainings' rows and maps; none of it is needed to go on."""
    rows = pd.DataFrame([row for comparison in comparisons for row in comparison.rows])
    verdicts = [found for comparison in comparisons for found in verdicts_of(comparison, recipe)]
    result = BenchmarkResult(rows, verdicts, folder)
    pooled = rows[rows["defect"] == ALL]
    atomic_write_text(result.csv, rows.to_csv(index=False))
    atomic_write_text(folder / "scores.json", rows.to_json(orient="records", indent=1))
    atomic_write_text(folder / "scores.md", to_markdown(rows))
    atomic_write_text(folder / "scores.tex", to_latex(rows))
    atomic_write_json(folder / "verdicts.json", [asdict(found) | {"text": str(found)} for found in verdicts])
    benchmark_picture(pooled[pooled["epoch"] == LAST], folder / "scores.png")
    first = comparisons[0]
    curves = curves_of(first, recipe) if len(comparisons) == 1 else {}
    if curves:
        curves_picture(curves, folder / "curves.png", recipe.benchmark.aupro_limit)
    shown = cases_of(first, recipe)
    map_sheet(shown, folder / "maps.png")
    names = ", ".join(dict.fromkeys(comparison.category.key for comparison in comparisons))
    benchmark_page(
        result.page,
        title=f"{names}: do the synthetic images help?",
        rows=rows,
        verdicts=list(map(str, verdicts)),
        curves=curves,
        cases=shown,
        settings=settings_of(comparisons, recipe),
        aupro_limit=recipe.benchmark.aupro_limit,
        curves_note=f"{first.category.key}, {first.detector}: fold {first.splits[0].fold}, "
        f"seed {recipe.benchmark.seeds[0]}, last epoch.",
    )
    return result


def curves_of(comparison: Comparison, recipe: Recipe) -> dict[str, dict[str, Curve]]:
    """Column -> name -> curve, of the first fold and seed."""
    part, seed = comparison.splits[0], recipe.benchmark.seeds[0]
    curves = {}
    for column in comparison.columns:
        found = comparison.tested[part.fold, seed, column].map_set(part.test)
        curves[column] = detection_curves(found.maps, found.masks, found.image_scores, found.image_labels)
    return curves


def cases_of(comparison: Comparison, recipe: Recipe) -> list[dict[str, Any]]:
    """Test images of the first fold and seed: those the second column finds best and worst, by their own
    AP, and the normal one it finds most anomalous.
    """
    part, seed = comparison.splits[0], recipe.benchmark.seeds[0]
    maps = {column: comparison.tested[part.fold, seed, column] for column in comparison.columns}
    judge = maps[comparison.columns[min(1, len(maps) - 1)]]
    scores = {}
    for index, sample in enumerate(part.test):
        if sample.mask is not None:
            found = judge.maps[index]
            mask = truth(sample, found.shape)
            scores[index] = average_precision(operating_points(found[mask], found[~mask]))
    order = sorted(scores, key=scores.__getitem__, reverse=True)
    order = [index for index in order if not np.isnan(scores[index])]
    best, worst = order[:_CASES], order[_CASES:][-_CASES:]
    normal = [index for index, sample in enumerate(part.test) if sample.mask is None]
    worst += sorted(normal, key=lambda index: judge.scores[index])[-1:]
    cases = []
    for kind, indices in (("best", best), ("worst", worst)):
        for index in indices:
            sample = part.test[index]
            image = read_image(sample.image)
            note = f"AP {100 * scores[index]:.1f}" if index in scores else f"score {judge.scores[index]:.3g}"
            cases.append(
                {
                    "image": image,
                    "mask": truth(sample, image.shape[:2]),
                    "maps": {name: tested.maps[index] for name, tested in maps.items()},
                    "caption": f"{comparison.category.key}/{sample.defect}/{sample.image.name}, {note}",
                    "kind": kind,
                }
            )
    return cases


def settings_of(comparisons: Sequence[Comparison], recipe: Recipe) -> dict[str, Any]:
    """What the page says about how it was made."""
    run = Run.find(comparisons[0].folder).info()
    return {
        "recipe": recipe.name,
        "protocol": recipe.data.protocol,
        "folds": ", ".join(str(part.fold) for part in comparisons[0].splits),
        "seeds": ", ".join(map(str, recipe.benchmark.seeds)),
        "made": run["created"],
        "revision": run.get("revision") or "not in a git checkout",
        "versions": run["versions"],
        "benchmark settings": recipe.to_dict()["benchmark"],
    }


def verdicts_of(comparison: Comparison, recipe: Recipe) -> list[Verdict]:
    """Each column against real-only, on the same test images: pairs are the folds and seeds."""
    config = recipe.benchmark
    if not config.resamples:
        return []
    sets = {
        (part.fold, seed, column): comparison.tested[part.fold, seed, column].map_set(part.test)
        for part in comparison.splits
        for seed in config.seeds
        for column in comparison.columns
    }
    found = []
    for column in comparison.columns[1:]:
        places = [(part.fold, seed) for part in comparison.splits for seed in config.seeds]
        intervals = paired_bootstrap(
            [(sets[*place, REAL_ONLY], sets[*place, column]) for place in places],
            groups=[fold for fold, _ in places],
            resamples=config.resamples,
            aupro_limit=config.aupro_limit,
        )
        answer = verdict(intervals["pixel_ap"])
        found.append(Verdict(comparison.category.key, comparison.detector, column, answer, intervals))
    return found
