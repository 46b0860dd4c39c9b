"""The command line: parse, call, print. Results go to stdout, everything else to stderr.

A module a command (import and export share `formats`). `options` has what several commands take, `printing`
what several say, and `console` the frame around them all.
"""

from __future__ import annotations

import click

from augment.cli.benchmark import benchmark
from augment.cli.check import check
from augment.cli.console import Commands
from augment.cli.fit import fit
from augment.cli.formats import export, import_
from augment.cli.list import list_
from augment.cli.pretrain import pretrain
from augment.cli.report import report
from augment.cli.reproduce import reproduce
from augment.cli.sample import sample
from augment.cli.synthesize import synthesize
from augment.processor import avoid_slow_sort


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


for command in (
    fit, synthesize, benchmark, report, check, list_, sample, pretrain, import_, export, reproduce
):  # fmt: skip
    main.add_command(command)
