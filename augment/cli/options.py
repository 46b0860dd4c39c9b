"""Options that several commands take, each a decorator, and the kinds of values they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from augment.cli.console import option, stack
from augment.workspace import DEFAULT_ROOT

FOLDER = click.Path(file_okay=False, path_type=Path)
DTYPES = click.Choice(["auto", "float32", "bfloat16", "float16"])


def _fold(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdigit() else value


def fold_option(choices: list[str], default: str | None, text: str) -> Callable:
    """--fold, as a number or "all"."""
    return option("Data", "--fold", type=click.Choice(choices), default=default, callback=_fold, help=text)


def data_root_option(text: str) -> Callable:
    """--data-root, else AUGMENT_DATA."""
    return option("Data", "--data-root", type=FOLDER, envvar="AUGMENT_DATA", show_envvar=True, help=text)


data_root = data_root_option("Folder in which relative dataset paths and cards' datasets are looked for.")
workspace = option(
    "Data", "--workspace", "-w", type=FOLDER, envvar="AUGMENT_WORKSPACE", show_envvar=True,
    default=DEFAULT_ROOT, help="Folder for fits, synthetic images and scores.",
)  # fmt: skip
folders = stack(data_root, workspace)

settings = stack(
    option("Settings", "--recipe", "-r", metavar="NAME|FILE",
           help="Settings to use; see `augment list recipes`."),
    option("Settings", "--set", "overrides", metavar="KEY=VALUE", multiple=True,
           help="Change one setting, as in fit.steps=200. Repeatable."),
)  # fmt: skip

seed = option("Run", "--seed", type=click.IntRange(min=0), default=0, help="Same seed, same bytes.")
device = option("Run", "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.")
devices = option(
    "Run", "--device", default="auto",
    help="auto, cpu, cuda, cuda:1 or mps; several work together: cuda:0,cuda:1, or all.",
)  # fmt: skip
dtype = option(
    "Run", "--dtype", type=DTYPES, default="auto",
    help="Number format of the model; auto: bfloat16 where the device has it.",
)  # fmt: skip
model = stack(
    option(
        "Settings", "--together/--no-together", default=None, show_default=False,
        help="One model for all the chosen defects of a category, with fit.steps steps for each, in place of "
        "one model each. [default: the recipe's; to paint: the fit that is there]",
    ),
    option(
        "Settings", "--full-frame", is_flag=True,
        help="Work on whole images, not on windows around the defect: for logical anomalies.",
    ),
    seed,
    devices,
    dtype,
    option(
        "Run", "--memory", type=click.Choice(["auto", "8gb", "12gb", "24gb", "max"]), default=None,
        help="Room on the GPU for a Stable Diffusion; auto: what the card has. Smaller is slower, not worse, "
        "but below 24gb a fit learns a LoRA where the recipe does not say otherwise. [default: the recipe's]",
    ),
)  # fmt: skip
job = stack(
    option("Run", "--force", is_flag=True, help="Redo what is done, or was done with other settings."),
    option("Run", "--dry-run", is_flag=True, help="Print the resolved plan and run nothing."),
)


def in_one_fit(together: bool | None) -> tuple[str, ...]:
    """--together as an override, or none."""
    return () if together is None else (f"fit.together={json.dumps(together)}",)


def in_mode(memory: str | None) -> tuple[str, ...]:
    """--memory as an override, or none."""
    return () if memory is None else (f"memory.mode={memory}",)
