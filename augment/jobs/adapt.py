"""Category adaptation: what the part looks like, learnt from its good images once, before any of its defects.

The U-Net learns to refill random holes of good images under the background prompt, and Eq. (5)'s second term
on the same images. Every defect of the category is then fitted from these weights. Only `train/good` is read,
so no fold's test image is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from augment.backbones.backbone import Backbone
from augment.data.images import file_sha256
from augment.data.sample import Category, Sample
from augment.jobs.training_loop import finish_run, loss_terms, make_trainer, train_run
from augment.jobs.training_windows import TrainingWindows
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.progress import Progress
from augment.recipe import Recipe
from augment.report.pictures import loss_curve
from augment.training import step_generator
from augment.workspace import Run, Workspace, locked

_ADAPT = 1  # keeps the random numbers apart from a fit's
_SECTIONS = (
    "backbone",
    "adapt",
    "window.minimum",
    *(
        f"fit.{name}"
        for name in (
            "background_prompt",
            "masked_prompt",
            "region_weighting",
            "min_snr_gamma",
            "optimizer",
            "crop_share",
            "crop_cells",
            "flips",
            "mask_dilation",
            "mask_background_keys",
        )
    ),
)


def adapt(
    category: Category,
    recipe: Recipe,
    workspace: Workspace,
    backbone: Backbone,
    *,
    seed: int = 0,
    force: bool = False,
    progress: Progress,
) -> Run | None:
    """Adapt the backbone's U-Net, in place, to a category's good images.

    What is done is loaded; what was interrupted goes on from its checkpoint.

    Args:
        category: its `train/good` is used.
        recipe: sections backbone and adapt, and the fit's prompts and crops.
        workspace: where the adapted U-Net is kept for the category's other defects.
        backbone: freshly loaded.
        seed: of all randomness.
        force: redo it.
        progress: makes the bar.

    Returns:
        The run, or None where the recipe asks for no adaptation or there are no good images.
    """
    config, good = recipe.adapt, category.train_good
    if not config.steps or not good:
        return None
    chosen = np.random.default_rng([seed, len(good), _ADAPT]).choice(
        len(good), min(config.images, len(good)), replace=False
    )
    samples = [good[i] for i in sorted(chosen)]
    folder = workspace.adapted_folder(category.key)
    with ExitStack() as locks:
        if force or not Run.is_done(folder):
            locks.enter_context(locked(folder))
        run = Run.open(
            folder,
            recipe,
            _SECTIONS,
            seed,
            sources={str(sample.image): file_sha256(sample.image) for sample in samples},
            force=force,
            extra={"kind": "adapt", "dataset": category.dataset, "category": category.name},
        )
        if not run.done:
            _train(run, category, samples, recipe, backbone, seed, progress)
    backbone.load_unet(run.folder)  # also what was just trained: in half precision, as later on
    return run


def _train(
    run: Run,
    category: Category,
    samples: Sequence[Sample],
    recipe: Recipe,
    backbone: Backbone,
    seed: int,
    progress: Progress,
) -> None:
    """Train the U-Net on the samples and write it to the run folder."""
    config = recipe.adapt
    fit = replace(
        recipe.fit,
        batch_size=0,
        normal_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        regulariser_batch_size=config.regulariser_batch_size,
        prior_preservation=True,
        defect_prompt=recipe.fit.background_prompt,
    )
    method = DisentangledInversion(backbone, category.words, "", fit, recipe.synthesize)
    windows = TrainingWindows.of_good_images(
        backbone, samples, replace(recipe, fit=fit), config.windows_per_image, seed
    )
    trainer = make_trainer(backbone, fit)

    def loss_of(step: int):
        generator = step_generator(seed, _ADAPT, step)
        return loss_terms(method, windows.batch(fit, generator), generator, recipe.memory.training_rows)

    desc = f"adapt to {category.key}"
    seconds = train_run(run, trainer, loss_of, config.steps, fit.checkpoint_every, desc, progress)
    backbone.unet.eval()
    trainer.keep_average()
    backbone.save_unet(run.folder)
    loss_curve(trainer.losses, run.folder / "loss.png")
    finish_run(run, trainer, seconds)
