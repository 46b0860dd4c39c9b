"""A run's training: stepped, checkpointed, resumed, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from augment.backbones.backbone import Backbone
from augment.backbones.weights import has_adapter
from augment.methods.base import Method, TrainingBatch
from augment.progress import Progress
from augment.recipe import FitConfig
from augment.training import Trainer
from augment.workspace import Run


def make_trainer(backbone: Backbone, config: FitConfig) -> Trainer:
    """A trainer of the backbone's U-Net, or of the low-rank change it carries; in training mode."""
    is_adapter = has_adapter(backbone.unet)
    return Trainer(
        backbone.unet.train(),
        learning_rate=config.lora.learning_rate if is_adapter else config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.max_grad_norm,
        ema_decay=config.ema_decay,
        optimizer="adamw" if config.optimizer == "auto" else config.optimizer,
        scale_loss=backbone.autocast_dtype == torch.float16,
    )


def loss_terms(
    method: Method, batch: TrainingBatch, generator: torch.Generator, rows: int | None
) -> Tensor | Iterable[Tensor]:
    """A batch's loss, or terms of it of at most `rows` latents, where the method can split it."""
    losses = getattr(method, "losses", None)
    return losses(batch, generator, rows) if rows and losses else method.loss(batch, generator)


def train_run(
    run: Run,
    trainer: Trainer,
    loss_of: Callable[[int], Tensor | Iterable[Tensor]],
    steps: int,
    checkpoint_every: int,
    desc: str,
    progress: Progress,
) -> float:
    """Train up to `steps`, from the run's checkpoint where there is one.

    The checkpoint stays; `finish_run` takes it away once the results are written.

    Args:
        run: its folder holds `checkpoint.pt`; its record keeps the seconds spent.
        trainer: what is trained.
        loss_of: as for `Trainer.step`.
        steps: of the whole training.
        checkpoint_every: steps.
        desc: of the progress bar.
        progress: makes the bar.

    Returns:
        Seconds spent training, all sessions together.
    """
    checkpoint = run.folder / "checkpoint.pt"
    seconds = run.info().get("seconds", 0.0)
    if checkpoint.exists():
        trainer.load(checkpoint)
    started = time.monotonic()
    with progress(total=steps, desc=desc, unit="step") as bar:
        bar.update(trainer.step_count)
        while trainer.step_count < steps:
            bar.set_postfix(loss=f"{trainer.step(loss_of):.4f}", refresh=False)
            bar.update(1)
            if trainer.step_count % checkpoint_every == 0:
                trainer.save(checkpoint)
                run.reopen(seconds=seconds + time.monotonic() - started)
    return seconds + time.monotonic() - started


def finish_run(run: Run, trainer: Trainer, seconds: float) -> None:
    """Record the end of a training, and drop its checkpoint."""
    tail = trainer.losses[-max(1, trainer.step_count // 10) :]
    run.finish(seconds=round(seconds, 1), steps=trainer.step_count, loss=sum(tail) / len(tail))
    (run.folder / "checkpoint.pt").unlink(missing_ok=True)
