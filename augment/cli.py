"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augment.cli_formats import export, import_
from augment.cli_reproduce import reproduce
from augment.console import Commands, Console, option, output_options, stack
from augment.processor import avoid_slow_sort

if TYPE_CHECKING:
    from augment.recipe import Recipe


def _fold(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdigit() else value


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


def _fold_option(choices: list[str], default: str | None, text: str) -> Callable:
    return option("Data", "--fold", type=click.Choice(choices), default=default, callback=_fold, help=text)


_folder = click.Path(file_okay=False, path_type=Path)

_data_root = option(
    "Data", "--data-root", type=_folder, envvar="AUGMENT_DATA", show_envvar=True,
    help="Folder in which relative dataset paths and cards' datasets are looked for.",
)  # fmt: skip
_workspace = option(
    "Data", "--workspace", "-w", type=_folder, envvar="AUGMENT_WORKSPACE", show_envvar=True,
    default="augment-runs", help="Folder for fits, synthetic images and scores.",
)  # fmt: skip
_settings = stack(
    option("Settings", "--recipe", "-r", metavar="NAME|FILE",
           help="Settings to use; see `augment list recipes`."),
    option("Settings", "--set", "overrides", metavar="KEY=VALUE", multiple=True,
            help="Change one setting, as in fit.steps=200. Repeatable."),
)  # fmt: skip
_seed = option("Run", "--seed", type=click.IntRange(min=0), default=0, help="Same seed, same bytes.")
_device = option("Run", "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.")
_devices = option(
    "Run", "--device", default="auto",
    help="auto, cpu, cuda, cuda:1 or mps; several work together: cuda:0,cuda:1, or all.",
)  # fmt: skip
_dtype = option(
    "Run", "--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
    help="Number format of the model; auto: bfloat16 where the device has it.",
)  # fmt: skip
_full_frame = option(
    "Settings", "--full-frame", is_flag=True,
    help="Work on whole images, not on windows around the defect: for logical anomalies.",
)  # fmt: skip
_together = option(
    "Settings", "--together/--no-together", default=None, show_default=False,
    help="One model for all the chosen defects of a category, with fit.steps steps for each, in place of one "
    "model each. [default: the recipe's; to paint: the fit that is there]",
)  # fmt: skip
_memory = option(
    "Run", "--memory", type=click.Choice(["auto", "8gb", "12gb", "24gb", "max"]), default=None,
    help="Room on the GPU for a Stable Diffusion; auto: what the card has. Smaller is slower, not worse, but "
    "below 24gb a fit learns a LoRA where the recipe does not say otherwise. [default: the recipe's]",
)  # fmt: skip
_force = option("Run", "--force", is_flag=True, help="Redo what is done, or was done with other settings.")
_dry_run = option("Run", "--dry-run", is_flag=True, help="Print the resolved plan and run nothing.")


@click.group(cls=Commands, context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="augment-defects", prog_name="augment")
def main() -> None:
    """Learn a defect from a handful of images, paint it onto good ones, and measure whether it helped.

    \b
    augment fit mvtec/bottle/broken_large
    augment synthesize -n 100
    augment benchmark
    """
    avoid_slow_sort()


# --- the three jobs --------------------------------------------------------------------------------


@main.command(
    examples="augment fit mvtec/bottle/broken_large\n"
    "augment fit mvtec/bottle 'mvtec/*/crack*' --set fit.steps=500 --seed 1"
)
@click.argument("targets", nargs=-1, required=True, metavar="DATASET[/CATEGORY[/DEFECT]]...")
@_data_root
@_workspace
@_fold_option(["0", "1", "all"], "0", "Which part of the images to learn from; all: hold none out.")
@_settings
@_together
@_full_frame
@_seed
@_devices
@_dtype
@_memory
@_force
@_dry_run
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
    overrides += _in_one_fit(together) + _in_mode(memory)
    job = Job(tuple(found), fold, _load_recipe(recipe, overrides, device, console))
    if dry_run:
        from augment.backbones.memory import settle_memory

        folders = [store.fit_folder(target.key, fold, job.recipe.fit.together) for target in found]
        rows, settled = job.describe(folders, make_progress(console.quiet)), settle_memory(job.recipe, device)
        _print_plan(console, [(rows, settled)], ("backbone", "window", "data", "adapt", "fit", "memory"))
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
    _say_sheets(console, results)


@main.command(
    examples="augment synthesize -n 100\n"
    "augment synthesize mvtec/bottle/broken_large -n 20 --set synthesize.background=predict"
)
@click.argument("targets", nargs=-1, metavar="[DATASET[/CATEGORY[/DEFECT]]]...")
@option("Data", "-n", "--number", type=click.IntRange(min=1), default=20, help="Images of each defect.")
@_data_root
@_workspace
@_fold_option(["0", "1", "all"], None, "Only the fits of this fold. [default: every fold that is fitted]")
@_settings
@option(
    "Settings",
    "--defects-per-image",
    metavar="N|N-M",
    callback=_limits,
    help="How many defects an image gets, drawn for each. [default: the recipe's, 1]",
)
@_together
@_full_frame
@_seed
@_devices
@_dtype
@_memory
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
@_force
@_dry_run
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

    if masks is not None:
        overrides += (f"synthesize.masks.folder={json.dumps(str(masks.resolve()))}",)
    store = Workspace(workspace)
    if defects_per_image is not None:
        overrides += (f"synthesize.defects_per_image={list(defects_per_image)}",)
    overrides += ("window.full_frame=true",) * full_frame + _in_one_fit(together)
    jobs = plan_synthesis(targets, data_root, store, fold, recipe, overrides)
    if is_filtered is not None:
        overrides = (*overrides, f"synthesize.filter.enabled={json.dumps(is_filtered)}")
    jobs = plan_synthesis(targets, data_root, store, fold, recipe, overrides + _in_mode(memory))
    drops = plan_drops(drop, jobs, store)
    if dry_run:
        from augment.backbones.memory import settle_memory

        parts = []
        for job in jobs:
            folders = [store.synthetic_folder(t.category.key, job.fold) for t in job.targets]
            rows = job.describe(folders, make_progress(console.quiet))
            settled = settle_memory(job.recipe, device)
            parts.append(([row | {"images": number} for row in rows], settled))
        _print_plan(console, parts, ("backbone", "window", "data", "synthesize", "memory"))
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
    _say_sheets(console, results)


@main.command(
    examples="augment benchmark\n"
    "augment benchmark mvtec/bottle -d unet -d patchcore --baseline cutpaste -n 0,25,100 --seed 0 --seed 1"
)
@click.argument("categories", nargs=-1, metavar="[DATASET[/CATEGORY]]...")
@_data_root
@_workspace
@_fold_option(["0", "1"], None, "Only this fold. [default: every fold with synthetic images]")
@_settings
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
@_device
@_force
@_dry_run
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
    force: bool,
    dry_run: bool,
    form: str,
    console: Console,
) -> None:
    """Train detectors with and without the synthetic images and compare them on held-out real ones.

    Without categories: of all that has synthetic images in the workspace. Prints a table and, for each
    column, whether the synthetic images help: the difference in pixel AP to real images alone, with its
    95 % interval. A report.html holds it all.
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
        _print_plan(console, [(rows, settings)], ("data", "benchmark"))
        return
    from augment.jobs.benchmark import benchmark as run_benchmark

    result = run_benchmark(
        found,
        settings,
        store,
        detectors=settings.benchmark.detectors,
        fold=fold,
        device=device,
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


@main.command(examples="augment report\naugment report mvtec/bottle --fold 0 --out bottle.html")
@click.argument("categories", nargs=-1, metavar="[DATASET[/CATEGORY]]...")
@_data_root
@_workspace
@_fold_option(["0", "1", "all"], None, "Only the set of this fold. [default: every one]")
@option(
    "Output",
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page here; of one set only. [default: report.html in the set's folder]",
)
@output_options
def report(
    categories: tuple[str, ...],
    data_root: Path | None,
    workspace: Path,
    fold: int | str | None,
    out: Path | None,
    console: Console,
) -> None:
    """Write a page with every image of a synthetic set, to look at and to choose from.

    Without categories: of each set in the workspace. One HTML file a set, with nothing around it: sort and
    filter, compare with the real defects, accept or reject by key, and download the list of the rejected for
    `augment synthesize --drop`.
    """
    from augment.plan import plan_report
    from augment.progress import make_progress
    from augment.workspace import Workspace

    folders = plan_report(categories, data_root, Workspace(workspace), fold, out)
    from augment.jobs.report import report as run_report

    results = [run_report(folder, out, make_progress(console.quiet)) for folder in folders]
    lines = [f"{r.key} fold {r.fold}: {r.n} images, {r.bytes / 1e6:.1f} MB, {r.page}" for r in results]
    console.result("\n".join(lines), [dataclasses.asdict(r) for r in results])


# --- around them -----------------------------------------------------------------------------------


@main.command(examples="augment check mvtec/bottle\naugment check mvtec 'magnetic_tile/tile/*' --json")
@click.argument("targets", nargs=-1, required=True, metavar="DATASET[/CATEGORY[/DEFECT]]...")
@_data_root
@output_options
@click.pass_context
def check(ctx: click.Context, targets: tuple[str, ...], data_root: Path | None, console: Console) -> None:
    """Look for trouble in your data, before any long step.

    Reads every image and mask: how many there are, how many parts they show, how they will be split, and what
    is missing, damaged, doubled or surprising, with what the other commands will do about it. Exits with 1
    where there are errors.
    """
    from augment.jobs.check import check as run_check
    from augment.progress import make_progress

    result = run_check(targets, data_root, make_progress(console.quiet))
    console.result(result.text(), result.to_dict())
    if result.has_errors:
        ctx.exit(1)


@main.command("list", examples="augment list detectors\naugment list runs --workspace augment-runs --json")
@click.argument("what", type=click.Choice(["methods", "detectors", "datasets", "recipes", "runs"]))
@_workspace
@output_options
def list_(what: str, workspace: Path, console: Console) -> None:
    """List methods, detectors, datasets, recipes or runs."""
    from augment.listing import list_things
    from augment.report.tables import format_rows

    things = list_things(what, workspace)
    console.result(format_rows(things), things)
    if not things:
        console.say(f"There are no runs in {workspace}.")


@main.command(
    examples="augment sample\naugment sample my-sample --size 512 --seed 1 && augment fit my-sample --dry-run"
)
@click.argument("folder", type=_folder, default="sample")
@option("Data", "--size", type=click.IntRange(64, 2048), default=256, help="Side of the images, pixels.")
@option("Run", "--seed", type=click.IntRange(min=0), default=0, help="Same seed, same bytes.")
@output_options
def sample(folder: Path, size: int, seed: int, console: Console) -> None:
    """Write a small rendered data set in MVTec layout to try the other commands on."""
    from augment.render.sample import render_dataset

    written = render_dataset(folder, size=size, seed=seed)
    console.result(str(written), {"folder": written})
    console.say(f"Now: augment fit {written}")


@main.command(
    examples="augment pretrain models/tiny --minutes 60\n"
    "augment pretrain models/mine --set pretrain.base=tiny --images photos/gear --images photos/housing"
)
@click.argument("output", type=_folder)
@_settings
@_seed
@_device
@_dtype
@option(
    "Data",
    "--images",
    type=_folder,
    multiple=True,
    help="Folder of good images to learn backgrounds from as well; its name says what they show. Repeatable.",
)
@option(
    "Run",
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after this long; run again to go on. [default: after pretrain.steps]",
)
@output_options  # fmt: skip
def pretrain(
    output: Path,
    recipe: str | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    dtype: str,
    images: tuple[Path, ...],
    minutes: float | None,
    console: Console,
) -> None:
    """Train the small backbone on rendered scenes, and on your own good images if you name any.

    OUTPUT is written as a diffusers folder; use it with --set backbone.model=OUTPUT. It starts from nothing,
    or with --set pretrain.base=tiny from the bundled weights. Run it again to go on.
    """
    from augment.jobs.pretrain import pretrain as run_pretrain
    from augment.progress import make_progress
    from augment.recipe import load_recipe

    result = run_pretrain(
        load_recipe(recipe or "tiny", overrides),
        output,
        seed=seed,
        device=device,
        dtype=dtype,
        minutes=minutes,
        images=images,
        progress=make_progress(console.quiet),
    )
    state = "done" if result.done else "unfinished"
    text = f"{result.folder}: {result.steps} steps, loss {result.loss:.4g}, {state}"
    console.result(text, dataclasses.asdict(result))
    _say_sheets(console, [result])


main.add_command(import_)
main.add_command(export)
main.add_command(reproduce)


# --- printing --------------------------------------------------------------------------------------


def _load_recipe(name: str | None, overrides: tuple[str, ...], device: str, console: Console) -> Recipe:
    """The recipe asked for, else the one that suits the device, saying which."""
    from augment.recipe import load_recipe

    if name is None:
        from augment.backbones.choose import choose_recipe_name

        name, line = choose_recipe_name(device)
        console.say(line)
    return load_recipe(name, overrides)


def _in_one_fit(together: bool | None) -> tuple[str, ...]:
    """--together as an override, or none."""
    return () if together is None else (f"fit.together={json.dumps(together)}",)


def _in_mode(memory: str | None) -> tuple[str, ...]:
    """--memory as an override, or none."""
    return () if memory is None else (f"memory.mode={memory}",)


def _chosen(key: str, values: tuple) -> list[str]:
    """Repeated options as one override, or none."""
    return [f"{key}={json.dumps(values)}"] if values else []


def _print_plan(
    console: Console, parts: list[tuple[list[dict[str, Any]], Recipe]], sections: tuple[str, ...]
) -> None:
    """What would be run: for each recipe a table of targets, then its settings."""
    import yaml

    from augment.report.tables import format_rows

    texts, values = [], []
    for rows, recipe in parts:
        settings = {name: value for name, value in recipe.to_dict().items() if name in ("name", *sections)}
        texts.append(f"{format_rows(rows)}\n\n{yaml.safe_dump(settings, sort_keys=False)}")
        values.append({"plan": rows, "recipe": settings})
    console.result("\n".join(texts).rstrip(), values)


def _say_sheets(console: Console, results: list) -> None:
    """Where the pictures of a job are, each once."""
    for sheet in dict.fromkeys(result.sheet for result in results if result.sheet is not None):
        console.say(f"Sheet: {sheet}")
