"""The command that makes an image of a synthetic set again: `augment reproduce`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options


@command(
    examples="augment reproduce augment-runs/synthetic/mvtec/bottle/fold0/manifest.jsonl:7\n"
    "augment reproduce augment-runs/synthetic/mvtec/bottle/fold0/manifest.jsonl:contamination/0006 -o again",
)
@click.argument("line", metavar="MANIFEST:LINE")
@option(
    "Output",
    "--out",
    "-o",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Write the image and its mask there.",
)
@option("Run", "--device", default=None, help="auto, cpu, cuda, ... [default: as it was painted]")
@option(
    "Run",
    "--dtype",
    type=options.DTYPES,
    default=None,
    help="Number format of the model. [default: as it was painted]",
)
@output_options
@click.pass_context
def reproduce(
    ctx: click.Context,
    line: str,
    out: Path | None,
    device: str | None,
    dtype: str | None,
    console: Console,
) -> None:
    """Paint an image again, and say whether its bytes are the same.

    LINE is the number of a line of the set's manifest.jsonl, from 1, or an image's id. Paints from the
    recorded source image, masks, seed, settings and fit; what of these is gone or has changed is said in one
    line. Exits with 0 where the bytes are the same as those of the file there, else with 1.
    """
    from augment.jobs.reproduce import reproduce as run_reproduce

    result = run_reproduce(line, out, device=device, dtype=dtype)
    console.result(result.text, dataclasses.asdict(result))
    if not result.same:
        ctx.exit(1)
