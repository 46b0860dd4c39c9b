"""Synthetic sets of the baselines a benchmark compares with, made as the recipe's own was."""

from __future__ import annotations

import logging
from dataclasses import replace

from augment.data.sample import Category, Target
from augment.jobs.fit import fit
from augment.jobs.synthesize import synthesize
from augment.progress import Progress
from augment.recipe import Recipe
from augment.workspace import Drops, Manifest, Run, Workspace

log = logging.getLogger(__name__)


def baseline_workspace(workspace: Workspace, method: str) -> Workspace:
    """Where a baseline's fits and synthetic images are, inside the workspace of what it is compared with."""
    return Workspace(workspace.root / "baselines" / method)


def paint_baseline(
    category: Category,
    method: str,
    fold: int,
    workspace: Workspace,
    *,
    device: str,
    progress: Progress,
) -> Workspace:
    """Fit and paint with another method: the same defects, good images, target masks, number and seed.

    What is there is kept, so this costs nothing the second time.

    Args:
        category: whose finished synthetic set of the recipe's own method is in `workspace`.
        method: a name of the registry.
        fold: of that set.
        workspace: of the recipe's own method; the baseline's lies within.
        device: "auto" or a torch device.
        progress: makes the bars.

    Returns:
        The baseline's workspace.

    Raises:
        AugmentError: as `fit` and `synthesize`.
    """
    own = workspace.synthetic_folder(category.key, fold)
    seed = Run.find(own).info()["seed"]
    recipe = Recipe.read(own / "recipe.yaml")
    # A baseline learns each type on its own, as published, even if the set's fit has learnt several together.
    tuned = replace(recipe.fit, method=method, together=False)
    recipe = replace(recipe, fit=tuned, adapt=replace(recipe.adapt, steps=0))
    unfiltered = replace(recipe.synthesize.filter, enabled=False)  # the attempts are those that passed here
    recipe = replace(recipe, synthesize=replace(recipe.synthesize, filter=unfiltered))
    counts: dict[str, int] = {}
    painted: dict[str, int] = {}
    for entry in Manifest(own / "manifest.jsonl").entries():
        painted[entry["id"]] = entry.get("attempt", 0)
        if entry["defect"] in category.defects:
            counts[entry["defect"]] = max(counts.get(entry["defect"], 0), entry["index"] + 1)
    space = baseline_workspace(workspace, method)
    targets = {defect: Target(category, defect) for defect in counts}
    log.info("%s, fold %d: painting %s's images", category.key, fold, method)
    common = {"seed": seed, "fold": fold, "device": device, "progress": progress}
    fit(list(targets.values()), recipe, space, **common)
    Drops(own).copy_to(space.synthetic_folder(category.key, fold), painted)
    for number in dict.fromkeys(counts.values()):
        chosen = [target for defect, target in targets.items() if counts[defect] == number]
        synthesize(chosen, number, recipe, space, **common)
    return space
