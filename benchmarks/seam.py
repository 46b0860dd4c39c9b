"""Can a classifier tell a pasted defect by its border? Patches of it, real against composited ones.

    python benchmarks/seam.py --run runs/synthetic/mvtec/bottle/fold0 --weights path/to/resnet18.pth \\
        --csv seam.csv

From every real defect image of a type, and every synthetic one, square patches are cut at native resolution
around points of the mask's border, evenly spaced along it. Two classifiers learn to tell the two kinds apart:

    network   logistic regression on resnet18's first two stages, pooled inside and outside of the border
    profile   boosted trees on what a seam would change: gradient, fine detail and brightness against the
              signed distance to the border

and are scored by AUROC on images that they have not seen: in turns over five folds, all images of one part
and all composites on one good image in the same fold. 0.5: no seam to be seen. The bar is 0.6.

Four rows for each classifier:

    real:composited     the figure
    real:pasted         what the composites started from, a real defect's own pixels moved to the place and
                        blended in without a model (`--outline target`): what is left to the model to spoil
    real:untouched      the good images as they were, at the same borders: what can be told without any paste
    real:real           the real images at random in two halves: what the figure is by chance (mean of three)

A real mask is drawn by hand, smooth and some pixels off the defect's edge; a composite's refined mask follows
what was changed, raggedly. That can be told, seam or not. `--outline` says which borders are compared:

    target    a composite's target mask, which is a real defect's mask moved: the outlines of both kinds are
              drawn by the same hands, as far from what they enclose. The paste ends inside or on it.
              Composites are in the fold of the real defect they started from; those that started from two
              are left out, for they would have to be in two.
    refined   the refined mask, an upper limit of what the seam shows

Both kinds are first drawn anew with one broad pen (`--as-drawn`: not), which takes raggedness away.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from artefacts import append_rows
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from augment.data.images import read_image, read_mask, to_rgb
from augment.data.masks import feather
from augment.data.parts import part_groups
from augment.data.targets import resolve_categories, resolve_targets
from augment.jobs.painting import FEATHER_SHARE
from augment.jobs.planning import Planner
from augment.recipe import Recipe
from augment.workspace import Manifest, Run

SIDE, POINTS, FOLDS, REPEATS = 48, 12, 5, 3
_EDGES = (-16, -10, -6, -3, -1, 0, 1, 3, 6, 10, 16)  # of the profile's bins, pixels, negative inside
_PEN = 4.0  # radius, pixels
_BAR = 0.6


@dataclass(frozen=True)
class Patches:
    """Of one kind of image: (n, SIDE, SIDE, 3) uint8, signed distances (n, SIDE, SIDE), groups (n,)."""

    pixels: np.ndarray
    distances: np.ndarray
    groups: np.ndarray


def border_points(mask: np.ndarray, count: int) -> np.ndarray:
    """(n, 2) rows and columns, at most `count`, evenly along the mask's border; the image's edge is none."""
    edge = mask & ~ndimage.binary_erosion(mask, border_value=1)
    points = np.argwhere(edge)
    if len(points) <= count:
        return points
    chosen = [0]  # the point farthest from those chosen, again and again
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return points[chosen]


def redrawn(mask: np.ndarray) -> np.ndarray:
    """A mask with its bays filled and its outline smoothed, whoever drew it."""
    closed = ndimage.distance_transform_edt(~mask) <= _PEN
    closed = ndimage.distance_transform_edt(np.pad(closed, 1, mode="edge"))[1:-1, 1:-1] > _PEN
    smooth = ndimage.gaussian_filter((closed | mask).astype(np.float32), _PEN, truncate=2.5) >= 0.5
    return smooth if smooth.any() and not smooth.all() else mask


def cut(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches around a mask's border, and the signed distances to it there, negative inside."""
    half = SIDE // 2
    pixels = np.pad(to_rgb(image), [(half, half), (half, half), (0, 0)], mode="reflect")
    around = np.pad(mask, half, mode="edge")
    cuts, distances = [], []
    for y, x in border_points(mask, POINTS):
        window = slice(y, y + SIDE), slice(x, x + SIDE)
        inside = around[window]  # the border is in its middle, so what lies outside of it is never nearer
        signed = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
        cuts.append(pixels[window])
        distances.append(signed + np.where(inside, 0.5, -0.5))
    return np.stack(cuts), np.stack(distances)


def collect(images: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> Patches:
    """Patches of (image, mask, group) triples."""
    cuts = [cut(image, mask) for image, mask, _ in images]
    groups = [[group] * len(pixels) for (pixels, _), (_, _, group) in zip(cuts, images, strict=True)]
    pixels, distances = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
    return Patches(pixels, distances, np.concatenate(groups))


def planned(
    folder: Path, run: Run, entries: Sequence[dict]
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Of each composite of one defect, planned again: the target mask without its margin, the start pasted.

    Returns:
        Masks, bool (H, W), and images, uint8 (H, W, 3); None: it started from noise.
    """
    fit_run = Run.find(folder / entries[0]["fit"])
    (target,) = resolve_targets([f"{fit_run.info()['root']}/{entries[0]['defect']}"], None)
    recipe = Recipe.read(folder / "recipe.yaml")
    planner = Planner.of(target, fit_run, recipe, run.info()["seed"])
    plans = [planner.plan(entry["index"], entry.get("attempt", 0)) for entry in entries]
    for plan, entry in zip(plans, entries, strict=True):
        if plan.mask.sum() != entry["target_pixels"]:
            raise SystemExit(f"{entry['id']}: its target mask cannot be found again.")
    masks, images = [], []
    for plan in plans:
        depth = ndimage.distance_transform_edt(plan.mask)
        masks.append(depth > round(min(recipe.synthesize.feather, FEATHER_SHARE * depth.max())))
        alpha = feather(plan.mask, recipe.synthesize.feather, FEATHER_SHARE)[..., None]
        image = to_rgb(plan.image())
        for piece in plan.pieces:
            blend, part = alpha[piece.window.slices], image[piece.window.slices]
            if piece.example is not None:
                part[:] = np.rint((1 - blend) * part + blend * piece.example)
        images.append(image if all(piece.example is not None for piece in plan.pieces) else None)
    return masks, images


def profiles(patches: Patches) -> np.ndarray:
    """(n, features): how gradient, fine detail and brightness go along the way across the border."""
    pixels = patches.pixels.astype(np.float32)
    grey = pixels.mean(axis=3)
    gradient = np.stack([ndimage.gaussian_gradient_magnitude(patch, 0.8) for patch in grey])
    detail = np.abs(grey - ndimage.gaussian_filter(grey, (0, 1, 1)))
    middle = grey.mean(axis=(1, 2), keepdims=True)
    layers = [np.log1p(gradient), np.log1p(detail), grey - middle, np.ptp(pixels, axis=3)]
    features = []
    for low, high in pairwise(_EDGES):
        within = (patches.distances >= low) & (patches.distances < high)
        count = np.maximum(within.sum(axis=(1, 2)), 1)
        features += [(layer * within).sum(axis=(1, 2)) / count for layer in layers]
    return np.stack(features, axis=1)


def stages(weights: Path) -> list[nn.Module]:
    """resnet18 up to its first stage, and its second."""
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=False)
    first = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool, network.layer1)
    return [first.eval(), network.layer2.eval()]


@torch.inference_mode()
def network_features(patches: Patches, network: list[nn.Module]) -> np.ndarray:
    """(n, features): both stages' maps, averaged within 8 pixels inside and 8 outside of the border."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found = []
    for start in range(0, len(patches.pixels), 64):
        batch = torch.from_numpy(patches.pixels[start : start + 64]).float() / 255
        maps = ((batch - mean) / std).movedim(-1, 1)
        distance = torch.from_numpy(patches.distances[start : start + 64])[:, None].float()
        zones = torch.cat([(distance > -8) & (distance < 0), (distance > 0) & (distance < 8)], 1).float()
        parts = []
        for stage in network:
            maps = stage(maps)
            weight = nn.functional.adaptive_avg_pool2d(zones, maps.shape[-2:]) + 1e-4  # (n, 2, h, w)
            pooled = torch.einsum("nchw,nzhw->nzc", maps, weight) / weight.sum(dim=(2, 3))[..., None]
            parts.append(pooled.flatten(1))
        found.append(torch.cat(parts, 1).numpy())
    return np.concatenate(found)


def held_out_auroc(
    kind: str, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> float:
    """AUROC of patches, each scored by a classifier that has seen none of its group."""
    scores = np.zeros(len(labels))
    folds = _folds(labels, groups, seed)
    for held in folds:
        if kind == "network":
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=0.01, max_iter=200, class_weight="balanced")
            )
        else:
            model = HistGradientBoostingClassifier(
                max_iter=80, max_depth=3, learning_rate=0.1, class_weight="balanced", random_state=seed
            )
        model.fit(features[~held], labels[~held])
        scores[held] = model.predict_proba(features[held])[:, 1]
    return float(np.mean([roc_auc_score(labels[f], scores[f]) for f in folds]))


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """FOLDS bool arrays, each True on the patches held out; each holds both labels, groups are undivided."""
    fold_of: dict[str, int] = {}
    for label in (0, 1):
        rows = np.flatnonzero((labels == label) & ~np.isin(groups, list(fold_of)))
        if not len(rows):
            continue
        splitter = GroupKFold(FOLDS, shuffle=True, random_state=seed)
        for number, (_, out) in enumerate(splitter.split(rows, groups=groups[rows])):
            fold_of |= dict.fromkeys(groups[rows[out]], number)
    numbers = np.array([fold_of[group] for group in groups])
    return [numbers == number for number in range(FOLDS)]


def halves(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A label, 0 or 1, for each patch: whole groups at random, about half of each."""
    names = rng.permutation(np.unique(groups))
    return np.isin(groups, names[: len(names) // 2]).astype(int)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a run folder of `synthesize`")
    parser.add_argument("--category", help="path/to/DATASET/CATEGORY of the real images; default: the run's")
    parser.add_argument("--defect", action="append", help="only this type; repeatable")
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's resnet18, a state dict")
    parser.add_argument("--outline", choices=["target", "refined"], default="target", help="of composites")
    parser.add_argument("--as-drawn", action="store_true", help="outlines as they are")
    parser.add_argument("--name", default="", help="of the set, for the CSV")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    run = Run.find(options.run)
    if run is None:
        raise SystemExit(f"{options.run} holds no run of `augment synthesize`.")
    (category,) = resolve_categories([options.category or run.info()["root"]], None)
    drawn = (lambda mask: mask) if options.as_drawn else redrawn
    labels_of = part_groups(category).labels
    network = stages(options.weights)
    entries = list(Manifest(options.run / "manifest.jsonl").entries())
    rows = []
    for defect in options.defect or sorted({entry["defect"] for entry in entries}):
        chosen = [entry for entry in entries if entry["defect"] == defect]
        if options.outline == "target":
            chosen = [entry for entry in chosen if "second_example" not in entry]
        real = collect(
            [
                (read_image(s.image), drawn(read_mask(s.mask)), f"part {labels_of[s.image]}")
                for s in category.defects[defect]
            ]
        )
        sources = [Path(entry["source"]) for entry in chosen]
        if options.outline == "target":
            if Recipe.read(options.run / "recipe.yaml").synthesize.masks.folder is not None:
                raise SystemExit(f"{defect} was painted in masks of the user's own: use --outline refined.")
            masks, starts = planned(options.run, run, chosen)
            part_of = {s.image.name: f"part {labels_of[s.image]}" for s in category.defects[defect]}
            groups = [part_of[Path(entry["example"]).name] for entry in chosen]
        else:
            masks, starts = [read_mask(options.run / entry["mask"]) for entry in chosen], [None]
            groups = [source.name for source in sources]
        masks = [drawn(mask) for mask in masks]
        good = {sample.image.name: sample.image for sample in category.train_good}
        made, untouched = (
            collect([(read_image(p), m, g) for p, m, g in zip(paths, masks, groups, strict=True)])
            for paths in (
                [options.run / entry["image"] for entry in chosen],
                [good[source.name] for source in sources],
            )
        )
        sets = {"composited": made, "untouched": untouched}
        if all(start is not None for start in starts):
            sets["pasted"] = collect(list(zip(starts, masks, groups, strict=True)))
        for kind in ("network", "profile"):
            seen, *others = (
                profiles(p) if kind == "profile" else network_features(p, network)
                for p in (real, *sets.values())
            )
            figures = {}
            for (name, other), theirs in zip(sets.items(), others, strict=True):
                labels = np.repeat([0, 1], [len(real.pixels), len(other.pixels)])
                both, values = np.concatenate([real.groups, other.groups]), np.concatenate([seen, theirs])
                figures[f"real:{name}"] = held_out_auroc(kind, values, labels, both, options.seed)
            rng = np.random.default_rng(options.seed)
            splits = [halves(real.groups, rng) for _ in range(REPEATS)]
            chance = [held_out_auroc(kind, seen, s, real.groups, options.seed) for s in splits]
            figures["real:real"] = float(np.mean(chance))
            for name, value in figures.items():
                over = "" if name != "real:composited" or value <= _BAR else f"  above the bar of {_BAR}"
                print(f"{category.key}/{defect} {kind:8s} {name:16s} {value:.3f}{over}", flush=True)
                rows.append(
                    {
                        "target": f"{category.key}/{defect}",
                        "set": options.name or str(run.info().get("revision")),
                        "classifier": kind,
                        "outline": f"{options.outline}, {'as drawn' if options.as_drawn else 'redrawn'}",
                        "what": name,
                        "auroc": f"{value:.4f}",
                        "real_images": len(category.defects[defect]),
                        "composites": len(chosen),
                        "patches": len(real.pixels) + len(made.pixels),
                        "seed": options.seed,
                    }
                )
    if options.csv:
        append_rows(options.csv, rows)


if __name__ == "__main__":
    main()
