"""The command line's frame: grouped help with examples, one-line errors, where words go."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from augment.errors import AugmentError

_META = "augment.cli.console"


class GroupedOption(click.Option):
    """An option shown under a heading of its own in `--help`."""

    def __init__(self, *args: Any, heading: str = "Options", **kwargs: Any):
        super().__init__(*args, show_default=kwargs.pop("show_default", True), **kwargs)
        self.heading = heading


class Command(click.Command):
    """A command with grouped options and runnable examples in its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                groups.setdefault(getattr(parameter, "heading", "Output"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for line in self.examples.splitlines():
                formatter.write(f"  {line}\n")


class Commands(click.Group):
    """Turns the user's errors into one line and exit code 1, and Ctrl-C into 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were added: that of their use, not of the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AugmentError as error:
            console = ctx.meta.get(_META)
            if console is not None and console.verbose:
                traceback.print_exc()
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Run the same command again to go on where it stopped.", err=True)
            ctx.exit(130)


class _StderrHandler(logging.Handler):
    """Prints records on whatever stderr is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname.capitalize()}: {record.getMessage()}", err=True)


@contextmanager
def _logging_to_stderr(quiet: bool, verbose: bool) -> Iterator[None]:
    """Show this package's warnings: with `verbose` everything it logs, with `quiet` errors only."""
    logger = logging.getLogger("augment")
    handler, level = _StderrHandler(), logger.level
    handler.setLevel(logging.ERROR if quiet else logging.NOTSET)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@dataclasses.dataclass(frozen=True)
class Console:
    """Where a command's words go."""

    quiet: bool
    verbose: bool
    as_json: bool

    def say(self, line: str) -> None:
        """Chatter, to stderr."""
        if not self.quiet:
            click.echo(line, err=True)

    def result(self, text: str, value: Any) -> None:
        """The result, to stdout: text for people or, with --json, a value for programs."""
        if self.as_json:
            from augment.workspace.files import json_default

            text = json.dumps(value, indent=2, ensure_ascii=False, default=json_default)
        if text:
            click.echo(text)


def command(name: str | None = None, *, examples: str) -> Callable:
    """A command with grouped options and examples as a decorator."""
    return click.command(name, cls=Command, examples=examples)


def option(heading: str, *names: str, **settings: Any) -> Callable:
    """A grouped option as a decorator."""
    return click.option(*names, cls=GroupedOption, heading=heading, **settings)


def stack(*options: Callable) -> Callable:
    """Several options as one decorator, in the order they are to be shown."""

    def decorate(function: Callable) -> Callable:
        for decorator in reversed(options):
            function = decorator(function)
        return function

    return decorate


def output_options(function: Callable) -> Callable:
    """Add -q, -v and --json, and pass the command one `console` in their place."""

    @click.pass_context
    @functools.wraps(function)
    def wrapper(ctx: click.Context, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> Any:
        console = ctx.meta[_META] = Console(quiet, verbose, as_json)
        with _logging_to_stderr(quiet, verbose):
            return function(console=console, **options)

    return stack(
        option("Output", "-q", "--quiet", is_flag=True, help="Print the result only: no chatter, no bars."),
        option("Output", "-v", "--verbose", is_flag=True, help="Say more; show the traceback of an error."),
        option("Output", "--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )(wrapper)
