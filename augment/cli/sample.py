"""The command that renders a small data set: `augment sample`."""

from __future__ import annotations

from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options


@command(
    examples="augment sample\naugment sample my-sample --size 512 --seed 1 && augment fit my-sample --dry-run"
)
@click.argument("folder", type=options.FOLDER, default="sample")
@option("Data", "--size", type=click.IntRange(64, 2048), default=256, help="Side of the images, pixels.")
@options.seed
@output_options
def sample(folder: Path, size: int, seed: int, console: Console) -> None:
    """Write a small rendered data set to try the commands on."""
    from augment.render.sample import render_dataset

    written = render_dataset(folder, size=size, seed=seed)
    console.result(str(written), {"folder": written})
    console.say(f"Now: augment fit {written}")
