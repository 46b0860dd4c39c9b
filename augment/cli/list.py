"""The command that shows what there is: `augment list`."""

from __future__ import annotations

from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, output_options


@command("list", examples="augment list detectors\naugment list runs --workspace augment-runs --json")
@click.argument("what", type=click.Choice(["methods", "detectors", "datasets", "recipes", "runs"]))
@options.workspace
@output_options
def list_(what: str, workspace: Path, console: Console) -> None:
    """List methods, detectors, datasets, recipes or runs."""
    from augment.listing import list_things
    from augment.report.tables import format_rows

    things = list_things(what, workspace)
    console.result(format_rows(things), things)
    if not things:
        console.say(f"There are no runs in {workspace}.")
