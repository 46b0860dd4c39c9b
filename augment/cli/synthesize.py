"""The command that paints learned defects onto good images: `augment synthesize`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options
from augment.cli.options import in_mode, in_one_fit
from augment.cli.printing import print_plan, say_sheets


def _limits(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    fewest, dash, most = value.partition("-")
    try:
        limits = int(fewest), int(most if dash else fewest)
    except ValueError:
        limits = (0, 0)
    if not 1 <= limits[0] <= limits[1]:
        raise click.BadParameter("expected a number, or the fewest and the most, as in 1-3.", ctx, parameter)
    return limits


@command(
    examples="augment synthesize -n 100\n"
    "augment synthesize mvtec/bottle/broken_large -n 20 --set synthesize.background=predict"
)
@click.argument("targets", nargs=-1, metavar="[DATASET[/CATEGORY[/DEFECT]]]...")
@option("Data", "-n", "--number", type=click.IntRange(min=1), default=20, help="Images of each defect.")
@options.folders
@options.fold_option(
    ["0", "1", "all"], None, "Only the fits of this fold. [default: every fold that is fitted]"
)
@options.settings
@option(
    "Settings",
    "--defects-per-image",
    metavar="N|N-M",
    callback=_limits,
    help="How many defects an image gets, drawn for each. [default: the recipe's, 1]",
)
@options.model
@option(
    "Data",
    "--masks",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Target masks of your own, white where the defect goes: used in turn, as they are, resized to each "
    "image. [default: the training masks, changed at random]",
)
@option(
    "Run",
    "--drop",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="LIST",
    help="Take the images this file lists (one a line, as crack/0007) out of the set, and paint others in "
    "their place. See `augment report`.",
)
@option(
    "Settings",
    "--filter/--no-filter",
    "is_filtered",
    default=None,
    show_default=False,
    help="Score every image and paint those again that fail. [default: the recipe's]",
)
@options.job
@output_options
def synthesize(
    targets: tuple[str, ...],
    number: int,
    data_root: Path | None,
    workspace: Path,
    fold: int | str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    defects_per_image: tuple[int, int] | None,
    together: bool | None,
    full_frame: bool,
    seed: int,
    device: str,
    dtype: str,
    memory: str | None,
    masks: Path | None,
    drop: Path | None,
    is_filtered: bool | None,
    force: bool,
    dry_run: bool,
    console: Console,
) -> None:
    """Paint learned defects onto good images.

    Without targets: of all that is fitted in the workspace, each with the recipe of its fit. Writes a folder
    in MVTec layout and a manifest; outside the mask every pixel is the source image's.
    """
    if drop is not None and force:
        raise click.UsageError("--force paints every image again, so there is nothing for --drop to choose.")
    from augment.plan import plan_drops, plan_synthesis
    from augment.progress import make_progress
    from augment.workspace import Workspace

    store = Workspace(workspace)
    if masks is not None:
        overrides += (f"synthesize.masks.folder={json.dumps(str(masks.resolve()))}",)
    if defects_per_image is not None:
        overrides += (f"synthesize.defects_per_image={list(defects_per_image)}",)
    overrides += ("window.full_frame=true",) * full_frame + in_one_fit(together)
    if is_filtered is not None:
        overrides += (f"synthesize.filter.enabled={json.dumps(is_filtered)}",)
    overrides += in_mode(memory)
    jobs = plan_synthesis(targets, data_root, store, fold, recipe, overrides)
    drops = plan_drops(drop, jobs, store)
    if dry_run:
        from augment.backbones.memory import settle_memory

        parts = []
        for job in jobs:
            folders = [store.synthetic_folder(t.category.key, job.fold) for t in job.targets]
            rows = job.describe(folders, make_progress(console.quiet))
            settled = settle_memory(job.recipe, device)
            parts.append(([row | {"images": number} for row in rows], settled))
        print_plan(console, parts, ("backbone", "window", "data", "synthesize", "memory"))
        return
    from augment.jobs.synthesize import synthesize as run_synthesize

    results = [
        result
        for job, dropped in zip(jobs, drops, strict=True)
        for result in run_synthesize(
            job.targets,
            number,
            job.recipe,
            store,
            seed=seed,
            fold=job.fold,
            device=device,
            dtype=dtype,
            force=force,
            drop=dropped,
            progress=make_progress(console.quiet),
        )
    ]
    lines = [
        f"{r.key} fold {r.fold}: {r.n} images"
        + (", done before" if r.skipped else f" in {r.seconds:.0f} s")
        + f", {r.category_folder}"
        for r in results
    ]
    console.result("\n".join(lines), [dataclasses.asdict(r) for r in results])
    for r in results:
        if r.statement:
            console.say(r.statement)
    for line in dict.fromkeys(f"{r.key.rpartition('/')[0]}: {r.foreground}" for r in results):
        console.say(f"{line}; see foreground.png")
    say_sheets(console, results)
