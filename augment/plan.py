"""What a command will do: its targets, folds and settings, found before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augment.data.folds import split_defect
from augment.data.sample import Category, Target
from augment.data.targets import resolve_categories, resolve_targets
from augment.errors import DataError, WorkspaceError
from augment.progress import Progress, no_progress
from augment.recipe import Recipe, load_recipe
from augment.workspace import (
    Run,
    RunInfo,
    Workspace,
    fitted_defects,
    fold_name,
    joint_name,
    read_drop_list,
)


@dataclass(frozen=True)
class Job:
    """One call of `fit` or `synthesize`: targets that share a fold and a recipe."""

    targets: tuple[Target, ...]
    fold: int | str
    recipe: Recipe

    def describe(self, folders: Sequence[Path], progress: Progress = no_progress) -> list[dict[str, Any]]:
        """A line of the plan for each target and its run folder: how many images it uses, what is there."""
        lines = []
        for target, folder in zip(self.targets, folders, strict=True):
            fold = split_defect(target.category, target.defect, self.recipe.data, self.fold, progress)
            run = Run.find(folder)
            lines.append(
                {
                    "target": target.key,
                    "fold": str(self.fold),
                    "fit_images": len(fold.fit),
                    "held_out": len(fold.test),
                    "good_images": len(target.category.train_good),
                    "folder": str(folder),
                    "state": "new" if run is None else run.info()["state"],
                }
            )
        return lines


def plan_synthesis(
    patterns: Sequence[str],
    data_root: Path | None,
    workspace: Workspace,
    fold: int | str | None,
    recipe_name: str | None,
    overrides: Sequence[str],
) -> list[Job]:
    """What `synthesize` will do with what is fitted in the workspace.

    A target that is fitted on its own and together with others is painted with the fit that the settings ask
    for (`fit.together`).

    Args:
        patterns: targets; none = all that is fitted.
        data_root: where relative patterns are looked for.
        workspace: holds the fits.
        fold: 0, 1 or "all"; None = every fold that is fitted.
        recipe_name: a recipe for all; None = each fit's own.
        overrides: `key=value` settings on top of it.

    Raises:
        WorkspaceError: nothing (of what is named) is fitted, or a target in both ways and none is asked for.
    """
    together = _together(recipe_name, overrides)
    fits = [info for info in _finished(workspace, "fit", fold) if together in (None, info.together)]
    how = {None: "", True: " together", False: " on its own"}[together] + _of_fold(fold)
    if patterns:
        named = {target.key: target for target in resolve_targets(patterns, data_root)}
        keys = [(info, f"{info.category_key}/{defect}") for info in fits for defect in info.defects]
        chosen = [(named[key], info) for info, key in keys if key in named]
        missing = f"None of {', '.join(named)} is fitted{how}"
    else:
        chosen = [(target, info) for info in fits for target in _targets_of(info)]
        missing = f"Nothing is fitted{how}"
    if not chosen:
        example = (" ".join(patterns) or "DATASET/CATEGORY/DEFECT") + " --together" * bool(together)
        raise WorkspaceError(f"{missing} in {workspace.root}. Run `augment fit {example}` first.")
    _refuse_two_fits(chosen)
    jobs: list[Job] = []
    for target, info in chosen:
        recipe = load_recipe(recipe_name or str(info.folder / "recipe.yaml"), overrides)
        recipe = replace(recipe, fit=replace(recipe.fit, together=info.together))
        for number, job in enumerate(jobs):
            if (job.fold, job.recipe) == (info.fold, recipe):
                jobs[number] = replace(job, targets=(*job.targets, target))
                break
        else:
            jobs.append(Job((target,), info.fold, recipe))
    return jobs


def _together(recipe_name: str | None, overrides: Sequence[str]) -> bool | None:
    """Which fits the settings ask for: those of several types, those of one; None: whichever there are."""
    asked = load_recipe(recipe_name or "tiny", overrides).fit.together
    said = any(override.partition("=")[0].strip() == "fit.together" for override in overrides)
    return asked if asked or said else None


def _refuse_two_fits(chosen: Sequence[tuple[Target, RunInfo]]) -> None:
    """Raise if a target would be painted with two fits of one fold."""
    there: dict[tuple[str, int | str | None], RunInfo] = {}
    for target, info in chosen:
        other = there.setdefault((target.key, info.fold), info)
        if other is not info:
            own, joint = sorted((other, info), key=lambda each: each.together)
            raise WorkspaceError(
                f"{target.key} is fitted twice for {fold_name(info.fold)}: on its own, {own.folder}, and as "
                f"{joint_name(joint.defects)}, {joint.folder}. Say which is to paint it: --no-together or "
                "--together."
            )


def plan_drops(path: Path | None, jobs: Sequence[Job], workspace: Workspace) -> list[list[str]]:
    """The images that each job of a synthesis is to drop, from a drop list.

    Args:
        path: the list; None: nothing is dropped.
        jobs: as `plan_synthesis` gives them.
        workspace: holds the set.

    Raises:
        WorkspaceError: the list is unreadable, the jobs are of several sets, or an image is not in theirs.
    """
    if path is None:
        return [[] for _ in jobs]
    from augment.jobs.dropping import check_drops

    ids = read_drop_list(path)
    sets = {(target.category.key, job.fold) for job in jobs for target in job.targets}
    if len(sets) > 1:
        named = ", ".join(f"{key} {fold_name(fold)}" for key, fold in sorted(sets, key=str))
        raise WorkspaceError(
            f"A drop list is of one synthetic set, and this command paints {named}. Name one category, "
            "and its --fold."
        )
    ((key, fold),) = sets
    defects = {target.defect for job in jobs for target in job.targets}
    check_drops(workspace.synthetic_folder(key, fold), ids, defects)
    parts = [{target.defect for target in job.targets} for job in jobs]
    return [[name for name in ids if name.rpartition("/")[0] in part] for part in parts]


def plan_benchmark(
    patterns: Sequence[str],
    data_root: Path | None,
    workspace: Workspace,
    fold: int | None,
    recipe_name: str | None,
    overrides: Sequence[str],
) -> tuple[list[Category], Recipe]:
    """The categories that have synthetic images, and the settings to score them with.

    Args: as `plan_synthesis`; patterns name categories, and a recipe left out is that of the synthetic sets.

    Raises:
        WorkspaceError: there are no synthetic images, or sets with different benchmark settings.
    """
    sets = _finished(workspace, "synthetic", fold)
    if patterns:
        categories = resolve_categories(patterns, data_root)
    else:
        fits = _finished(workspace, "fit", None)
        roots = {info.category_key: Run.find(info.folder).info()["root"] for info in fits}
        keys = dict.fromkeys(info.key for info in sets if info.key in roots)
        categories = resolve_categories([roots[key] for key in keys], None)
    wanted = {category.key for category in categories}
    sets = [info for info in sets if info.key in wanted]
    if not sets:
        of = f" of {', '.join(sorted(wanted))}" if wanted else ""
        raise WorkspaceError(
            f"There are no finished synthetic images{of}{_of_fold(fold)} in {workspace.root}. "
            "Run `augment synthesize` first."
        )
    names = [recipe_name] if recipe_name else [str(info.folder / "recipe.yaml") for info in sets]
    recipes = [load_recipe(name, overrides) for name in names]
    if any((other.benchmark, other.data) != (recipes[0].benchmark, recipes[0].data) for other in recipes):
        raise WorkspaceError(
            "The synthetic sets were made with different benchmark settings. Say which to use with --recipe."
        )
    return categories, recipes[0]


def plan_report(
    patterns: Sequence[str],
    data_root: Path | None,
    workspace: Workspace,
    fold: int | str | None,
    out: Path | None,
) -> list[Path]:
    """The run folders of the synthetic sets to write a page of, also unfinished ones.

    Args: as `plan_benchmark`; `out` is the page's file, where the user names one.

    Raises:
        WorkspaceError: there are no images, or one file is named for several sets.
    """
    sets = [
        info
        for info in workspace.runs()
        if info.kind == "synthetic" and info.images and fold in (None, info.fold)
    ]
    of = ""
    if patterns:
        wanted = {category.key for category in resolve_categories(patterns, data_root)}
        sets = [info for info in sets if info.key in wanted]
        of = f" of {', '.join(sorted(wanted))}"
    if not sets:
        raise WorkspaceError(
            f"There are no synthetic images{of}{_of_fold(fold)} in {workspace.root}. "
            "Run `augment synthesize` first."
        )
    if out is not None and len(sets) > 1:
        named = ", ".join(f"{info.key} {fold_name(info.fold)}" for info in sets)
        raise WorkspaceError(f"--out names one file for {named}. Name one category, and its --fold.")
    return [info.folder for info in sets]


def _finished(workspace: Workspace, kind: str, fold: int | str | None) -> list[RunInfo]:
    return [
        info
        for info in workspace.runs()
        if info.kind == kind and info.state == "done" and fold in (None, info.fold)
    ]


def _of_fold(fold: int | str | None) -> str:
    return "" if fold is None else f" for {fold_name(fold)}"


def _targets_of(info: RunInfo) -> list[Target]:
    """The targets a fit has learnt, found again where their images were."""
    record = Run.find(info.folder).info()
    if not Path(record["root"]).is_dir():
        raise DataError(
            f"The images of {info.key} are not at {record['root']} any more. Put them back, or name "
            "the target where it is now."
        )
    return resolve_targets([f"{record['root']}/{defect}" for defect in fitted_defects(record)], None)
