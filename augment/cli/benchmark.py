"""The command that measures whether it helped: `augment benchmark`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options
from augment.cli.printing import print_plan


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in (value or "").split(",") if part.strip())
    except ValueError:
        numbers = (-1,)
    if any(number < 0 for number in numbers):
        raise click.BadParameter(
            "expected whole numbers with commas between, as in 0,25,100.", ctx, parameter
        )
    return numbers


@command(
    examples="augment benchmark\n"
    "augment benchmark mvtec/bottle -d unet -d patchcore -b cutpaste -n 0,25,100 --seed 0 --seed 1 --jobs 2"
)
@click.argument("categories", nargs=-1, metavar="[DATASET[/CATEGORY]]...")
@options.folders
@options.fold_option(["0", "1"], None, "Only this fold. [default: every fold with synthetic images]")
@options.settings
@option(
    "Settings",
    "--detector",
    "-d",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="Detector to train; see `augment list detectors`. Repeatable. [default: the recipe's]",
)
@option(
    "Settings",
    "--baseline",
    "-b",
    "baselines",
    multiple=True,
    metavar="NAME",
    help="Method to compare with; see `augment list methods`. Painted with the same masks and number. "
    "Repeatable.",
)
@option(
    "Settings",
    "--number",
    "-n",
    metavar="N[,N...]",
    callback=_numbers,
    help="Synthetic images of each defect; one training for each number. [default: all there are]",
)
@option(
    "Settings", "--synthetic-only", is_flag=True, help="Also train on synthetic images without real ones."
)
@option(
    "Settings",
    "--oracle",
    is_flag=True,
    help="Also show the epoch that is best on the test set, as papers do: ten checks a training.",
)
@option(
    "Settings",
    "--weights",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Local weights of the detectors' feature network, in place of a download.",
)
@option(
    "Run",
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    show_default=False,
    help="Training seed. Repeatable. [default: the recipe's]",
)
@options.devices
@option(
    "Run",
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    default=1,
    help="Trainings at a time on each device; those on the CPU share its cores. Takes their memory each.",
)
@options.job
@option(
    "Output",
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "latex", "csv"]),
    default="table",
    help="How the scores are printed; all are written as files too.",
)
@output_options
def benchmark(
    categories: tuple[str, ...],
    data_root: Path | None,
    workspace: Path,
    fold: int | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    detectors: tuple[str, ...],
    baselines: tuple[str, ...],
    number: tuple[int, ...],
    synthetic_only: bool,
    oracle: bool,
    weights: str | None,
    seeds: tuple[int, ...],
    device: str,
    jobs: int,
    force: bool,
    dry_run: bool,
    form: str,
    console: Console,
) -> None:
    """Measure whether the synthetic images help a detector.

    It is trained with and without them, and tested on held-out real images. Without categories: of all that
    has synthetic images in the workspace. Prints a table and, for each column, whether the synthetic images
    help: the difference in pixel AP to real images alone, with its 95 % interval. A report.html holds it all.
    """
    from augment.plan import plan_benchmark
    from augment.progress import make_progress
    from augment.workspace import Workspace

    chosen = {"detectors": detectors, "baselines": baselines, "n": number, "seeds": seeds}
    overrides += tuple(line for key, values in chosen.items() for line in _chosen(f"benchmark.{key}", values))
    overrides += ("benchmark.synthetic_only=true",) * synthetic_only
    overrides += ("benchmark.oracle_checks=10",) * oracle
    if weights is not None:
        overrides += (f"benchmark.weights={json.dumps(str(Path(weights).resolve()))}",)
    store = Workspace(workspace)
    found, settings = plan_benchmark(categories, data_root, store, fold, recipe, overrides)
    if dry_run:
        rows = [
            {"category": c.key, "detector": d, "folder": str(store.benchmark_folder(c.key, d))}
            for c in found
            for d in settings.benchmark.detectors
        ]
        print_plan(console, [(rows, settings)], ("data", "benchmark"))
        return
    from augment.jobs.benchmark import benchmark as run_benchmark

    result = run_benchmark(
        found,
        settings,
        store,
        detectors=settings.benchmark.detectors,
        fold=fold,
        device=device,
        jobs=jobs,
        force=force,
        progress=make_progress(console.quiet),
        say=console.say,
    )
    value = {
        "rows": json.loads(result.rows.to_json(orient="records")),
        "verdicts": [dataclasses.asdict(found) | {"text": str(found)} for found in result.verdicts],
        "csv": result.csv,
        "page": result.page,
    }
    console.result(result.text(form), value)
    console.say(f"Scores: {result.csv} (.json, .md, .tex)\nReport: {result.page}")


def _chosen(key: str, values: tuple) -> list[str]:
    """Repeated options as one override, or none."""
    return [f"{key}={json.dumps(values)}"] if values else []
