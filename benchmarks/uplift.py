"""Do the synthetic images help a detector, and more than CutPaste does?

    python benchmarks/uplift.py --category mvtec/bottle --scratch SCRATCH
    python benchmarks/uplift.py --category magnetic_tile/tile --types crack blowhole break --scratch SCRATCH

The U-Net detector is trained on a category's good and real defect images of a fold ("real-only"), on these
and images by the recipe's method ("real+augment"), and on these and CutPaste's with the same target masks and
count ("real+cutpaste"); all types of a category are pooled, and every column of a seed starts from the same
weights and is tested on the same images. Of shots of one physical part (`augment.data.duplicates`) one is
kept, so that no part is on both sides of the split.

The bar: "real+augment" is at least 5 points of pixel AP above "real-only" on the mean of the seeds, and above
"real+cutpaste" and any other baseline beside the real defects. What is finished in the scratch folder is
kept; --redo fits and paints the method anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import augment
from augment.data.cards import find_card
from augment.data.duplicates import group_near_duplicates
from augment.data.held_out import files_of
from augment.data.images import read_image
from augment.data.layouts import read_category
from augment.data.sample import Category, Sample, Target
from augment.recipe import Recipe
from augment.workspace import Workspace, atomic_write_json, atomic_write_text

BAR = 5.0  # points of pixel AP


def one_shot_a_part(category: Category, folder: Path) -> Category:
    """A copy of `category` in `folder` with one shot of each part, and only its defects; made once.

    Of a group, the shot of the median brightness is kept. A part that shows several defects is kept for the
    one with the fewest parts, so that no part is both fitted and tested on.
    """
    root = folder / category.root.parent.name / category.name
    record = folder / f"parts_{category.dataset}_{category.name}.json"
    names = sorted(category.defects)
    if not record.exists() or json.loads(record.read_text())["types"] != names:
        kept = {defect: _representatives(category.defects[defect]) for defect in names}
        order = sorted(names, key=lambda defect: len(kept[defect]))
        pooled = [sample for defect in order for sample in kept[defect]]
        labels = group_near_duplicates([read_image(sample.image) for sample in pooled])
        _, first = np.unique(labels, return_index=True)
        final = [pooled[i] for i in sorted(first)]
        shutil.rmtree(root, ignore_errors=True)
        for sample in (*category.train_good, *category.test_good, *final):
            for path in files_of([sample]):
                target = root / path.relative_to(category.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
        counts = {
            defect: {
                "images": len(category.defects[defect]),
                "parts": len(kept[defect]),
                "kept": sum(sample.defect == defect for sample in final),
            }
            for defect in names
        }
        atomic_write_json(record, {"types": names, "counts": counts})
    for defect, counts in json.loads(record.read_text())["counts"].items():
        print(f"{category.key}/{defect}: {counts}", file=sys.stderr)
    return read_category(root, category.dataset, find_card(category.dataset))


def _representatives(samples: Sequence[Sample]) -> list[Sample]:
    """One sample of each group of near-duplicates, that of the median brightness, in the order of names."""
    images = [read_image(sample.image) for sample in samples]
    labels = group_near_duplicates(images)
    light = np.array([image.mean() for image in images])
    kept = []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        kept.append(int(members[np.argsort(light[members])[(len(members) - 1) // 2]]))
    return [samples[i] for i in sorted(kept)]


def measure(category: Category, recipe: Recipe, options: argparse.Namespace) -> pd.DataFrame:
    """The rows of every training of one category; what is finished in the scratch folder is kept."""
    workspace = Workspace(options.scratch / "runs")
    targets = [Target(category, defect) for defect in sorted(category.defects)]
    common = {"fold": options.fold, "device": options.device, "force": options.redo}
    started = time.monotonic()
    augment.fit(targets, recipe, workspace, seed=options.seed, **common)
    fitted = time.monotonic()
    augment.synthesize(targets, options.n, recipe, workspace, seed=options.seed, **common)
    print(
        f"fit {fitted - started:.0f} s, {options.n} images of {len(targets)} types "
        f"{time.monotonic() - fitted:.0f} s",
        file=sys.stderr,
    )
    result = augment.benchmark(
        [category],
        recipe,
        workspace,
        jobs=options.jobs,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        **common,
    )
    print(result.text())
    return result.rows


def verdict(rows: pd.DataFrame) -> str:
    """The bar, for each category and for the mean over categories; of the pooled rows."""
    pooled = rows[(rows["defect"] == "all") & (rows["epoch"] == "last")]
    scores = pooled.pivot_table(index=["category", "seed"], columns="column", values="pixel_ap")
    gain = 100 * scores.sub(scores["real-only"], axis=0).groupby("category").mean()
    if len(gain) > 1:
        gain.loc["mean"] = gain.mean()
    lines = []
    for name, columns in gain.iterrows():
        ours, others = columns["real+augment"], columns.drop(["real-only", "real+augment"])
        beside = "".join(f", {column} {value:+.1f}" for column, value in others.items())
        beside_real = others[others.index.str.startswith("real+")]
        met = ours >= BAR and (beside_real < ours).all()
        lines.append(
            f"{name}: pixel AP {ours:+.1f} points on real-only (bar {BAR:+.0f}){beside}: "
            + ("MET" if met else "MISSED")
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--types", nargs="+", help="defects that count, where a category has them; all")
    parser.add_argument("-n", type=int, default=50, help="synthetic images a type")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the detector")
    parser.add_argument("--seed", type=int, default=0, help="of fits and synthesis")
    parser.add_argument("--fold", type=int, default=0, help="whose images are learnt from")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--baselines", nargs="*", default=["cutpaste"])
    parser.add_argument("--scratch", type=Path, required=True, help="working copies, runs and trainings")
    parser.add_argument("--redo", action="store_true", help="fit, paint and train anew")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="torch's threads, shared by the trainings of --jobs")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--csv", type=Path, help="write every training's scores to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    recipe = augment.load_recipe(options.recipe, options.set)
    chosen = {"seeds": tuple(options.seeds), "n": (options.n,), "baselines": tuple(options.baselines)}
    recipe = replace(recipe, benchmark=replace(recipe.benchmark, **chosen))
    parts = []
    for root in options.category:
        root = root.absolute()
        card = find_card(root.parent.name)
        category = read_category(root, card.name if card else root.parent.name, card)
        chosen = [name for name in category.defects if name in (options.types or category.defects)]
        if not chosen:
            raise SystemExit(f"{root} has none of the types {', '.join(options.types)}.")
        category = replace(category, defects={name: category.defects[name] for name in chosen})
        parts.append(measure(one_shot_a_part(category, options.scratch / "data"), recipe, options))
    frame = pd.concat(parts, ignore_index=True)
    print(verdict(frame))
    if options.csv:
        frame = frame.assign(recipe=recipe.name)
        atomic_write_text(options.csv, frame.to_csv(index=False))


if __name__ == "__main__":
    main()
