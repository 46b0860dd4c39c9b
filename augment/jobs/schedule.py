"""A benchmark's trainings, one after the other or several at a time in processes of their own.

A training gives the same scores in either way, if it has as many threads: on a CPU sums are made in another
order with another number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from augment.jobs.trainings import Tested, Training
from augment.jobs.workers import Channel, Workers
from augment.progress import Progress, no_progress
from augment.recipe import BenchmarkConfig

Keep = Callable[[Training, list[dict[str, Any]], Tested], None]
"""Takes what a training gave, as soon as it is done."""


def train(
    todo: Sequence[Training],
    config: BenchmarkConfig,
    devices: Sequence[str],
    keep: Keep,
    seconds: Mapping[str, float | None],
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    """Do trainings; what is done is kept, whatever becomes of the others.

    Args:
        todo: in the order in which they are begun.
        config: the detectors' settings.
        devices: one: all is done there, by this process. Several: a process for each; one may be named more
            than once, and those on the CPU share its threads.
        keep: is handed each result, in this process.
        seconds: detector -> how long one of its trainings took before; None: ask the detector.
        progress: makes the bars.
        say: is told how long it will take, and each training's place in the whole.

    Raises:
        AugmentError: what a training raised, or that a process was ended.
    """
    if not todo:
        return
    devices = devices[: len(todo)]
    threads = max(1, torch.get_num_threads() // max(1, devices.count("cpu")))
    first = {training.detector: training for training in reversed(todo)}
    known = {}
    with _threads(threads):
        for name in dict.fromkeys(training.detector for training in todo):
            known[name] = seconds.get(name) or first[name].estimate(config, devices[0])
    clock = _Clock(say, [training.detector for training in todo], known, len(devices))
    clock.start()
    if len(devices) == 1:
        for training in todo:
            rows, answers = training.run(config, devices[0], progress)
            keep(training, rows, answers)
            clock.done(training, rows[0])
        return
    waiting, at = list(todo), {}
    with (
        Workers(devices, _train_as_told, (config, threads)) as workers,
        progress(total=len(todo), desc=f"benchmark in {len(devices)} processes", unit="training") as bar,
    ):
        free = list(range(len(workers)))
        while waiting or at:
            while waiting and free:
                worker = free.pop(0)
                at[worker] = waiting.pop(0)
                workers.send(worker, at[worker])
            worker, (rows, answers) = workers.receive()
            training = at.pop(worker)
            free.append(worker)
            keep(training, rows, answers)
            clock.done(training, rows[0])
            bar.update(1)


def _train_as_told(channel: Channel, device: str, setup: tuple[BenchmarkConfig, int]) -> None:
    """A worker: trainings, until the parent ends it."""
    config, threads = setup
    if device == "cpu":
        torch.set_num_threads(threads)
    while True:
        channel.send(channel.receive().run(config, device, no_progress))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Clock:
    """Says how long it will take, and how much is left.

    Args:
        left: the detector of each training to do.
        seconds: detector -> how long one of its trainings takes; None: not known.
        at_once: how many run at a time.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        left: Sequence[str],
        seconds: Mapping[str, float | None],
        at_once: int,
    ):
        self.say, self.left, self.seconds, self.at_once = say, list(left), dict(seconds), at_once
        self.total = len(left)

    def start(self) -> None:
        """Announce the trainings to do."""
        each = ", ".join(
            f"{name} " + ("not known before its first" if value is None else f"about {_duration(value)} each")
            for name, value in self.seconds.items()
        )
        together = f", {self.at_once} at a time" if self.at_once > 1 else ""
        self.say(f"{self.total} trainings to do{together} ({each}){self._remaining()}")

    def done(self, training: Training, row: Mapping[str, Any]) -> None:
        """Announce a finished training."""
        detector, name = training.detector, f"{training.category}, {training.id}"
        self.left.remove(detector)
        self.seconds[detector] = row["seconds"]
        place = f"{self.total - len(self.left)}/{self.total}"
        scores = f"pixel AP {100 * row['pixel_ap']:.1f}, image AUROC {100 * row['image_auroc']:.1f}"
        self.say(f"{place} {detector}, {name}: {scores}, {_duration(row['seconds'])}{self._remaining()}")

    def _remaining(self) -> str:
        known = [self.seconds[name] for name in self.left if self.seconds[name] is not None]
        if not known:
            return ""
        more = " or more" if len(known) < len(self.left) else ""
        return f"; {_duration(max(sum(known) / self.at_once, max(known)))}{more} left"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
