"""Trajectory replay beside the literal algorithm: same model, same seeds, turn by turn in one process.

    augment fit path/to/mvtec/bottle/broken_large --workspace runs
    python benchmarks/replay.py path/to/mvtec/bottle/broken_large --workspace runs -n 16

Prints seconds an image end to end (read, window, encode, invert, sample, refine, paste), their ratio, and the
background error of both: in the latents, and in the decoded window before the composite (0-255 levels).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from augment.backbones.load import load_backbone
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.target_place import target_mask
from augment.data.targets import resolve_targets
from augment.data.windows import crop, window_around
from augment.jobs.painting import PaintJob, as_tensor, paint
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import Recipe
from augment.training import step_generator
from augment.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("-n", type=int, default=16)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    (target,) = resolve_targets([options.target], None)
    folder = Workspace(options.workspace).fit_folder(target.key, 0)
    recipe = Recipe.read(folder / "recipe.yaml")
    recipe = replace(recipe, synthesize=replace(recipe.synthesize, refinement="none"))
    backbone = load_backbone(recipe.backbone, dtype=options.dtype, unet_folder=folder)
    masks = [read_sample(sample)[1] for sample in target.samples]
    category = target.category

    def jobs(start: int, count: int) -> list[PaintJob]:
        made = []
        for index in range(start, start + count):
            rng = np.random.default_rng(index)
            image = read_image(category.train_good[index % len(category.train_good)].image)
            mask = target_mask(masks, image.shape[:2], recipe.synthesize.masks, rng)
            made.append(PaintJob(image, mask, step_generator(0, index)))
        return made

    methods, seconds, errors = {}, {}, {}
    for mode in ("replay", "predict"):
        config = replace(recipe.synthesize, background=mode)
        words = category.words, category.defect_words[target.defect]
        methods[mode] = DisentangledInversion(backbone, *words, recipe.fit, config)
        seconds[mode], errors[mode] = [], []
        paint(methods[mode], jobs(0, 1), recipe)  # warm up
    size = recipe.synthesize.batch_size
    for _ in range(options.rounds):
        for mode, method in methods.items():
            started = time.perf_counter()
            for start in range(0, options.n, size):
                results = paint(method, jobs(start, min(size, options.n - start)), recipe)
                errors[mode] += [result.background_error for result in results]
            seconds[mode].append((time.perf_counter() - started) / options.n)

    steps = recipe.synthesize.num_inference_steps
    print(f"{target.key}, {steps} steps, batch {size}, {torch.get_num_threads()} threads")
    job = jobs(0, 1)[0]
    window = window_around(job.mask, recipe.window)
    patch = crop(to_rgb(job.image), window, recipe.backbone.resolution)
    mask = crop(job.mask, window, recipe.backbone.resolution, is_mask=True)
    for mode, method in methods.items():
        pixels = torch.from_numpy(mask)[None, None].float()
        image = method.generate(as_tensor([patch]), pixels, [step_generator(0, 0)]).images[0]
        gap = (image.movedim(0, -1).cpu().numpy() * 255 - patch)[~mask]
        times = ", ".join(f"{t:.2f}" for t in seconds[mode])
        print(
            f"{mode:8s} {np.median(seconds[mode]):.2f} s an image ({times}); background error: "
            f"latents {np.mean(errors[mode]):.4f}, decoded {np.sqrt((gap**2).mean()):.2f} levels"
        )
    print(f"replay is {np.median(seconds['predict']) / np.median(seconds['replay']):.2f}x as fast")


if __name__ == "__main__":
    main()
