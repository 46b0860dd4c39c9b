"""Ablation suites: the same detector trained on synthetic images made in several ways.

    python benchmarks/suite.py refinement --category mvtec/bottle -n 30 --scratch SCRATCH --csv FILE
    python benchmarks/suite.py inversion --category magnetic_tile/tile --types crack --scratch SCRATCH

A suite is a YAML file in `benchmarks/suites`: a recipe, settings for all variants (`set`), and for each
variant the settings it changes. Variants whose fits do not differ share one fit. Each is painted in a
workspace of its own and compared as a column "real+VARIANT" beside "real-only", on the same folds, seeds and
test images, with the interval of each difference. What is finished in the scratch folder is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

import augment
from augment.data.cards import find_card
from augment.data.layouts import read_category
from augment.data.sample import Category, Target
from augment.progress import make_progress
from augment.workspace import Workspace, atomic_write_text

SUITES = Path(__file__).parent / "suites"


def find_suite(name: str) -> dict[str, Any]:
    """A suite by name or path, as read."""
    path = Path(name) if name.endswith(".yaml") else SUITES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SUITES.glob("*.yaml")))
        raise SystemExit(f"There is no suite '{name}'. Choose {known}, or the path of a YAML file.")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read(root: Path, types: list[str] | None) -> Category:
    """A category, with only the defects that count."""
    root = root.absolute()
    card = find_card(root.parent.name)
    category = read_category(root, card.name if card else root.parent.name, card)
    chosen = {
        name: samples for name, samples in category.defects.items() if name in (types or category.defects)
    }
    if not chosen:
        raise SystemExit(f"{root} has none of the types {', '.join(types or [])}.")
    return replace(category, defects=chosen)


def paint(
    category: Category,
    variant: dict[str, Any],
    common: list[str],
    recipe: str,
    n: int,
    scratch: Path,
    fold: int,
) -> Workspace:
    """The variant's workspace, fitted (or with the fit of another variant) and painted."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in variant.items()]
    settings = augment.load_recipe(recipe, [*common, *overrides])
    changes = [part for part in sorted([*common, *overrides]) if not part.startswith("benchmark.")]
    fitted = [part for part in changes if not part.startswith("synthesize.")]
    fits = Workspace(scratch / "fits" / ("_".join(fitted) or "shipped"))
    workspace = Workspace(scratch / ("_".join(changes) or "shipped"))
    targets = [Target(category, defect) for defect in sorted(category.defects)]
    options = {"fold": fold, "progress": make_progress()}
    augment.fit(targets, settings, fits, **options)
    for target in targets:
        place = target.key, fold, settings.fit.together
        if not workspace.fit_folder(*place).exists():
            shutil.copytree(fits.fit_folder(*place), workspace.fit_folder(*place))
    augment.synthesize(targets, n, settings, workspace, **options)
    return workspace


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", help="a name in benchmarks/suites, or a YAML file")
    parser.add_argument("--category", type=Path, required=True)
    parser.add_argument("--types", nargs="+", help="defects that count; all")
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("-n", type=int, default=30, help="synthetic images a type")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the detector")
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--csv", type=Path, help="write every training's scores to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    suite = find_suite(options.suite)
    category = read(options.category, options.types)
    common = [f"{key}={json.dumps(value)}" for key, value in suite.get("set", {}).items()] + options.set
    variants = {
        name: values
        for name, values in suite["variants"].items()
        if name in (options.variants or suite["variants"])
    }
    if not variants:
        raise SystemExit(f"The suite has none of {', '.join(options.variants)}.")
    numbers = suite.get("n", [])
    recipe = augment.load_recipe(suite["recipe"], common)
    seeds = {"seeds": tuple(options.seeds), "n": tuple(numbers)}
    recipe = replace(recipe, benchmark=replace(recipe.benchmark, **seeds))
    painted: dict[str, Workspace] = {}
    for fold in options.folds:
        for name, values in variants.items():
            print(f"{category.key}, fold {fold}: {name}", file=sys.stderr)
            number = max(numbers, default=options.n)
            painted[name] = paint(category, values, common, suite["recipe"], number, options.scratch, fold)
    result = augment.benchmark(
        [category],
        recipe,
        Workspace(options.scratch / "scores"),
        sets=painted,
        fold=options.folds[0] if len(options.folds) == 1 else None,
        progress=make_progress(),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result.text())
    if options.csv:
        frame = result.rows.assign(suite=Path(options.suite).stem, recipe=recipe.name)
        atomic_write_text(options.csv, frame.to_csv(index=False))


if __name__ == "__main__":
    main()
