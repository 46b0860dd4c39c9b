"""What a painted image must have to pass the quality filter, found on the fit's own real defects."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from augment.data.images import read_sample, to_rgb
from augment.data.references import References
from augment.data.sample import Sample
from augment.metrics.likeness import describe, distances, near_copies
from augment.metrics.quality import change_of, raggedness_of, seam_of, view_around

_GOOD_IMAGES = 32  # that real defects are compared with
_COPIES = 4  # of each real defect
LEAST_DEFECTS = 3  # from which on the distances between real ones are limits
_COVERAGE = (0.25, 0.5)  # a limit lies no lower and no higher, whatever the real defects have
_STRENGTH = 1.2  # of what is just visible; no lower
_RAGGEDNESS = 1.5  # no lower
_SEAM = 0.2  # no lower
_SCORE_OF = {"background": "touched_outside", "likeness": "nearest", "copy": "nearest"}  # others: their own


@dataclass(frozen=True)
class Limits:
    """The limits of one defect.

    They come from the real defects' own figures, each beside a good image moved onto it, with room: a defect
    may have four fifths of the coverage of the weakest tenth of the real ones and of the strength of their
    weakest quarter, end a quarter more sharply than the sharpest, and have half more border for its area than
    the most ragged. It is unlike them where its nearest one is a quarter further than any real one's nearest,
    and a copy where it is nearer to one than any two real ones are to each other, or, of one or two real
    defects, as near as nine in ten of hardly changed copies. A margin multiplies the room.

    Attributes:
        coverage: least.
        strength: least; 1 is just visible.
        seam: greatest.
        raggedness: greatest.
        likeness: greatest distance to the nearest real defect; None: there are too few to tell.
        copy: least distance to it.
    """

    coverage: float
    strength: float
    seam: float
    raggedness: float
    likeness: float | None
    copy: float

    @classmethod
    def of(cls, training: Sequence[Sample], good: Sequence[Sample], margin: float = 1.0) -> Limits:
        """Found on real defects.

        Args:
            training: those the fit has seen, at least one.
            good: normal images of the category.
            margin: more than 1 lets more pass.

        Raises:
            DataError: an image is unreadable.
        """
        step = max(1, len(good) // _GOOD_IMAGES)
        references = References(good[::step][:_GOOD_IMAGES])
        coverages, strengths, seams, ragged, found = [], [], [], [], []
        for sample in training:
            image, mask = read_sample(sample)
            rng = _generator(sample)
            found.append(describe(image, mask))
            ragged.append(raggedness_of(view_around(image, image, mask).mask))
            reference = references.match(image, mask, rng, among=1)
            if reference is None:
                continue
            view = view_around(to_rgb(image), reference, mask)
            coverage, strength = change_of(view)
            coverages.append(coverage)
            strengths.append(strength)
            seams.append(seam_of(view))
        apart = [np.delete(distances(one, found), i) for i, one in enumerate(found)]
        nearest = [float(others.min()) for others in apart if len(others)]
        if len(nearest) >= LEAST_DEFECTS:
            copy = min(nearest)
        else:
            copy = float(np.quantile(_distances_of_copies(training, found), 0.9))
        coverage = 0.8 * _low(coverages, 0.1) / margin
        return cls(
            coverage=round(float(np.clip(coverage, *_COVERAGE)), 3),
            strength=round(max(_STRENGTH, 0.8 * _low(strengths, 0.25) / margin), 2),
            seam=round(max(_SEAM, 1.25 * margin * max(seams, default=0.0)), 3),
            raggedness=round(max(_RAGGEDNESS, 1.5 * margin * max(ragged)), 2),
            likeness=round(1.25 * margin * max(nearest), 3) if len(nearest) >= LEAST_DEFECTS else None,
            copy=round(copy / margin, 3),
        )

    def reasons(self, scores: Mapping[str, float], criteria: Sequence[str]) -> dict[str, str]:
        """Why an image fails: criterion -> its figure and the limit; empty where it passes.

        Args:
            scores: `touched_outside`, `coverage`, `strength`, `seam`, `raggedness` and
                `nearest`.
            criteria: those that count.
        """
        limits = {"background": 0, **asdict(self)}
        found = {}
        for name in criteria:
            value, limit = scores[_SCORE_OF.get(name, name)], limits[name]
            if limit is None:
                continue
            is_most = name in ("background", "seam", "raggedness", "likeness")
            if value > limit if is_most else value < limit:
                found[name] = f"{value:g} {'>' if is_most else '<'} {limit:g}"
        return found


def _generator(sample: Sample) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(sample.image.name.encode()))


def _distances_of_copies(training: Sequence[Sample], found: Sequence[np.ndarray]) -> list[float]:
    """How far hardly changed copies of defects are from the nearest of `found`."""
    groups = [near_copies(*read_sample(sample), _generator(sample), _COPIES) for sample in training]
    return [float(distances(copy, found).min()) for group in groups for copy in group]


def _low(values: Sequence[float], share: float) -> float:
    """What that share of the values lies below; 0 where there are none."""
    return float(np.quantile(values, share)) if len(values) else 0.0
