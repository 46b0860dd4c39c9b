"""Where target masks come to lie: how much of them is off the part, against the real defects'.

Nothing is fitted or painted: planning needs only the training images and masks. For each defect it plans N
images with and without the foreground (`synthesize.masks.foreground`), and prints of the target masks

    empty     how many hold no pixel
    off       mean share of a mask that lies off the part, and the worst
    beyond    the same, less what lies off of the training mask it was made from, where that lies
    pieces    how many have more pieces than the training mask has (specks and cracks broken apart)
    area      median of target over training mask's pixels

by the category's own foreground and, with --corners, by another measure that had no say in the planning: what
differs from the corners' median colour. A texture has no part to be off; its row says so.

    python benchmarks/placement.py --category mvtec/bottle -n 200 --corners --csv placement.csv
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from artefacts import append_rows
from PIL import Image
from scipy import ndimage

from augment.data.folds import split_defect
from augment.data.foreground import Foreground, find_foreground
from augment.data.images import to_rgb
from augment.data.masks import resize_mask
from augment.data.sample import Target
from augment.data.targets import resolve_targets
from augment.jobs.planning import Plan, Planner
from augment.recipe import Recipe, load_recipe
from augment.report.drawing import TARGET_COLOUR, overlay, save_picture, shrink, shrink_mask, size_within
from augment.workspace import Run

_EIGHT = np.ones((3, 3), dtype=bool)
_CELL, _ACROSS = 200, 5


def planner_of(target: Target, recipe: Recipe, seed: int, fold: int | str) -> Planner:
    """What plans a target's images, as if it had been fitted."""
    samples = split_defect(target.category, target.defect, recipe.data, fold).fit
    record = {"training": [target.name_of(sample) for sample in samples]}
    return Planner.of(target, Run(Path(), record), recipe, seed)


def own_part(known: Foreground, plan: Plan) -> np.ndarray:
    """bool (H, W): the part by the category's foreground."""
    return known.mask(plan.image(), plan.source)


def corner_part(plan: Plan) -> np.ndarray:
    """bool (H, W): what differs from the corners' median colour, its holes filled; the largest piece."""
    image = plan.image()
    side = min(image.shape[:2]) // 16
    pixels = to_rgb(image).astype(np.int16)
    corners = [pixels[rows, columns].reshape(-1, 3) for rows in (slice(side), slice(-side, None))
               for columns in (slice(side), slice(-side, None))]  # fmt: skip
    differs = np.abs(pixels - np.median(np.concatenate(corners), axis=0)).max(-1) > 30
    pieces, count = ndimage.label(differs)
    if not count:
        return np.ones(image.shape[:2], dtype=bool)
    return ndimage.binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def off(mask: np.ndarray, part: np.ndarray) -> float:
    return float((mask & ~part).sum() / max(mask.sum(), 1))


def pieces(mask: np.ndarray) -> int:
    return ndimage.label(mask, _EIGHT)[1]


def measure(planner: Planner, plans: list[Plan], part_of) -> dict[str, float]:
    """The figures of one row; `part_of` gives the part in a plan's image, bool (H, W)."""
    masks = dict(zip(planner.mask_names, planner.masks, strict=True))
    shares, excess, broken, areas = [], [], 0, []
    for plan in plans:
        part = part_of(plan)
        training = resize_mask(masks[plan.mask_source], part.shape)
        shares.append(off(plan.mask, part))
        excess.append(max(0.0, shares[-1] - off(training, part)))
        broken += pieces(plan.mask) > pieces(training)
        areas.append(plan.mask.sum() / training.sum())
    return {
        "n": len(plans),
        "empty": sum(not plan.mask.any() for plan in plans),
        "off_mean": float(np.mean(shares)),
        "off_worst": max(shares),
        "beyond_mean": float(np.mean(excess)),
        "beyond_worst": max(excess),
        "pieces": broken,
        "area": float(np.median(areas)),
    }


def draw(plans: list[Plan], path: Path) -> Path:
    """The first 20 target masks over their images."""
    cells = []
    for plan in plans[:20]:
        size = size_within(plan.mask.shape, _CELL)
        cells.append(overlay(shrink(plan.image(), *size), shrink_mask(plan.mask, *size), TARGET_COLOUR))
    sheet = Image.new("RGB", (_ACROSS * _CELL, -(-len(cells) // _ACROSS) * _CELL), "white")
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % _ACROSS * _CELL, number // _ACROSS * _CELL))
    return save_picture(sheet, path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", required=True, help="path/to/DATASET/CATEGORY[/DEFECT]")
    parser.add_argument("-n", type=int, default=200, help="plans of each defect")
    parser.add_argument("--fold", default=0, type=lambda text: text if text == "all" else int(text))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--corners", action="store_true", help="measure by the corners' colour as well")
    parser.add_argument("--pictures", type=Path, help="a folder for sheets to look at")
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    return parser.parse_args()


def main() -> None:
    options = parse()
    rows, found = [], {}
    for target in resolve_targets([options.category], None):
        known = found.setdefault(target.category.key, find_foreground(target.category))
        print(f"{target.key}: {known}")
        for setting in ("none", "auto"):
            overrides = [f"synthesize.masks.foreground={setting}", *options.overrides]
            recipe = load_recipe(options.recipe, overrides)
            planner = planner_of(target, recipe, options.seed, options.fold)
            if setting == "auto":
                planner = replace(planner, foreground=known)  # which has looked at the images before
            plans = [planner.plan(index) for index in range(options.n)]
            measures = {"foreground": partial(own_part, known)}
            if options.corners:
                measures["corners"] = corner_part
            for name, part_of in measures.items():
                scores = measure(planner, plans, part_of)
                print(f"  {setting:4s} by {name:10s} " + "  ".join(f"{k} {v:.4g}" for k, v in scores.items()))
                rows.append(
                    {
                        "target": target.key,
                        "setting": setting,
                        "kind": "object" if known.is_object else "texture",
                        "measured_by": name,
                        "set": " ".join(options.overrides),
                        "seed": options.seed,
                        **{k: f"{v:.4f}" if isinstance(v, float) else v for k, v in scores.items()},
                    }
                )
            if options.pictures:
                print(draw(plans, options.pictures / f"placement_{target.defect}_{setting}.png"))
    if options.csv:
        append_rows(options.csv, rows)


if __name__ == "__main__":
    main()
