"""The first job: learn defects, each from a handful of images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from augment.backbones.backbone import Backbone
from augment.backbones.load import load_backbone
from augment.backbones.memory import explained_out_of_memory, settle_memory
from augment.backbones.weights import attach_adapter, detach_adapter
from augment.data.folds import Fold
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.references import References
from augment.data.sample import Target
from augment.devices import split_devices
from augment.errors import RecipeError
from augment.jobs.adapt import adapt
from augment.jobs.lessons import Lesson, lessons_of, normal_samples, open_run, type_of_step
from augment.jobs.painting import PaintJob, paint
from augment.jobs.spread_fit import fit_on_devices
from augment.jobs.training_loop import finish_run, loss_terms, make_trainer, train_run
from augment.jobs.training_windows import TrainingWindows
from augment.methods.base import Method
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.registry import METHODS
from augment.report.pictures import contact_sheet, loss_curve
from augment.training import step_generator
from augment.workspace import Run, Workspace

log = logging.getLogger(__name__)
_PREVIEWS = 4


@dataclass(frozen=True)
class FitResult:
    """One fit: a learned defect, or several learned together.

    Attributes:
        key: DATASET/CATEGORY/DEFECT, the defect as `crack+scratch` where they are several.
        fold: which fold's images it has seen; "all": every one.
        folder: the run folder; holds `unet/` (all weights, or a low-rank change), `loss.png`, `sheet.png`,
            `run.json`, `recipe.yaml`.
        seconds: time spent training, all sessions together.
        steps: optimizer steps made.
        loss: mean loss of the last tenth of the steps.
        skipped: it was done before.
        sheet: a picture of defects painted with it.
        defects: what it has learnt.
    """

    key: str
    fold: int | str
    folder: Path
    seconds: float
    steps: int
    loss: float
    skipped: bool
    sheet: Path
    defects: tuple[str, ...] = ()


def fit(
    targets: Sequence[Target],
    recipe: Recipe,
    workspace: Workspace,
    *,
    seed: int = 0,
    fold: int | str = 0,
    device: str = "auto",
    dtype: str = "auto",
    force: bool = False,
    progress: Progress = no_progress,
) -> list[FitResult]:
    """Learn each target's defect from the images of its fold, or with `fit.together` a category's in one fit.

    What is done is skipped; what was interrupted goes on from its last checkpoint and ends with the same
    weights as an unbroken run.

    Args:
        targets: what to learn.
        recipe: sections backbone, window, data, adapt, fit and memory; what it leaves to the memory mode is
            settled here.
        workspace: where the runs live.
        seed: of all randomness.
        fold: a fold of the recipe's protocol, or "all".
        device: as for `load_backbone`; several, as `cuda:0,cuda:1` or `all`, make a fit each at a time.
        dtype: as for `load_backbone`.
        force: redo what is done.
        progress: makes progress bars.

    Returns:
        One result a target, with `fit.together` one a category.

    Raises:
        AugmentError: unusable images, a run with other settings in the workspace, or one that another process
            works on, missing weights.
    """
    devices = split_devices(device)
    settled = settle_memory(recipe, ",".join(devices))
    if settled.adapt.steps and settled.fit.tuning != "full":
        raise RecipeError(
            f"fit.tuning={settled.fit.tuning} changes the model as it is downloaded, and adapt.steps="
            f"{settled.adapt.steps} changes that first. Use --set adapt.steps=0, or --set fit.tuning=full."
        )
    # What decides the result is kept with the run; how it was fitted into memory is its record's.
    recipe = replace(settled, memory=recipe.memory)
    lessons = lessons_of(targets, recipe.fit.together)
    with ExitStack() as locks, explained_out_of_memory(settled.memory.mode):
        runs = []
        for lesson in lessons:  # all checks before the first long step
            splits = lesson.splits(recipe, fold, progress)
            run = open_run(lesson, splits, recipe, settled.memory, workspace, seed, fold, force, locks)
            runs.append((lesson, splits, run))
        if len(devices) == 1:
            return _fit_runs(runs, settled, workspace, seed, fold, (devices[0], dtype), force, progress)
    shared = {"seed": seed, "fold": fold, "dtype": dtype, "force": force, "progress": progress}
    return fit_on_devices(devices, lessons, recipe, workspace, **shared)


def _fit_runs(
    runs: Sequence[tuple[Lesson, Sequence[Fold], Run]],
    recipe: Recipe,
    workspace: Workspace,
    seed: int,
    fold: int | str,
    placement: tuple[str, str],
    force: bool,
    progress: Progress,
) -> list[FitResult]:
    """Train what is not done, in order; `placement` is device and dtype, the recipe's memory is settled."""
    backbone = base = None
    is_full = recipe.fit.tuning == "full"
    adapted: dict[str, dict[str, torch.Tensor]] = {}  # category -> weights to start its fits from
    results = []
    for lesson, splits, run in runs:
        skipped = run.done
        if not skipped:
            if backbone is None:
                backbone = load_backbone(
                    recipe.backbone, *placement, memory=recipe.memory, trains_unet=is_full
                )
                _prepare(backbone, recipe)
                base = _copy(backbone) if is_full else None
            key = lesson.category.key
            if is_full and key not in adapted:
                adapted.clear()
                backbone.unet.load_state_dict(base)
                adapted[key] = base
                if METHODS.get(recipe.fit.method).trainable and adapt(
                    lesson.category,
                    recipe,
                    workspace,
                    backbone,
                    seed=seed,
                    force=force,
                    progress=progress,
                ):
                    adapted[key] = _copy(backbone)
            if is_full:
                backbone.unet.load_state_dict(adapted[key])
            _fit_one(lesson, splits, recipe, run, backbone, seed, progress)
        facts = run.info()
        results.append(
            FitResult(
                key=lesson.key,
                fold=fold,
                folder=run.folder,
                seconds=facts["seconds"],
                steps=facts["steps"],
                loss=facts["loss"],
                skipped=skipped,
                sheet=run.folder / "sheet.png",
                defects=lesson.defects,
            )
        )
    return results


def _copy(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The U-Net's weights, in main memory."""
    return {name: value.detach().to("cpu", copy=True) for name, value in backbone.unet.state_dict().items()}


def _prepare(backbone: Backbone, recipe: Recipe) -> None:
    """Set the U-Net up for training as the recipe says."""
    if recipe.memory.gradient_checkpointing:
        backbone.unet.enable_gradient_checkpointing()
    if recipe.fit.compile:
        backbone.unet.compile()


def _fit_one(
    lesson: Lesson,
    splits: Sequence[Fold],
    recipe: Recipe,
    run: Run,
    backbone: Backbone,
    seed: int,
    progress: Progress,
) -> None:
    """Train one lesson's U-Net in place and write it to its run folder."""
    config, category = recipe.fit, lesson.category
    unet = backbone.unet
    backbone.fetch()
    methods: list[Method] = [
        METHODS.get(config.method)(
            backbone, category.words, category.defect_words[defect], config, recipe.synthesize
        )
        for defect in lesson.defects
    ]
    shown = list(zip(lesson.targets, splits, methods, strict=True))
    if not methods[0].trainable:
        unet.eval()
        backbone.save_unet(run.folder)
        _preview(shown, recipe, run.folder / "sheet.png", seed)
        run.finish(seconds=0.0, steps=0, loss=0.0)
        return
    _refuse_same_prompts(lesson, backbone, config.defect_prompt)
    normals = normal_samples(category, recipe, seed)
    references = References(normals if backbone.fills_holes else ())
    windows = [
        TrainingWindows.encode(backbone, images.fit, normals, references, recipe, seed, target.key)
        for target, images, _ in shown
    ]
    if config.tuning != "full":
        attach_adapter(unet, config.lora, config.tuning, seed)
    if recipe.memory.offload:
        backbone.park("text_encoder", "autoencoder")
    trainer = make_trainer(backbone, config)

    def loss_of(step: int) -> torch.Tensor | Iterable[torch.Tensor]:
        generator, which = step_generator(seed, step), type_of_step(step, len(methods), seed)
        batch = windows[which].batch(config, generator)
        return loss_terms(methods[which], batch, generator, recipe.memory.training_rows)

    steps, desc = config.steps * len(methods), f"fit {lesson.key}"
    seconds = train_run(run, trainer, loss_of, steps, config.checkpoint_every, desc, progress)
    unet.eval()
    with trainer.averaged():
        backbone.save_unet(run.folder)
        loss_curve(trainer.losses, run.folder / "loss.png")
        _preview(shown, recipe, run.folder / "sheet.png", seed)
    if config.tuning != "full":
        detach_adapter(unet)
    finish_run(run, trainer, seconds)


def _refuse_same_prompts(lesson: Lesson, backbone: Backbone, prompt: str) -> None:
    """Raise if the model would see two of the types under one prompt."""
    words = [lesson.category.defect_words[defect] for defect in lesson.defects]
    texts = [prompt.format(category=lesson.category.words, defect=each) for each in words]
    seen: dict[tuple[int, ...], str] = {}
    for defect, read in zip(lesson.defects, backbone.encode_prompts(texts), strict=True):
        other = seen.setdefault(tuple(read.token_ids.tolist()), defect)
        if other != defect:
            raise RecipeError(
                f"The prompts of {other} and {defect} of {lesson.category.key} are the same to the model, so "
                "one fit cannot tell them apart. Change fit.defect_prompt or their words in the data set's "
                "card, or fit each on its own."
            )


def _preview(shown: Sequence[tuple[Target, Fold, Method]], recipe: Recipe, path: Path, seed: int) -> None:
    """A sheet of each defect's own training images painted onto normal images, each in its place."""
    most, good = max(2, _PREVIEWS // len(shown)), shown[0][0].category.train_good
    pairs = [
        (good[index % len(good)], sample, method)
        for _, images, method in shown
        for index, sample in enumerate(images.fit[:most])
    ]
    captions = [
        f"{source.image.name}, mask of " + (f"{sample.defect}/" if len(shown) > 1 else "") + sample.image.name
        for source, sample, _ in pairs
    ]

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for index, (source, sample, method) in enumerate(pairs):
            image, (defect, mask) = read_image(source.image), read_sample(sample)
            if image.shape[:2] != mask.shape:
                image = defect  # no normal image of this size: show it on the defect's own
            example = to_rgb(defect) if recipe.synthesize.starts_from_examples else None
            job = PaintJob(image, mask, step_generator(seed, index), example=example)
            painted = paint(method, [job], recipe)[0]
            yield {"source": image, "target": mask, "result": painted.image, "refined": painted.mask}

    contact_sheet(rows(), path, captions)
