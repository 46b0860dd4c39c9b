"""The command that learns defects: `augment fit`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from augment.cli import options
from augment.cli.console import Console, command, output_options
from augment.cli.options import in_mode, in_one_fit
from augment.cli.printing import print_plan, say_sheets

if TYPE_CHECKING:
    from augment.recipe import Recipe


@command(
    examples="augment fit mvtec/bottle/broken_large\n"
    "augment fit mvtec/bottle 'mvtec/*/crack*' --set fit.steps=500 --seed 1"
)
@click.argument("targets", nargs=-1, required=True, metavar="DATASET[/CATEGORY[/DEFECT]]...")
@options.folders
@options.fold_option(["0", "1", "all"], "0", "Which part of the images to learn from; all: hold none out.")
@options.settings
@options.model
@options.job
@output_options
def fit(
    targets: tuple[str, ...],
    data_root: Path | None,
    workspace: Path,
    fold: int | str,
    recipe: str | None,
    overrides: tuple[str, ...],
    together: bool | None,
    full_frame: bool,
    seed: int,
    device: str,
    dtype: str,
    memory: str | None,
    force: bool,
    dry_run: bool,
    console: Console,
) -> None:
    """Learn what defects look like.

    A target is DATASET/CATEGORY/DEFECT; what is left out stands for all, and * and ? match names. DATASET
    is a folder, or the name of a card (see `augment list datasets`). What is fitted already is skipped; a
    fit that was interrupted goes on.
    """
    from augment.data.targets import resolve_targets
    from augment.plan import Job
    from augment.progress import make_progress
    from augment.workspace import Workspace

    store = Workspace(workspace)
    found = resolve_targets(targets, data_root)
    overrides += ("window.full_frame=true",) * full_frame
    overrides += in_one_fit(together) + in_mode(memory)
    job = Job(tuple(found), fold, _load_recipe(recipe, overrides, device, console))
    if dry_run:
        from augment.backbones.memory import settle_memory

        folders = [store.fit_folder(target.key, fold, job.recipe.fit.together) for target in found]
        rows, settled = job.describe(folders, make_progress(console.quiet)), settle_memory(job.recipe, device)
        print_plan(console, [(rows, settled)], ("backbone", "window", "data", "adapt", "fit", "memory"))
        return
    from augment.jobs.fit import fit as run_fit

    results = run_fit(
        found,
        job.recipe,
        store,
        seed=seed,
        fold=fold,
        device=device,
        dtype=dtype,
        force=force,
        progress=make_progress(console.quiet),
    )
    lines = [
        f"{r.key} fold {r.fold}: "
        + ("done before" if r.skipped else f"{r.steps} steps in {r.seconds:.0f} s, loss {r.loss:.4g}")
        + f", {r.folder}"
        for r in results
    ]
    console.result("\n".join(lines), [dataclasses.asdict(r) for r in results])
    say_sheets(console, results)


def _load_recipe(name: str | None, overrides: tuple[str, ...], device: str, console: Console) -> Recipe:
    """The recipe asked for, else the one that suits the device, saying which."""
    from augment.recipe import load_recipe

    if name is None:
        from augment.backbones.choose import choose_recipe_name

        name, line = choose_recipe_name(device)
        console.say(line)
    return load_recipe(name, overrides)
