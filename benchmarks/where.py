"""Which test images make the difference between the columns of a benchmark?

    python benchmarks/where.py --category mvtec/bottle --runs RUNS --csv FILE

Of every test image, at the threshold where a training's pixel F1 is highest: its defect pixels that are
missed, and the others that are called anomalous. Means over a column's seeds, and their sums for each defect
type. RUNS is the workspace of a finished `augment benchmark`, whose maps are read; nothing is trained.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
from suite import read

from augment.data.held_out import make_split
from augment.jobs.trainings import Tested
from augment.metrics.detection import f1_max
from augment.metrics.operating_points import pixel_points
from augment.recipe import Recipe
from augment.workspace import Workspace, atomic_write_text

_FILE = re.compile(r"fold(?P<fold>[^_]+)_seed(?P<seed>\d+)_(?P<column>.+)")


def errors(tested: Tested, masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) missed pixels and (N,) false ones of each image."""
    threshold = f1_max(pixel_points(tested.maps, masks))[1]
    called = [found >= threshold for found in tested.maps]
    missed = [int((mask & ~there).sum()) for mask, there in zip(masks, called, strict=True)]
    false = [int((there & ~mask).sum()) for mask, there in zip(masks, called, strict=True)]
    return np.array(missed), np.array(false)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="workspace of the benchmark")
    parser.add_argument("--detector", default="unet")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="write every image's row to this file")
    options = parser.parse_args()

    category = read(options.category, None)
    space = Workspace(options.runs)
    folder = options.runs / "benchmarks" / category.key / options.detector
    split = make_split(category, Recipe.read(folder / "recipe.yaml"), {"augment": space}, options.fold)
    rows = []
    for path in sorted((folder / "maps").glob(f"fold{options.fold}_*.npz")):
        tested = Tested.load(path)
        masks = tested.map_set(split.test).masks
        for sample, mask, missed, false in zip(split.test, masks, *errors(tested, masks), strict=True):
            about = {"defect": sample.defect, "image": sample.image.stem, "pixels": int(mask.sum())}
            column = _FILE.fullmatch(path.stem)["column"]
            rows.append(about | {"column": column, "missed": missed, "false": false})
    if not rows:
        raise SystemExit(f"{folder / 'maps'} holds no maps of fold {options.fold}. Run `augment benchmark`.")
    table = pd.DataFrame(rows).groupby(["defect", "image", "pixels", "column"]).mean().unstack("column")
    print(table.groupby("defect").sum().round(0).astype(int).to_string())
    if options.csv:
        table.columns = [f"{what}, {column}" for what, column in table.columns]
        atomic_write_text(options.csv, table.round(1).reset_index().to_csv(index=False))


if __name__ == "__main__":
    main()
