"""Who paints the batches of a synthesis: this process on one device, or a process for each of several.

Either way the results are handed on in the order of the batches, and reading, pasting and writing go on while
the devices paint. Only the caller's own process writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from augment.backbones.backbone import Backbone
from augment.backbones.load import load_backbone
from augment.backbones.memory import explained_out_of_memory
from augment.backbones.speed import speed_up
from augment.backbones.weights import ADAPTER, weights_file
from augment.jobs.dropping import Slot
from augment.jobs.overlap import Writer, ahead
from augment.jobs.painting import PaintedPiece, finish, generate, prepare
from augment.jobs.planning import Plan, Planner
from augment.jobs.several import paint_in_turn
from augment.jobs.workers import Channel, Workers
from augment.methods.base import Method
from augment.recipe import MemoryConfig, Recipe
from augment.registry import METHODS

Batch = list[tuple[Slot, bool]]
"""Slots, each with whether its image is wanted."""

Keep = Callable[[Batch, list[Plan], list[list[PaintedPiece]]], None]
"""Takes a painted batch, the pieces of each image; called in the order of the batches, one call at a time, in
a thread of its own."""


@dataclass(frozen=True)
class Defect:
    """What is painted: the plans of its images, and the folder of its fit."""

    planner: Planner
    fit: Path


class Painter(Protocol):
    """Paints batches of defects; a context, which is left when there is no more to paint.

    Attributes:
        memory: what is given up for memory, resolved.
    """

    memory: MemoryConfig

    def __enter__(self) -> Painter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def paint(self, defect: Defect, batches: Iterable[Batch], keep: Keep) -> None:
        """Paint batches and hand each to `keep`; all are kept when it returns.

        Raises:
            AugmentError: what planning, painting or `keep` raised; what was painted before is kept.
        """


def make_painter(recipe: Recipe, devices: list[str], dtype: str, memory: MemoryConfig) -> Painter:
    """A painter for one device or several; nothing is loaded before there is something to paint."""
    if len(devices) == 1:
        return LocalPainter(recipe, devices[0], dtype, memory)
    return SpreadPainter(recipe, devices, dtype, memory)


class LocalPainter:
    """Paints on one device; the model stays loaded from one defect to the next."""

    def __init__(self, recipe: Recipe, device: str, dtype: str, memory: MemoryConfig):
        self._recipe, self._device, self._dtype, self.memory = recipe, device, dtype, memory
        self._backbone: Backbone | None = None
        self._fit: Path | None = None

    def __enter__(self) -> LocalPainter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backbone = None

    def paint(self, defect: Defect, batches: Iterable[Batch], keep: Keep) -> None:
        """Paint batches and hand each to `keep`."""
        recipe, waiting = self._recipe, self._recipe.speed.overlap
        method = self._method(defect)

        def prepared() -> Iterator:
            for batch in batches:
                plans = [defect.planner.plan(*slot) for slot, _ in batch]
                yield batch, plans, prepare([plan.pieces[0] for plan in plans], recipe)

        with (
            explained_out_of_memory(self.memory.mode),
            Writer(waiting) as writer,
            ahead(prepared(), waiting) as ready,
        ):
            for batch, plans, part in ready:
                generated = generate(method, part)
                if all(len(plan.parts) == 1 for plan in plans):
                    writer.put(_finish, keep, batch, plans, part, generated, recipe)
                else:
                    first, pieces = finish(part, generated, recipe), [plan.pieces for plan in plans]
                    writer.put(keep, batch, plans, paint_in_turn(method, pieces, recipe, first))

    def _method(self, defect: Defect) -> Method:
        """The method that was fitted, with the fit's weights and prompts."""
        is_low_rank = weights_file(defect.fit).name == ADAPTER  # and changes the model's own weights
        if self._backbone is None or (self._fit != defect.fit and is_low_rank):
            self._backbone = None  # not two at a time
            self._backbone = load_backbone(
                self._recipe.backbone, self._device, self._dtype, unet_folder=defect.fit, memory=self.memory
            )
            speed_up(self._backbone, self._recipe.speed)
        elif self._fit != defect.fit:
            self._backbone.load_unet(defect.fit)
        self._fit = defect.fit
        target, fitted = defect.planner.target, Recipe.read(defect.fit / "recipe.yaml").fit
        words = target.category.words, target.category.defect_words[target.defect]
        method = METHODS.get(fitted.method)(self._backbone, *words, fitted, self._recipe.synthesize)
        if self.memory.offload:
            self._backbone.park("text_encoder")
        return method


def _finish(keep: Keep, batch: Batch, plans: list[Plan], part, generated, recipe: Recipe) -> None:
    keep(batch, plans, [[piece] for piece in finish(part, generated, recipe)])


class SpreadPainter:
    """Paints on several devices at once, each batch on the next one that has room for it.

    A batch is painted whole by one process, so the images are those one process would have painted.
    """

    _AHEAD = 2  # batches a worker has at a time: one it paints, one it prepares

    def __init__(self, recipe: Recipe, devices: list[str], dtype: str, memory: MemoryConfig):
        self._recipe, self._devices, self._dtype, self.memory = recipe, devices, dtype, memory
        self._stack, self._workers = ExitStack(), None

    def __enter__(self) -> SpreadPainter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def paint(self, defect: Defect, batches: Iterable[Batch], keep: Keep) -> None:
        """Paint batches and hand each to `keep`."""
        if self._workers is None:
            workers = Workers(self._devices, _paint_as_told, (self._recipe, self._dtype, self.memory))
            self._workers = self._stack.enter_context(workers)
        workers = self._workers
        for worker in range(len(workers)):
            workers.send(worker, defect)
        todo = enumerate(batches)
        at: list[deque[int]] = [deque() for _ in range(len(workers))]  # which batches each worker has
        done: dict[int, tuple] = {}
        following = 0  # the next batch to keep
        with Writer(max(1, self._recipe.speed.overlap)) as writer:
            while True:
                worker = min(range(len(workers)), key=lambda i: len(at[i]))
                # No worker runs far ahead of one that is slow: what is done must wait in memory.
                if len(at[worker]) < self._AHEAD and len(done) < len(workers) and (item := next(todo, None)):
                    at[worker].append(item[0])
                    workers.send(worker, item[1])
                    continue
                if not any(at):
                    break
                worker, result = workers.receive()
                done[at[worker].popleft()] = result
                while following in done:
                    writer.put(keep, *done.pop(following))
                    following += 1
        for worker in range(len(workers)):
            workers.send(worker, None)


def _paint_as_told(channel: Channel, device: str, setup: tuple[Recipe, str, MemoryConfig]) -> None:
    """A worker: defects, each followed by its batches and None, until the parent ends it."""
    recipe, dtype, memory = setup
    painter = LocalPainter(recipe, device, dtype, memory)

    def send(batch: Batch, plans: list[Plan], painted: list[list[PaintedPiece]]) -> None:
        channel.send((batch, plans, painted))

    while True:
        defect = channel.receive()
        painter.paint(defect, iter(channel.receive, None), send)
