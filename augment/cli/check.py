"""The command that looks for trouble in the data: `augment check`."""

from __future__ import annotations

from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, output_options


@command(examples="augment check mvtec/bottle\naugment check mvtec 'magnetic_tile/tile/*' --json")
@click.argument("targets", nargs=-1, required=True, metavar="DATASET[/CATEGORY[/DEFECT]]...")
@options.data_root
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
