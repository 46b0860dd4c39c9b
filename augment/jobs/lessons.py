"""What one fit learns: a defect type, or with `fit.together` all the chosen types of a category."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.data.folds import Fold, split_defect
from augment.data.images import file_sha256, read_sample
from augment.data.sample import Category, Sample, Target
from augment.errors import WorkspaceError
from augment.progress import Progress
from augment.recipe import MemoryConfig, Recipe
from augment.workspace import Run, Workspace, fitted_defects, joint_name, locked

_SECTIONS = ("backbone", "window", "data", "adapt", "fit")


@dataclass(frozen=True)
class Lesson:
    """The targets of one fit, all of one category, sorted by defect; several only where learnt together."""

    targets: tuple[Target, ...]
    together: bool

    @property
    def category(self) -> Category:
        """Of all targets."""
        return self.targets[0].category

    @property
    def defects(self) -> tuple[str, ...]:
        """The defect types."""
        return tuple(target.defect for target in self.targets)

    @property
    def key(self) -> str:
        """DATASET/CATEGORY/DEFECT, the defect as `crack+scratch` where they are several."""
        return f"{self.category.key}/{joint_name(self.defects)}"

    def folder(self, workspace: Workspace, fold: int | str) -> Path:
        """The run folder."""
        return workspace.fit_folder(self.targets[0].key, fold, self.together)

    def splits(self, recipe: Recipe, fold: int | str, progress: Progress) -> list[Fold]:
        """What each target's fold fits on and holds out."""
        return [
            split_defect(target.category, target.defect, recipe.data, fold, progress)
            for target in self.targets
        ]


def lessons_of(targets: Sequence[Target], together: bool) -> list[Lesson]:
    """One lesson a target, or a category; in the order of the targets."""
    if not together:
        return [Lesson((target,), False) for target in targets]
    found: dict[str, list[Target]] = {}
    for target in targets:
        found.setdefault(target.category.key, []).append(target)
    return [Lesson(tuple(sorted(some, key=lambda each: each.defect)), True) for some in found.values()]


def open_run(
    lesson: Lesson,
    splits: Sequence[Fold],
    recipe: Recipe,
    memory: MemoryConfig,
    workspace: Workspace,
    seed: int,
    fold: int | str,
    force: bool,
    locks: ExitStack,
) -> Run:
    """The lesson's run folder, checked against what it was begun with, and held while it is not done.

    Raises:
        AugmentError: unusable images, a run of other types, settings or images, or one that another process
            works on.
    """
    samples = [sample for images in splits for sample in images.fit]
    for sample in samples:  # an unusable image or an empty mask must not wait for its turn
        read_sample(sample)
    good = normal_samples(lesson.category, recipe, seed)
    files = [path for sample in samples for path in (sample.image, sample.mask)] + [s.image for s in good]
    sources = {str(path): file_sha256(path) for path in files if path is not None}
    seen, held_out = {}, {}
    for target, images in zip(lesson.targets, splits, strict=True):
        seen[target.defect] = {target.name_of(sample): sources[str(sample.image)] for sample in images.fit}
        held_out[target.defect] = {
            target.name_of(sample): file_sha256(sample.image) for sample in images.test
        }
    (first, *_), category = lesson.defects, lesson.category
    learnt: dict[str, Any] = {"defects": lesson.defects} if lesson.together else {"defect": first}
    extra = {
        "kind": "fit",
        "dataset": category.dataset,
        "root": str(category.root.resolve()),
        "category": category.name,
        **learnt,
        "fold": fold,
        "method": recipe.fit.method,
        "memory": asdict(memory),
        "training": seen if lesson.together else seen[first],
        "held_out": held_out if lesson.together else held_out[first],
    }
    folder = lesson.folder(workspace, fold)
    if force or not Run.is_done(folder):
        locks.enter_context(locked(folder))
    if lesson.together and not force:
        _refuse_other_types(lesson, folder)
    return Run.open(folder, recipe, _SECTIONS, seed, sources=sources, force=force, extra=extra)


def _refuse_other_types(lesson: Lesson, folder: Path) -> None:
    """Raise if the category's fit that is there was begun with other types."""
    run = Run.find(folder)
    there = lesson.defects if run is None else fitted_defects(run.info())
    if there != lesson.defects:
        raise WorkspaceError(
            f"{folder} holds a fit of {', '.join(there)} together, not of {', '.join(lesson.defects)}. Name "
            "those types, choose another --workspace, or redo it with --force."
        )


def normal_samples(category: Category, recipe: Recipe, seed: int) -> list[Sample]:
    """The good training images that teach the regulariser, drawn by the seed."""
    good = category.train_good
    count = min(recipe.fit.normal_images, len(good)) if recipe.fit.normal_batch_size else 0
    chosen = np.random.default_rng([seed, len(good)]).choice(len(good), count, replace=False)
    return [good[i] for i in sorted(chosen)]


def type_of_step(step: int, count: int, seed: int) -> int:
    """Which of `count` types a step learns: each once in so many steps, in an order drawn every time."""
    return int(np.random.default_rng([seed, step // count]).permutation(count)[step % count])
