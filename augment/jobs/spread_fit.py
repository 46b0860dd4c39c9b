"""Fits of many defects on several devices at once, a process for each device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from augment.jobs.lessons import Lesson
from augment.jobs.workers import Channel, Workers
from augment.progress import Progress
from augment.recipe import Recipe
from augment.workspace import Run, Workspace, locked, wipe

if TYPE_CHECKING:
    from augment.jobs.fit import FitResult

Setup = tuple[Recipe, Workspace, dict]
"""What every fit of a command shares: recipe, workspace, and the further arguments of `fit`."""


def fit_on_devices(
    devices: Sequence[str],
    lessons: Sequence[Lesson],
    recipe: Recipe,
    workspace: Workspace,
    *,
    seed: int,
    fold: int | str,
    dtype: str,
    force: bool,
    progress: Progress,
) -> list[FitResult]:
    """Make each fit in the process of the next device that is free; the weights are those of one process.

    Each process holds the lock of the run it works on. A category that is to be adapted first is adapted by
    the first of its fits; the others wait for that one.

    Args: as for `augment.jobs.fit.fit`, which has made the lessons and opened their runs: with `force`, what
        was there is gone, but for the categories' adaptations.

    Raises:
        AugmentError: what a fit raised; the others are stopped, and go on from their checkpoints next time.
    """
    from augment.jobs.fit import fit

    shared = {"seed": seed, "fold": fold, "dtype": dtype}
    results: dict[str, FitResult] = {}
    for lesson in lessons:
        if Run.is_done(lesson.folder(workspace, fold)):  # needs no device
            (results[lesson.key],) = fit(lesson.targets, recipe, workspace, device=devices[0], **shared)
    todo = [lesson for lesson in lessons if lesson.key not in results]
    folders = [workspace.adapted_folder(key) for key in dict.fromkeys(each.category.key for each in todo)]
    for folder in folders if force and recipe.adapt.steps else ():
        with locked(folder):
            wipe(folder)
    queue = _Queue(todo, recipe, workspace)
    used = devices[: len(todo)]
    with (
        Workers(used, _fit_as_told, (recipe, workspace, shared)) as workers,
        progress(total=len(lessons), desc=f"fit on {len(used)} devices", unit="fit") as bar,
    ):
        bar.update(len(results))
        free = list(range(len(workers)))
        at: dict[int, Lesson] = {}
        while queue or at:
            for worker, lesson in zip(list(free), queue.take(len(free)), strict=False):
                free.remove(worker)
                at[worker] = lesson
                workers.send(worker, lesson.targets)
            worker, result = workers.receive()
            queue.done(at.pop(worker))
            free.append(worker)
            results[result.key] = result
            bar.update(1)
    return [results[lesson.key] for lesson in lessons]


class _Queue:
    """The fits to be made; of a category that is to be adapted, one at first."""

    def __init__(self, lessons: Sequence[Lesson], recipe: Recipe, workspace: Workspace):
        self._waiting = list(lessons)
        keys = {lesson.category.key for lesson in lessons} if recipe.adapt.steps else set()
        self._unadapted = {key for key in keys if not Run.is_done(workspace.adapted_folder(key))}
        self._adapting: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, count: int) -> Iterator[Lesson]:
        """Up to `count` fits that can be begun now."""
        for lesson in list(self._waiting):
            key = lesson.category.key
            if count and key not in self._adapting:
                if key in self._unadapted:
                    self._adapting.add(key)
                self._waiting.remove(lesson)
                count -= 1
                yield lesson

    def done(self, lesson: Lesson) -> None:
        """A fit has been made: its category is adapted."""
        self._unadapted.discard(lesson.category.key)
        self._adapting.discard(lesson.category.key)


def _fit_as_told(channel: Channel, device: str, setup: Setup) -> None:
    """A worker: the targets of a fit each, until the parent ends it."""
    from augment.jobs.fit import fit

    recipe, workspace, shared = setup
    while True:
        (result,) = fit(channel.receive(), recipe, workspace, device=device, **shared)
        channel.send(result)
