"""The command that shows every image of a set: `augment report`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options


@command(examples="augment report\naugment report mvtec/bottle --fold 0 --out bottle.html")
@click.argument("categories", nargs=-1, metavar="[DATASET[/CATEGORY]]...")
@options.folders
@options.fold_option(["0", "1", "all"], None, "Only the set of this fold. [default: every one]")
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
    """Write a page of a synthetic set, to look at and choose from.

    It shows every image. Without categories: of each set in the workspace. One HTML file a set, with nothing
    around it: sort and filter, compare with the real defects, accept or reject by key, and download the list
    of the rejected for `augment synthesize --drop`.
    """
    from augment.plan import plan_report
    from augment.progress import make_progress
    from augment.workspace import Workspace

    folders = plan_report(categories, data_root, Workspace(workspace), fold, out)
    from augment.jobs.report import report as run_report

    results = [run_report(folder, out, make_progress(console.quiet)) for folder in folders]
    lines = [f"{r.key} fold {r.fold}: {r.n} images, {r.bytes / 1e6:.1f} MB, {r.page}" for r in results]
    console.result("\n".join(lines), [dataclasses.asdict(r) for r in results])
