"""What several commands print: plans, and where the pictures are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augment.cli.console import Console

if TYPE_CHECKING:
    from augment.recipe import Recipe


def print_plan(
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


def say_sheets(console: Console, results: list) -> None:
    """Where the pictures of a job are, each once."""
    for sheet in dict.fromkeys(result.sheet for result in results if result.sheet is not None):
        console.say(f"Sheet: {sheet}")
