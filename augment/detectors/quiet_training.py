"""The frame around another package's training: no noise, our own bars, and Ctrl-C as it should be."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import nn

from augment.progress import Progress

_LOGGERS = ("anomalib", "lightning", "lightning.pytorch", "lightning.fabric", "timm")


class Watch(Callback):
    """Counts a training's batches on a bar, and calls `check` after some of them.

    Args:
        bar: is updated by 1 a batch.
        checks: numbers of batches done at which `check` is called.
    """

    def __init__(self, bar: Any, checks: frozenset[int], check: Callable[[], None]):
        self.bar, self.checks, self.check = bar, checks, check
        self.done = 0

    def on_train_batch_end(self, *_: Any) -> None:
        """Count, and check."""
        self.done += 1
        self.bar.update()
        if self.done in self.checks:
            self.check()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, anomalib, Lightning and timm say nothing but errors, and nothing warns."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def own_bars(package: str, progress: Progress) -> Iterator[None]:
    """Inside, the loaded modules of `package` that call tqdm get bars from `progress` instead."""
    import tqdm

    def bar(iterable: Any = None, desc: str = "", total: int | None = None, **_: Any) -> Any:
        return progress(iterable, total=total, desc=desc.rstrip(".").lower())

    stand_ins = {id(tqdm.tqdm): bar, id(tqdm): types.SimpleNamespace(tqdm=bar)}
    replaced = [
        (module, vars(module)["tqdm"])
        for name, module in list(sys.modules.items())
        if name.startswith(package + ".") and id(vars(module).get("tqdm")) in stand_ins
    ]
    for module, original in replaced:
        module.tqdm = stand_ins[id(original)]
    try:
        yield
    finally:
        for module, original in replaced:
            module.tqdm = original


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C is a KeyboardInterrupt: Lightning exits with 1 on it, and ignores any later one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """Inside, `module` is in evaluation mode; afterwards each part is in the mode it was in."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def accelerator(device: torch.device) -> dict[str, Any]:
    """A Trainer's arguments for a device."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return {"accelerator": "gpu", "devices": [index]}
    return {"accelerator": device.type, "devices": 1}
