"""Do the synthetic images help? Detectors trained with and without them, tested on real held-out images.

For each category, fold and seed a detector is trained once a column (`augment.jobs.columns`), always from the
same initial weights: on the good images and the fold's real defects ("real-only"), and on these and synthetic
images of the recipe's method and of each baseline. All are tested on the held-out real images of every defect
that has synthetic images, and on `test/good`.

A run folder holds one line a training in `manifest.jsonl` (a killed benchmark redoes only the unfinished one;
a line made from other files is redone), every test map in `maps/`, the proof that nothing leaked in
`files_foldN.json`, and the results.

Several trainings may run at a time, in processes of their own (`augment.jobs.schedule`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from augment.data.held_out import Split, finished_folds, make_split
from augment.data.sample import Category
from augment.jobs.baselines import paint_baseline
from augment.jobs.columns import Column, columns_of, generators_of, labels_of
from augment.jobs.results import BenchmarkResult, Comparison, write_results
from augment.jobs.schedule import train
from augment.jobs.trainings import Tested, Training
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.registry import DETECTORS, METHODS
from augment.workspace import Manifest, Run, Workspace, atomic_write_json, fold_name, locked


def benchmark(
    categories: Sequence[Category],
    recipe: Recipe,
    workspace: Workspace,
    *,
    detectors: Sequence[str] | None = None,
    fold: int | None = None,
    device: str = "auto",
    jobs: int = 1,
    force: bool = False,
    sets: Mapping[str, Workspace] | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda line: None,
) -> BenchmarkResult:
    """Train and score every detector on every category, fold, column and seed.

    Args:
        categories: whose synthetic images are in the workspace.
        recipe: its `data` and `benchmark` sections are used; `fit.method` names the column.
        workspace: where synthetic sets are read and results written.
        detectors: names; None = the recipe's.
        fold: the one to run; None = every fold of the protocol that has a finished synthetic set.
        device: "auto" or a torch device; several, as `cuda:0,cuda:1` or `all`, train together.
        jobs: trainings at a time on each device; those on the CPU share its cores.
        force: score anew what is there.
        sets: column name -> workspace whose synthetic images it holds; None = the workspace's own. The first
            says which folds and defects are benchmarked, and what the baselines' masks are.
        progress: makes the bars.
        say: is told how long it will take, and each training's place in the whole.

    Raises:
        WorkspaceError: no finished synthetic set, fewer images than `benchmark.n` asks for, one that was
            fitted on test images (or on all images), results there with other settings or that another
            process works on.
        TargetError: no such detector or baseline.
        DataError: an image cannot be read, or maps hold NaN.
    """
    from augment.devices import choose_device, split_devices

    devices = [str(choose_device(name)) for name in split_devices(device)] * jobs
    each = ",".join(dict.fromkeys(devices))
    names = tuple(dict.fromkeys(detectors or recipe.benchmark.detectors))
    for name in names:
        DETECTORS.get(name)  # a typo must not show only after the first detector's hours
    for name in recipe.benchmark.baselines:
        METHODS.get(name)
    own, *baselines = generators_of(recipe.benchmark, recipe.fit.method)
    sets = dict(sets or {own: workspace})
    first = next(iter(sets.values()))
    generators = [*sets, *baselines]
    tasks = []
    for category in categories:
        splits = []
        for number in finished_folds(category, recipe, first, fold):
            spaces = dict(sets)
            make_split(category, recipe, spaces, number, progress)  # leaks are found before a baseline's hour
            for name in baselines:
                say(f"{category.key}, fold {number}: {name}'s images")
                spaces[name] = paint_baseline(category, name, number, first, device=each, progress=progress)
            splits.append(make_split(category, recipe, spaces, number))
        tasks += [
            _Task(category, name, tuple(splits), workspace.benchmark_folder(category.key, name))
            for name in names
        ]
    with ExitStack() as locks:
        for task in tasks:
            locks.enter_context(locked(task.folder))
            task.open(recipe, generators, force)
        todo = {training: task for task in tasks for training in task.begin()}
        seconds = {task.detector: task.seconds() for task in tasks}

        def keep(training: Training, rows: list[dict[str, Any]], answers: Tested) -> None:
            todo[training].keep(training, rows, answers)

        train(list(todo), recipe.benchmark, devices, keep, seconds, progress, say)
        comparisons = [task.comparison() for task in tasks]
        for comparison in comparisons:
            result = write_results(comparison.folder, [comparison], recipe)
    return result if len(tasks) == 1 else write_results(workspace.root / "benchmarks", comparisons, recipe)


class _Task:
    """One detector on one category: its run folder and its trainings."""

    def __init__(self, category: Category, detector: str, splits: Sequence[Split], folder: Path):
        self.category, self.detector, self.splits, self.folder = category, detector, splits, folder
        self.make = DETECTORS.get(detector)

    def open(self, recipe: Recipe, generators: Sequence[str], force: bool) -> None:
        """Open the run folder and list the trainings; those of other files count as not done."""
        config = recipe.benchmark
        own = "unet" if self.detector == "unet" else "anomalib"
        settings = ("aupro_limit", "oracle_checks", "weights", own)
        sections = ("data", *(f"benchmark.{name}" for name in settings))
        lines = self.folder / "manifest.jsonl"
        is_empty = not force and not len(Manifest(lines))
        # seed 0: each row has its own
        self.run_folder = Run.open(self.folder, recipe, sections, 0, force=force, is_empty=is_empty)
        self.columns = columns_of(config, generators) if self.make.uses_anomalies else [Column()]
        self.trainings = [
            Training(self.category.key, self.detector, part, seed, column)
            for part in self.splits
            for seed in config.seeds
            for column in self.columns
        ]
        self.digests = {training.id: training.files for training in self.trainings}
        self.manifest = Manifest(lines)

    def entry(self, training: Training) -> Mapping[str, Any] | None:
        """The manifest's line of a training on these files, with its maps there."""
        for entry in self.manifest.entries():
            if entry["id"] == training.id and entry["files"] == self.digests[training.id]:
                return entry if training.maps(self.folder).is_file() else None
        return None

    def todo(self) -> list[Training]:
        return [training for training in self.trainings if self.entry(training) is None]

    def begin(self) -> list[Training]:
        """What is to do; the run folder says what it is about, and is open where there is any."""
        for part in self.splits:
            atomic_write_json(self.folder / f"files_{fold_name(part.fold)}.json", part.record())
        todo = self.todo()
        if todo and self.run_folder.done:
            self.run_folder.reopen()
        return todo

    def seconds(self) -> float | None:
        """How long a training took, on the mean of those done before; None: there are none."""
        entries = [entry for entry in map(self.entry, self.trainings) if entry is not None]
        return sum(entry["rows"][0]["seconds"] for entry in entries) / len(entries) if entries else None

    def keep(self, training: Training, rows: list[dict[str, Any]], answers: Tested) -> None:
        """Write down what a training gave."""
        answers.save(training.maps(self.folder))
        self.manifest.append({"id": training.id, "files": self.digests[training.id], "rows": rows})

    def comparison(self) -> Comparison:
        """The rows and maps of all trainings, which are done."""
        rows: list[dict[str, Any]] = []
        tested, labels = {}, labels_of(self.columns)
        for training in self.trainings:
            label = labels[training.column]
            keys = {"category": self.category.key, "detector": self.detector, "column": label}
            keys |= {"n": training.column.n, "fold": str(training.part.fold), "seed": str(training.seed)}
            rows += [keys | row for row in self.entry(training)["rows"]]
            tested[training.part.fold, training.seed, label] = Tested.load(training.maps(self.folder))
        if not self.run_folder.done:
            self.run_folder.finish()
        return Comparison(
            self.category, self.detector, self.folder, self.splits, tuple(labels.values()), rows, tested
        )
