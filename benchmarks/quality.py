"""Holds the images of synthetic sets against the bars of a set that a factory would ship.

    augment fit path/to/mvtec/bottle --workspace runs
    augment synthesize path/to/mvtec/bottle -n 200 --workspace runs
    python benchmarks/quality.py runs/synthetic/mvtec/bottle/fold0 --csv benchmarks/results/quality.csv

For each defect of each set, and for each set as a whole:

    empty         masks without a pixel; 0 wanted
    off_object    masks of which more lies off the part than of any real defect's mask, by the category's
                  own foreground (augment/data/foreground.py); 0 wanted; a texture has no part to be off.
                  For real defects, a part is no larger than in good images: a rope that hangs over a part's
                  edge is found as part of it
    background    images that differ from their source in a pixel outside the mask; 0 wanted
    iou           median IoU of the mask and what visibly changes; 0.8 wanted
    strength      median change inside the mask; 1 is just visible
    real_apart    the least distance between two real training defects, in the feature space of
                  augment/metrics/likeness.py; not a number where there is one
    nearer        images nearer to a training defect than that; 0 wanted
    would_fail    images that the quality filter turns down, with its default limits

All is measured anew from the files; the manifest is asked only which source, mask and fit were used. Exits
with 1 where a bar of 0 or the 0.8 is missed.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from augment.data.ground import enlarged
from augment.data.images import read_image, read_mask, read_sample
from augment.data.targets import resolve_targets
from augment.jobs.filtering import Filter
from augment.jobs.planning import Planner
from augment.metrics.likeness import describe, distances
from augment.recipe import FilterConfig, Recipe
from augment.workspace import Manifest, Run

ZERO = ("empty", "off_object", "background", "nearer")
IOU = 0.8
COLUMNS = (
    "set", "defect", "images", "empty", "off_object", "background", "iou", "strength", "real_apart", "nearer",
    "would_fail",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="run folders of synthetic sets")
    parser.add_argument("--csv", type=Path, help="file to write the table to")
    options = parser.parse_args()
    rows = [row for folder in options.folders for row in measure(folder)]
    print("  ".join(COLUMNS))
    for row in rows:
        print("  ".join(f"{row[name]:>{len(name)}}" for name in COLUMNS))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    missed = [
        f"{row['set']} {row['defect']}: {name} {row[name]}"
        for row in rows
        for name in (*ZERO, "iou")
        if (row[name] < IOU if name == "iou" else row[name] > 0)
    ]
    if missed:
        raise SystemExit("Missed: " + "; ".join(missed))


def measure(folder: Path) -> list[dict]:
    """The table's rows of one set: one a defect, then one of all."""
    record, recipe = Run.find(folder).info(), Recipe.read(folder / "recipe.yaml")
    entries = Manifest(folder / "manifest.jsonl").entries()
    key = f"{record['dataset']}/{record['category']}"
    found: dict[str, list[dict]] = {}
    apart: dict[str, float] = {}
    for defect in dict.fromkeys(entry["defect"] for entry in entries):
        own = [entry for entry in entries if entry["defect"] == defect]
        quality = _filter(folder, own[0], recipe, record["seed"])
        apart[defect] = _apart(quality.planner)
        found[defect] = list(_images(folder, own, quality, apart[defect]))
    rows = [_row(key, defect, images, apart[defect]) for defect, images in found.items()]
    everything = [image for images in found.values() for image in images]
    return [*rows, _row(key, "all", everything, float(np.nanmin([*apart.values(), np.inf])))]


def _filter(folder: Path, entry: dict, recipe: Recipe, seed: int) -> Filter:
    """The quality filter with its default settings, on."""
    fit_run = Run.find(folder / entry["fit"])
    (target,) = resolve_targets([f"{fit_run.info()['root']}/{entry['defect']}"], None)
    return Filter(Planner.of(target, fit_run, recipe, seed), FilterConfig(enabled=True), folder)


def _apart(planner: Planner) -> float:
    """The least distance between two of the real defects that the fit has seen."""
    real = [describe(*read_sample(sample)) for sample in planner.training]
    gaps = [np.delete(distances(one, real), i) for i, one in enumerate(real)]
    return min((float(gap.min()) for gap in gaps if len(gap)), default=float("nan"))


def _images(folder: Path, entries: list[dict], quality: Filter, apart: float) -> Iterator[dict]:
    foreground, usual = quality.planner.foreground, 0.0
    part_of = foreground.mask
    for sample in quality.planner.training:
        image, mask = read_sample(sample)
        part = part_of(image, sample.image)
        if foreground.is_object and foreground.is_aligned:
            part = part & enlarged(foreground.usual, mask.shape)
        usual = max(usual, _off(mask, part))
    for entry in entries:
        image, source = read_image(folder / entry["image"]), read_image(Path(entry["source"]))
        mask = read_mask(folder / entry["mask"])
        if not mask.any():
            yield {"empty": True}
            continue
        verdict = quality.judge(source, image, mask)
        yield {
            "empty": False,
            "off_object": _off(mask, part_of(source, Path(entry["source"]))) > usual + 1e-9,
            "background": verdict.scores["touched_outside"] > 0,
            "iou": verdict.scores["coverage"],
            "strength": verdict.scores["strength"],
            "nearer": verdict.scores["nearest"] < apart,
            "would_fail": bool(verdict.reasons),
        }


def _off(mask: np.ndarray, part: np.ndarray) -> float:
    """The share of a mask that lies off a part, both bool (H, W)."""
    return float((mask & ~part).sum() / mask.sum())


def _row(key: str, defect: str, images: list[dict], apart: float) -> dict:
    row = {"set": key, "defect": defect, "images": len(images), "real_apart": round(apart, 3)}
    for name in ("empty", "off_object", "background", "nearer", "would_fail"):
        row[name] = sum(bool(image.get(name)) for image in images)
    for name in ("iou", "strength"):
        row[name] = round(float(np.median([image[name] for image in images if name in image] or [0.0])), 3)
    return row


if __name__ == "__main__":
    main()
