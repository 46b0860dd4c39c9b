"""The command that trains the small backbone: `augment pretrain`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options
from augment.cli.printing import say_sheets


@command(
    examples="augment pretrain models/tiny --minutes 60\n"
    "augment pretrain models/mine --set pretrain.base=tiny --images photos/gear --images photos/housing"
)
@click.argument("output", type=options.FOLDER)
@options.settings
@options.seed
@options.device
@options.dtype
@option(
    "Data",
    "--images",
    type=options.FOLDER,
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
    """Train the small backbone on rendered scenes.

    And on your own good images, if you name any (--images). OUTPUT is written as a diffusers folder; use it
    with --set backbone.model=OUTPUT. It starts from nothing, or with --set pretrain.base=tiny from the
    bundled weights. Run it again to go on.
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
    say_sheets(console, [result])
