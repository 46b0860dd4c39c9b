"""What the fit's tricks are worth: the loss on defects that a fit has not seen.

    python benchmarks/held_out_loss.py fit --category mvtec/bottle --types broken_large --scratch SCRATCH

Each variant of a suite (`benchmarks/suites`; those that change the fit) is fitted on a fold's images, and
Eq. 5 is computed on the fold's held-out images: as shipped, whatever the variant's own weighting, and for all
variants with the same windows, noise and timesteps. Far less noisy than training a detector, but no proof
that one gains by it.

    loss             mean over the batches
    defect_term      its first part: how well the defect is known
    background_term  its second part
    difference       to the suite's first variant, mean over the batches, with its standard error
    seconds          of the fit; where several types share one, its part of them
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from suite import find_suite, read

import augment
from augment.backbones.load import load_backbone
from augment.data.folds import split_defect
from augment.data.references import References
from augment.data.sample import Target
from augment.jobs.training_windows import TrainingWindows
from augment.progress import make_progress
from augment.recipe import Recipe
from augment.registry import METHODS
from augment.training import step_generator
from augment.workspace import Workspace, atomic_write_text

SEED = 1000  # of the held-out windows and their noise; fits have others


def held_out_losses(target: Target, folder: Path, judge: Recipe, fold: int, batches: int) -> np.ndarray:
    """(batches, 2) both terms of Eq. 5 of a fit on what it has not seen."""
    backbone = load_backbone(judge.backbone, "cpu", "auto", unet_folder=folder)
    category = target.category
    images = split_defect(category, target.defect, judge.data, fold)
    normals = category.train_good[-judge.fit.normal_images :]
    references = References(normals if backbone.is_inpainting else ())
    windows = TrainingWindows.encode(backbone, images.test, normals, references, judge, SEED, target.key)
    words = category.words, category.defect_words[target.defect]
    terms = []
    for fit in (replace(judge.fit, normal_batch_size=0), replace(judge.fit, batch_size=0)):
        method = METHODS.get(fit.method)(backbone, *words, fit, judge.synthesize)
        losses = []
        for step in range(batches):
            generator = step_generator(SEED, step)
            with torch.no_grad():
                losses.append(float(method.loss(windows.batch(fit, generator), generator)))
        terms.append(losses)
    both, background = np.array(terms)
    return np.stack([both - background, background], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", help="a name in benchmarks/suites, or a YAML file")
    parser.add_argument("--category", type=Path, required=True)
    parser.add_argument("--types", nargs="+", help="defects that count; all")
    parser.add_argument("--variants", nargs="+", help="only these; the suite's first always")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the fits")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--csv", type=Path, help="rows are added to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    suite = find_suite(options.suite)
    first, *_ = suite["variants"]
    chosen = {
        name: values
        for name, values in suite["variants"].items()
        if name == first or name in (options.variants or suite["variants"])
    }
    category = read(options.category, options.types)
    targets = [Target(category, defect) for defect in sorted(category.defects)]
    judge = augment.load_recipe(suite["recipe"])
    rows = []
    for seed in options.seeds:
        shipped = {}
        for name, values in chosen.items():
            recipe = augment.load_recipe(
                suite["recipe"], [f"{key}={json.dumps(value)}" for key, value in values.items()]
            )
            place = Workspace(options.scratch / f"seed{seed}" / name.replace(" ", "_"))
            fits = augment.fit(
                targets, recipe, place, seed=seed, fold=options.fold, progress=make_progress()
            )  # one for all where they are learnt together
            for target, fit in zip(targets, fits * (len(targets) // len(fits)), strict=True):
                terms = held_out_losses(target, fit.folder, judge, options.fold, options.batches)
                gap = (terms - shipped.setdefault(target.key, terms)).sum(axis=1)
                rows.append(
                    {
                        "target": target.key,
                        "variant": name,
                        "seed": seed,
                        "fold": options.fold,
                        "loss": terms.sum(axis=1).mean(),
                        "defect_term": terms[:, 0].mean(),
                        "background_term": terms[:, 1].mean(),
                        "difference": gap.mean(),
                        "standard_error": gap.std(ddof=1) / len(gap) ** 0.5,
                        "training_loss": fit.loss,
                        "seconds": fit.seconds * len(fits) / len(targets),
                    }
                )
                print(
                    pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1), flush=True
                )
    if options.csv:
        frame = pd.DataFrame(rows).round(4)
        old = [pd.read_csv(options.csv)] if options.csv.exists() else []
        atomic_write_text(options.csv, pd.concat([*old, frame]).to_csv(index=False))


if __name__ == "__main__":
    main()
