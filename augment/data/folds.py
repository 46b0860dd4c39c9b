"""Which defect images a fit may see, and which are held out to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augment.data.sample import Sample
from augment.errors import DataError

Protocol = Literal["two-fold", "third"]


@dataclass(frozen=True)
class Fold:
    """One split of a defect's images."""

    fit: tuple[Sample, ...]
    test: tuple[Sample, ...]


def folds_of(protocol: Protocol) -> tuple[int, ...]:
    """The fold numbers of a protocol: two for `two-fold`, one for `third`."""
    return (0, 1) if protocol == "two-fold" else (0,)


def split(samples: Sequence[Sample], protocol: Protocol, fold: int | Literal["all"]) -> Fold:
    """Split one defect's images, in the order given (sorted by name, as the published protocols do).

    `two-fold`: fold 0 fits on the first floor(n/2) images and tests on the rest; fold 1 is the reverse.
    `third`: fold 0 fits on the first floor(n/3) images (at least one) and tests on the rest.
    The fold "all" fits on every image and holds none out, so it cannot be benchmarked.

    Raises:
        DataError: no images, a single image to be split, or a fold the protocol does not have.
    """
    samples = tuple(samples)
    if not samples:
        raise DataError("There are no images of the defect to split.")
    if fold == "all":
        return Fold(fit=samples, test=())
    if fold not in folds_of(protocol):
        known = ", ".join(map(str, folds_of(protocol)))
        raise DataError(f"The protocol '{protocol}' has no fold {fold!r}: choose {known} or all.")
    if len(samples) < 2:
        raise DataError(
            f"{samples[0].image} is the only image of '{samples[0].defect}', so none can be held out: "
            "add images, or fit on it with --fold all."
        )
    if protocol == "third":
        cut = max(1, len(samples) // 3)
        return Fold(fit=samples[:cut], test=samples[cut:])
    first, second = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    return Fold(fit=first, test=second) if fold == 0 else Fold(fit=second, test=first)
