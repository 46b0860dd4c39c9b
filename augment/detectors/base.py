"""What a detector is: trained on samples, it gives each image an anomaly map and a score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from augment.data.sample import Sample
from augment.progress import Progress
from augment.recipe import BenchmarkConfig


@dataclass(frozen=True)
class AnomalyMap:
    """A detector's answer to one image; higher = more anomalous, any range.

    Attributes:
        scores: float32 (h, w), of the detector's own size; the truth is brought to this size to be compared.
        score: the whole image's.
    """

    scores: np.ndarray
    score: float


class Detector(Protocol):
    """One training of one detector: made, fitted once, then asked.

    Args:
        config: the benchmark's settings; a detector reads its own section.
        seed: of all its randomness; the same seed and samples give the same maps on the same machine.
        device: a torch device, such as "cpu" or "cuda".

    Attributes:
        uses_anomalies: False: trained on normal images alone, so synthetic images change nothing.
    """

    uses_anomalies: ClassVar[bool]

    def __init__(self, config: BenchmarkConfig, *, seed: int, device: str): ...

    def fit(
        self, train: Sequence[Sample], progress: Progress, checkpoint: Callable[[], None] | None = None
    ) -> None:
        """Train on `train`; samples without a mask are normal, the others, real or synthetic, anomalous.

        Args:
            train: read from their files here.
            progress: makes the bars.
            checkpoint: called `config.oracle_checks` times (0: never), spread evenly over the training, the
                last time at its very end, with the detector ready to predict; what it does changes nothing
                in the training. A detector that is fitted in one go never calls it.

        Raises:
            DataError: an image cannot be read, or the detector lacks a kind of sample it needs.
        """
        ...

    def estimate(self, train: Sequence[Sample]) -> float | None:
        """Seconds that `fit` will take on `train`, measured on one step; None: not known beforehand."""
        ...

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[AnomalyMap]:
        """A map for each image, in order. Images, uint8 (H, W) or (H, W, 3), are taken a batch at a time."""
        ...


def checkpoint_steps(steps: int, checks: int) -> frozenset[int]:
    """The numbers of steps done at which `checkpoint` is called, evenly spread, the last of them `steps`.

    There are `checks` of them; where there are fewer steps, every step is one.
    """
    return frozenset(round(steps * check / checks) for check in range(1, checks + 1)) - {0}


def choose_good(good: Sequence[Sample], count: int | None, rng: np.random.Generator) -> list[Sample]:
    """`count` of the normal samples, drawn from `rng`, in their order; None or more than there are: all."""
    if count is None or count >= len(good):
        return list(good)
    return [good[i] for i in sorted(rng.choice(len(good), count, replace=False))]
