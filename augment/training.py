"""What every training loop here shares: optimizer, warm-up, clipping, EMA, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from augment.errors import RecipeError
from augment.workspace import atomic_path


class Trainer:
    """Runs optimizer steps on a module and keeps a running average of its weights.

    Args:
        module: what is trained.
        learning_rate: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_steps: steps of linear rise.
        decay_steps: total steps over which the rate falls along a cosine to a tenth; None: it stays.
        max_grad_norm: the gradient is scaled down to this norm.
        ema_decay: share kept of the average a step; 0 keeps no average.
        optimizer: PyTorch's AdamW (`adamw`), the same in one kernel (`fused`), or bitsandbytes' with moments
            in 8 bits (`8bit`).
        scale_loss: multiply the loss by a running factor, so that small gradients survive float16.

    Raises:
        RecipeError: `8bit` without bitsandbytes.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        decay_steps: int | None = None,
        max_grad_norm: float = 1.0,
        ema_decay: float = 0.0,
        optimizer: Literal["adamw", "fused", "8bit"] = "adamw",
        scale_loss: bool = False,
    ):
        self.module = module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = _optimizer(optimizer, self.parameters, learning_rate, weight_decay)
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=scale_loss)
        self.learning_rate, self.warmup_steps, self.decay_steps = learning_rate, warmup_steps, decay_steps
        self.max_grad_norm, self.ema_decay = max_grad_norm, ema_decay
        self.average = [p.detach().clone() for p in self.parameters] if ema_decay else []
        self.step_count = 0
        self.losses: list[float] = []

    def step(self, loss_of: Callable[[int], Tensor | Iterable[Tensor]]) -> float:
        """One optimizer step.

        Args:
            loss_of: called with the step's number (0-based), returns the scalar loss, or terms that add up to
                it, whose gradients are taken one by one. All its randomness must come from that number, so
                that a resumed run repeats an unbroken one.

        Raises:
            RecipeError: the loss is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self._rate(self.step_count)
        loss, value = loss_of(self.step_count), 0.0
        for term in (loss,) if isinstance(loss, Tensor) else loss:
            value += term.item()
            if not math.isfinite(value):
                raise RecipeError(
                    f"The training diverged: the loss is {value} at step {self.step_count}. Lower the "
                    "learning rate, as in --set fit.learning_rate=1e-4, or try --dtype float32."
                )
            self.scaler.scale(term).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            # The average warms up: early on, the first weights must not linger in it.
            decay = min(self.ema_decay, (1 + self.step_count) / (10 + self.step_count))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.step_count += 1
        self.losses.append(value)
        return value

    def _rate(self, step: int) -> float:
        """Learning rate at a step, as a share of the peak."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.decay_steps is None:
            return warm
        progress = min(1.0, step / self.decay_steps)
        return warm * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)

    @contextmanager
    def averaged(self) -> Iterable[None]:
        """Within it, the module holds the averaged weights (where an average is kept)."""
        if not self.average:
            yield
            return
        kept = [p.detach().clone() for p in self.parameters]
        self._assign(self.average)
        try:
            yield
        finally:
            self._assign(kept)

    def keep_average(self) -> None:
        """Leave the averaged weights (where an average is kept) in the module for good."""
        if self.average:
            self._assign(self.average)

    def _assign(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {
            "parameters": [p.detach().cpu() for p in self.parameters],
            "average": [a.cpu() for a in self.average],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step_count": self.step_count,
            "losses": self.losses,
        }
        save_state(state, path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint written by `save`."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._assign(state["parameters"])
        self.average = [a.to(p.device) for a, p in zip(state["average"], self.parameters, strict=False)]
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):  # there is none where the loss is not scaled
            self.scaler.load_state_dict(state["scaler"])
        self.step_count, self.losses = state["step_count"], state["losses"]


def _optimizer(
    kind: str, parameters: list[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW of one kind."""
    options = {"lr": learning_rate, "weight_decay": weight_decay}
    if kind != "8bit":
        return torch.optim.AdamW(parameters, **options, **({"fused": True} if kind == "fused" else {}))
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise RecipeError(
            "fit.optimizer=8bit needs bitsandbytes: pip install bitsandbytes (or this package's extra "
            "`eight-bit`), or --set fit.optimizer=fused."
        ) from error
    return AdamW8bit(parameters, **options)


def save_state(state: Any, path: Path) -> None:
    """`torch.save`, atomically.

    Raises:
        WorkspaceError: the disk is full or read-only.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # at its end it trips over what writing to a full disk left
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def step_generator(seed: int, *path: int) -> torch.Generator:
    """A CPU generator for one step (or image) of one run: depends on nothing drawn before it.

    Args:
        seed: the run's seed.
        path: numbers that name the step, such as (stage, step).
    """
    import numpy as np

    state = np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
