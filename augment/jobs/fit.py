"""The first job: learn defects, each from a handful of images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from augment.backbones.backbone import Backbone
from augment.backbones.load import load_backbone
from augment.backbones.memory import explained_out_of_memory, settle_memory
from augment.backbones.weights import attach_adapter, detach_adapter
from augment.data.folds import Fold, split_defect
from augment.data.images import file_sha256, read_image, read_sample, to_rgb
from augment.data.references import References
from augment.data.sample import Sample, Target
from augment.devices import split_devices
from augment.errors import RecipeError
from augment.jobs.adapt import adapt
from augment.jobs.painting import PaintJob, paint
from augment.jobs.spread_fit import fit_on_devices
from augment.jobs.training_loop import finish_run, loss_terms, make_trainer, train_run
from augment.jobs.training_windows import TrainingWindows
from augment.methods.base import Method
from augment.progress import Progress, no_progress
from augment.recipe import MemoryConfig, Recipe
from augment.registry import METHODS
from augment.report.pictures import contact_sheet, loss_curve
from augment.training import step_generator
from augment.workspace import Run, Workspace, locked

log = logging.getLogger(__name__)
_SECTIONS = ("backbone", "window", "data", "adapt", "fit")
_PREVIEWS = 4


@dataclass(frozen=True)
class FitResult:
    """One learned defect.

    Attributes:
        key: DATASET/CATEGORY/DEFECT.
        fold: which fold's images it has seen; "all": every one.
        folder: the run folder; holds `unet/` (all weights, or a low-rank change), `loss.png`, `sheet.png`,
            `run.json`, `recipe.yaml`.
        seconds: time spent training, all sessions together.
        steps: optimizer steps made.
        loss: mean loss of the last tenth of the steps.
        skipped: it was done before.
        sheet: a picture of defects painted with it.
    """

    key: str
    fold: int | str
    folder: Path
    seconds: float
    steps: int
    loss: float
    skipped: bool
    sheet: Path


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
    """Learn each target's defect from the images of its fold.

    What is done is skipped; what was interrupted goes on from its last checkpoint and ends with the same
    weights as an unbroken run.

    Args:
        targets: what to learn.
        recipe: sections backbone, window, data, adapt, fit and memory; what it leaves to the memory mode is
            settled here.
        workspace: where the runs live.
        seed: of all randomness.
        fold: a fold of the recipe's protocol, or "all".
        device: as for `load_backbone`; several, as `cuda:0,cuda:1` or `all`, fit a target each at a time.
        dtype: as for `load_backbone`.
        force: redo what is done.
        progress: makes progress bars.

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
    with ExitStack() as locks, explained_out_of_memory(settled.memory.mode):
        runs = []
        for target in targets:  # all checks before the first long step
            images = split_defect(target.category, target.defect, recipe.data, fold, progress)
            run = _open_run(target, images, recipe, settled.memory, workspace, seed, fold, force, locks)
            runs.append((target, images, run))
        if len(devices) == 1:
            return _fit_runs(runs, settled, workspace, seed, fold, (devices[0], dtype), force, progress)
    shared = {"seed": seed, "fold": fold, "dtype": dtype, "force": force, "progress": progress}
    return fit_on_devices(devices, targets, recipe, workspace, **shared)


def _fit_runs(
    runs: Sequence[tuple[Target, Fold, Run]],
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
    for target, images, run in runs:
        skipped = run.done
        if not skipped:
            if backbone is None:
                backbone = load_backbone(
                    recipe.backbone, *placement, memory=recipe.memory, trains_unet=is_full
                )
                _prepare(backbone, recipe)
                base = _copy(backbone) if is_full else None
            key = target.category.key
            if is_full and key not in adapted:
                adapted.clear()
                backbone.unet.load_state_dict(base)
                adapted[key] = base
                if METHODS.get(recipe.fit.method).trainable and adapt(
                    target.category,
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
            _fit_one(target, images, recipe, run, backbone, seed, progress)
        facts = run.info()
        results.append(
            FitResult(
                key=target.key,
                fold=fold,
                folder=run.folder,
                seconds=facts["seconds"],
                steps=facts["steps"],
                loss=facts["loss"],
                skipped=skipped,
                sheet=run.folder / "sheet.png",
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


def _open_run(
    target: Target,
    images: Fold,
    recipe: Recipe,
    memory: MemoryConfig,
    workspace: Workspace,
    seed: int,
    fold: int | str,
    force: bool,
    locks: ExitStack,
) -> Run:
    """The target's run folder, checked against what it was begun with, and held while it is not done."""
    for sample in images.fit:  # an unusable image or an empty mask must not wait for its turn
        read_sample(sample)
    good = _normal_samples(target, recipe, seed)
    files = [path for sample in images.fit for path in (sample.image, sample.mask)] + [s.image for s in good]
    sources = {str(path): file_sha256(path) for path in files if path is not None}
    held_out = {target.name_of(sample): file_sha256(sample.image) for sample in images.test}
    extra = {
        "kind": "fit",
        "dataset": target.category.dataset,
        "root": str(target.category.root.resolve()),
        "category": target.category.name,
        "defect": target.defect,
        "fold": fold,
        "method": recipe.fit.method,
        "memory": asdict(memory),
        "training": {target.name_of(sample): sources[str(sample.image)] for sample in images.fit},
        "held_out": held_out,
    }
    folder = workspace.fit_folder(target.key, fold)
    if force or not Run.is_done(folder):
        locks.enter_context(locked(folder))
    return Run.open(folder, recipe, _SECTIONS, seed, sources=sources, force=force, extra=extra)


def _normal_samples(target: Target, recipe: Recipe, seed: int) -> list[Sample]:
    """The good training images that teach the regulariser, drawn by the seed."""
    good = target.category.train_good
    count = min(recipe.fit.normal_images, len(good)) if recipe.fit.normal_batch_size else 0
    chosen = np.random.default_rng([seed, len(good)]).choice(len(good), count, replace=False)
    return [good[i] for i in sorted(chosen)]


def _fit_one(
    target: Target, images: Fold, recipe: Recipe, run: Run, backbone: Backbone, seed: int, progress: Progress
) -> None:
    """Train one target's U-Net in place and write it to its run folder."""
    config, category = recipe.fit, target.category
    unet = backbone.unet
    backbone.fetch()
    method: Method = METHODS.get(config.method)(
        backbone, category.words, category.defect_words[target.defect], config, recipe.synthesize
    )
    if not method.trainable:
        unet.eval()
        backbone.save_unet(run.folder)
        _preview(target, images, method, recipe, run.folder / "sheet.png", seed)
        run.finish(seconds=0.0, steps=0, loss=0.0)
        return
    windows = TrainingWindows.encode(
        backbone,
        images.fit,
        normals := _normal_samples(target, recipe, seed),
        References(normals if backbone.fills_holes else ()),
        recipe,
        seed,
        target.key,
    )
    if config.tuning != "full":
        attach_adapter(unet, config.lora, config.tuning, seed)
    if recipe.memory.offload:
        backbone.park("text_encoder", "autoencoder")
    trainer = make_trainer(backbone, config)

    def loss_of(step: int) -> torch.Tensor | Iterable[torch.Tensor]:
        generator = step_generator(seed, step)
        return loss_terms(method, windows.batch(config, generator), generator, recipe.memory.training_rows)

    seconds = train_run(
        run, trainer, loss_of, config.steps, config.checkpoint_every, f"fit {target.key}", progress
    )
    unet.eval()
    with trainer.averaged():
        backbone.save_unet(run.folder)
        loss_curve(trainer.losses, run.folder / "loss.png")
        _preview(target, images, method, recipe, run.folder / "sheet.png", seed)
    if config.tuning != "full":
        detach_adapter(unet)
    finish_run(run, trainer, seconds)


def _preview(target: Target, images: Fold, method: Method, recipe: Recipe, path: Path, seed: int) -> None:
    """A sheet of the defect's own training images painted onto normal images, each in its place."""
    good = target.category.train_good
    pairs = [(good[index % len(good)], sample) for index, sample in enumerate(images.fit[:_PREVIEWS])]
    captions = [f"{source.image.name}, mask of {sample.image.name}" for source, sample in pairs]

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for index, (source, sample) in enumerate(pairs):
            image, (defect, mask) = read_image(source.image), read_sample(sample)
            if image.shape[:2] != mask.shape:
                image = defect  # no normal image of this size: show it on the defect's own
            example = to_rgb(defect) if recipe.synthesize.starts_from_examples else None
            job = PaintJob(image, mask, step_generator(seed, index), example=example)
            painted = paint(method, [job], recipe)[0]
            yield {"source": image, "target": mask, "result": painted.image, "refined": painted.mask}

    contact_sheet(rows(), path, captions)
