"""Fits of many defects on several devices at once, a process for each device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from augment.data.sample import Target
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
    targets: Sequence[Target],
    recipe: Recipe,
    workspace: Workspace,
    *,
    seed: int,
    fold: int | str,
    dtype: str,
    force: bool,
    progress: Progress,
) -> list[FitResult]:
    """Fit each target in the process of the next device that is free; the weights are those of one process.

    Each process holds the lock of the run it works on. A category that is to be adapted first is adapted by
    the first of its fits; the others wait for that one.

    Args: as for `augment.jobs.fit.fit`, which has opened the runs: with `force`, what was there is gone, but
        for the categories' adaptations.

    Raises:
        AugmentError: what a fit raised; the others are stopped, and go on from their checkpoints next time.
    """
    from augment.jobs.fit import fit

    shared = {"seed": seed, "fold": fold, "dtype": dtype}
    results: dict[str, FitResult] = {}
    for target in targets:
        if Run.is_done(workspace.fit_folder(target.key, fold)):  # needs no device
            (results[target.key],) = fit([target], recipe, workspace, device=devices[0], **shared)
    todo = [target for target in targets if target.key not in results]
    folders = [workspace.adapted_folder(key) for key in dict.fromkeys(t.category.key for t in todo)]
    for folder in folders if force and recipe.adapt.steps else ():
        with locked(folder):
            wipe(folder)
    queue = _Queue(todo, recipe, workspace)
    used = devices[: len(todo)]
    with (
        Workers(used, _fit_as_told, (recipe, workspace, shared)) as workers,
        progress(total=len(targets), desc=f"fit on {len(used)} devices", unit="fit") as bar,
    ):
        bar.update(len(results))
        free = list(range(len(workers)))
        at: dict[int, Target] = {}
        while queue or at:
            for worker, target in zip(list(free), queue.take(len(free)), strict=False):
                free.remove(worker)
                at[worker] = target
                workers.send(worker, target)
            worker, result = workers.receive()
            queue.done(at.pop(worker))
            free.append(worker)
            results[result.key] = result
            bar.update(1)
    return [results[target.key] for target in targets]


class _Queue:
    """The targets to be fitted; of a category that is to be adapted, one at first."""

    def __init__(self, targets: Sequence[Target], recipe: Recipe, workspace: Workspace):
        self._waiting = list(targets)
        keys = {target.category.key for target in targets} if recipe.adapt.steps else set()
        self._unadapted = {key for key in keys if not Run.is_done(workspace.adapted_folder(key))}
        self._adapting: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, count: int) -> Iterator[Target]:
        """Up to `count` targets that can be begun now."""
        for target in list(self._waiting):
            key = target.category.key
            if count and key not in self._adapting:
                if key in self._unadapted:
                    self._adapting.add(key)
                self._waiting.remove(target)
                count -= 1
                yield target

    def done(self, target: Target) -> None:
        """A target has been fitted: its category is adapted."""
        self._unadapted.discard(target.category.key)
        self._adapting.discard(target.category.key)


def _fit_as_told(channel: Channel, device: str, setup: Setup) -> None:
    """A worker: targets, until the parent ends it."""
    from augment.jobs.fit import fit

    recipe, workspace, shared = setup
    while True:
        (result,) = fit([channel.receive()], recipe, workspace, device=device, **shared)
        channel.send(result)
