"""What a detector is: trained on samples, it gives each image an anomaly map and a score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    """

    def __init__(self, config: BenchmarkConfig, *, seed: int, device: str): ...

    def fit(self, train: Sequence[Sample], progress: Progress) -> None:
        """Train on `train`; samples without a mask are normal, the others, real or synthetic, anomalous.

        Raises:
            DataError: an image cannot be read, or the detector lacks a kind of sample it needs.
        """
        ...

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[AnomalyMap]:
        """A map for each image, in order. Images, uint8 (H, W) or (H, W, 3), are taken a batch at a time."""
        ...
