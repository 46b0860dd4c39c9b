"""Do the synthetic images help a detector, and more than CutPaste does?

    python benchmarks/uplift.py --category mvtec/bottle --scratch SCRATCH
    python benchmarks/uplift.py --category magnetic_tile/tile --types crack blowhole break --scratch SCRATCH

The U-Net detector is trained on a category's good and real defect images of fold 0 ("real-only"), on these
and images by the recipe's method ("real+augment"), and on these and CutPaste's with the same target masks and
count ("real+cutpaste"); all types of a category are pooled, and every column of a seed starts from the same
weights and is tested on the same images. Of shots of one physical part (`augment.data.duplicates`) one is
kept, so that no part is on both sides of the split.

The bar: "real+augment" is at least 5 points of pixel AP above "real-only" on the mean of the seeds, and above
"real+cutpaste". What is finished in the scratch folder is kept; --redo fits and paints the method anew.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import augment
from augment.data.cards import find_card
from augment.data.duplicates import group_near_duplicates
from augment.data.held_out import Split, files_of, make_split
from augment.data.images import file_sha256, read_image
from augment.data.layouts import read_category
from augment.data.sample import Category, Sample, Target
from augment.devices import choose_device
from augment.jobs.benchmark import SCORES, _train_and_score
from augment.progress import no_progress
from augment.recipe import Recipe
from augment.registry import DETECTORS
from augment.workspace import Manifest, Workspace, atomic_write_json, atomic_write_text

COLUMNS = ("real-only", "real+cutpaste", "real+augment")
FOLD = 0
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


def synthetic_split(
    column: str, category: Category, recipe: Recipe, n: int, seed: int, scratch: Path, device: str
) -> Split:
    """The split with a column's synthetic images, which are fitted and painted if they are not there."""
    generator = "cutpaste" if column != "real+augment" else "augment"
    if generator == "cutpaste":
        recipe = replace(recipe, fit=replace(recipe.fit, method="cutpaste"))
    recipe = replace(recipe, benchmark=replace(recipe.benchmark, synthetic_per_defect=n))
    workspace = Workspace(scratch / generator)
    targets = [Target(category, defect) for defect in sorted(category.defects)]
    if not _is_painted(workspace, category, n):
        started = time.monotonic()
        augment.fit(targets, recipe, workspace, seed=seed, fold=FOLD, device=device)
        fitted = time.monotonic()
        augment.synthesize(targets, n, recipe, workspace, seed=seed, fold=FOLD, device=device)
        print(
            f"{generator}: fit {fitted - started:.0f} s, {n} images of {len(targets)} types "
            f"{time.monotonic() - fitted:.0f} s",
            file=sys.stderr,
        )
    if column == "real+augment":
        _check_same_masks(category, workspace, Workspace(scratch / "cutpaste"), n)
    return make_split(category, recipe, workspace, FOLD)


def _check_same_masks(category: Category, ours: Workspace, theirs: Workspace, n: int) -> None:
    """Stop where CutPaste's set was painted on other images or masks."""
    plans = []
    for workspace in (ours, theirs):
        folder = workspace.synthetic_folder(category.key, FOLD)
        plans.append(
            {
                entry["id"]: (entry["source_sha256"], entry["mask_source"], entry["target_pixels"])
                for entry in Manifest(folder / "manifest.jsonl").entries()
                if entry["index"] < n
            }
        )
    if plans[1] and plans[0] != plans[1]:
        raise SystemExit(
            f"{theirs.root} was painted on other images or masks (another recipe?): remove that folder and "
            "run again."
        )


def _is_painted(workspace: Workspace, category: Category, n: int) -> bool:
    entries = Manifest(workspace.synthetic_folder(category.key, FOLD) / "manifest.jsonl").entries()
    counts = [sum(entry["defect"] == defect for entry in entries) for defect in category.defects]
    return min(counts) >= n


def train(
    column: str, part: Split, recipe: Recipe, seed: int, device: str, scratch: Path
) -> list[dict[str, object]]:
    """The scores of one training, pooled and of each type; read back where they are there."""
    training = "real-only" if column == "real-only" else "real+synthetic"
    code = file_sha256(Path(inspect.getfile(DETECTORS.get("unet"))))  # another detector, another training
    settings = json.dumps([asdict(recipe.benchmark.unet), recipe.benchmark.aupro_limit, column, seed, code])
    digest = hashlib.sha256((settings + part.digest(training)).encode()).hexdigest()
    path = scratch / "trainings" / f"{digest[:24]}.json"
    if not path.exists():
        detector = DETECTORS.get("unet")(recipe.benchmark, seed=seed, device=device)
        started = time.monotonic()
        rows, _ = _train_and_score(detector, part, training, recipe.benchmark.aupro_limit, no_progress)
        print(f"{column}, seed {seed}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        atomic_write_json(path, {"column": column, "seed": seed, "rows": rows})
    rows = json.loads(path.read_text())["rows"]
    return [{"column": column, "seed": seed, **row} for row in rows]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Points: mean and deviation over the seeds of each column, and of its differences to real-only."""
    lines = []
    for (category, defect), part in rows.groupby(["category", "defect"], sort=False):
        base = part[part["column"] == "real-only"].set_index("seed")
        for column, own in part.groupby("column", sort=False):
            scores, counts = own.set_index("seed"), own.iloc[0]
            line = {"category": category, "defect": defect, "column": column, "seeds": len(own)}
            line |= {name: int(counts[name]) for name in ("n_real", "n_synthetic", "n_test")}
            for name in SCORES:
                change = 100 * (scores[name] - base[name]).dropna()
                line |= {
                    name: 100 * scores[name].mean(),
                    f"{name}_std": 100 * scores[name].std(ddof=1),
                    f"{name}_gain": change.mean(),
                    f"{name}_gain_std": change.std(ddof=1),
                }
            lines.append(line)
    return pd.DataFrame(lines)


def describe(figures: pd.DataFrame) -> str:
    """The figures as text: score +- deviation (gain on real-only)."""
    shown = ("pixel_ap", "pixel_auroc", "pixel_f1", "pixel_aupro", "image_auroc")
    lines = [f"{'category/type':32s}{'column':16s}" + "".join(f"{name:>26s}" for name in shown)]
    for line in figures.to_dict("records"):
        cells = [
            f"{line[name]:.1f} +-{line[f'{name}_std']:.1f} "
            f"({line[f'{name}_gain']:+.1f} +-{line[f'{name}_gain_std']:.1f})"
            for name in shown
        ]
        name = f"{line['category']}/{line['defect']}"
        lines.append(f"{name:32s}{line['column']:16s}" + "".join(f"{cell:>26s}" for cell in cells))
    return "\n".join(lines)


def verdict(figures: pd.DataFrame) -> str:
    """The bar, for each category and for the mean over categories; of the pooled rows."""
    pooled = figures[figures["defect"] == "all"].pivot(
        index="category", columns="column", values="pixel_ap_gain"
    )
    if len(pooled) > 1:
        pooled.loc["mean"] = pooled.mean()
    lines = []
    for name, gain in pooled.iterrows():
        if "real+augment" not in gain or "real+cutpaste" not in gain:
            lines.append(f"{name}: no verdict yet, not all columns are there")
            continue
        ours, theirs = gain["real+augment"], gain["real+cutpaste"]
        met = ours >= BAR and ours > theirs
        lines.append(
            f"{name}: pixel AP {ours:+.1f} points on real-only (bar {BAR:+.0f}), cutpaste {theirs:+.1f}: "
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
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--scratch", type=Path, required=True, help="working copies, runs and trainings")
    parser.add_argument("--redo", action="store_true", help="fit and paint the recipe's method anew")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--csv", type=Path, help="write every training's scores to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    recipe = augment.load_recipe(options.recipe, options.set)
    device = str(choose_device(options.device))
    if options.redo:
        shutil.rmtree(options.scratch / "augment", ignore_errors=True)
    rows: list[dict[str, object]] = []
    for root in options.category:
        root = root.absolute()
        card = find_card(root.parent.name)
        category = read_category(root, card.name if card else root.parent.name, card)
        chosen = [name for name in category.defects if name in (options.types or category.defects)]
        if not chosen:
            raise SystemExit(f"{root} has none of the types {', '.join(options.types)}.")
        category = replace(category, defects={name: category.defects[name] for name in chosen})
        category = one_shot_a_part(category, options.scratch / "data")
        for column in options.columns:
            part = synthetic_split(column, category, recipe, options.n, options.seed, options.scratch, device)
            for seed in options.seeds:
                scores = train(column, part, recipe, seed, device, options.scratch)
                rows += [{"category": category.key, **row} for row in scores]
    frame = pd.DataFrame(rows)
    figures = table(frame)
    print(describe(figures))
    print(verdict(figures))
    if options.csv:
        frame = frame.assign(recipe=recipe.name, n=options.n)
        atomic_write_text(options.csv, frame.to_csv(index=False))


if __name__ == "__main__":
    main()
