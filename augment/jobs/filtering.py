"""The quality filter: painted images are scored, and those that fail are painted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from augment.data.images import write_png
from augment.jobs.dropping import Slot
from augment.jobs.limits import Limits
from augment.jobs.painting import Painted
from augment.jobs.planning import Planner
from augment.metrics.likeness import describe, distances
from augment.metrics.quality import change_of, raggedness_of, seam_of, touched_outside, view_around
from augment.recipe import FilterConfig
from augment.workspace import Drops, Rejections, atomic_write_json


@dataclass(frozen=True)
class Verdict:
    """What is found of one painted image.

    Attributes:
        scores: name -> figure; see `Filter.judge`.
        nearest: the training image whose defect it is most like.
        reasons: criterion -> the figure and its limit in words; empty: it passes.
    """

    scores: dict[str, float]
    nearest: str
    reasons: dict[str, str]


class Filter:
    """Scores what is painted of one defect, and keeps account of the attempts that fail.

    Args:
        planner: of the defect.
        config: of the filter.
        folder: the run folder of the set.
    """

    def __init__(self, planner: Planner, config: FilterConfig, folder: Path):
        self.planner, self.config, self.folder = planner, config, folder
        self.defect = planner.target.defect
        self.drops, self.rejections = Drops(folder), Rejections(folder)

    @cached_property
    def limits(self) -> Limits:
        """What an image must have; found on first use."""
        good = self.planner.target.category.train_good
        return Limits.of(self.planner.training, good, self.config.margin)

    def attempt(self, index: int) -> int | None:
        """Which attempt at an image is next; None: all it may have have failed, and it is left out."""
        name = f"{self.defect}/{index:04d}"
        first = self.drops.attempt(name)
        if not self.config.enabled:
            return first
        failed = self.rejections.of(name, first)
        if len(failed) >= self.config.attempts:
            return None
        return failed[-1]["attempt"] + 1 if failed else first

    def begin(self) -> None:
        """Write the limits to `limits_DEFECT.json` in the set's folder, where the filter is on."""
        if self.config.enabled:
            atomic_write_json(limits_path(self.folder, self.defect), asdict(self.limits))

    def judge(self, source: np.ndarray, image: np.ndarray, mask: np.ndarray) -> Verdict:
        """Score an image and, where the filter is on, hold it against the limits.

        The scores: `touched_outside`, pixels outside the mask that are not the source's; `coverage`, the IoU
        of the mask and what visibly changes; `strength` of the change, 1 is just visible; `seam`, how sharply
        it ends at the border; `raggedness` of the mask; `nearest`, the distance to the nearest of the fit's
        own real defects. See `augment.metrics.quality` and `augment.metrics.likeness`.

        Args:
            source: uint8 (H, W) or (H, W, 3).
            image: the painted one, of the source's shape.
            mask: bool (H, W), the refined mask.
        """
        view = view_around(image, source, mask)
        coverage, strength = change_of(view)
        apart = distances(describe(image, mask), self.planner.described)
        scores = {
            "touched_outside": touched_outside(image, source, mask),
            "coverage": round(coverage, 4),
            "strength": round(strength, 2),
            "seam": round(seam_of(view), 4),
            "raggedness": round(raggedness_of(view.mask), 2),
            "nearest": round(float(apart.min()), 4),
        }
        nearest = self.planner.training[int(apart.argmin())].image.name
        is_on = self.config.enabled
        return Verdict(scores, nearest, self.limits.reasons(scores, self.config.criteria) if is_on else {})

    def reject(self, slot: Slot, entry: Mapping[str, Any], painted: Painted, verdict: Verdict) -> None:
        """Keep a failed attempt's pictures, and its line."""
        image, mask = self.rejections.paths(self.defect, *slot)
        write_png(mask, painted.mask.astype(bool))
        write_png(image, painted.image)
        paths = {
            "image": image.relative_to(self.folder).as_posix(),
            "mask": mask.relative_to(self.folder).as_posix(),
        }
        self.rejections.record({**entry, "reasons": verdict.reasons, **paths})

    def failed(self, index: int) -> list[dict[str, Any]]:
        """The attempts at an image that failed before the one that passed: attempt, reasons and scores."""
        name = f"{self.defect}/{index:04d}"
        found = self.rejections.of(name, self.drops.attempt(name)) if self.config.enabled else []
        return [{key: entry[key] for key in ("attempt", "reasons", "scores")} for entry in found]

    def counts(self) -> dict[str, int]:
        """How many attempts failed by each criterion."""
        found = Counter(r for entry in self.rejections.entries(self.defect) for r in entry["reasons"])
        return dict(found.most_common())

    def statement(self, numbers: Sequence[int], left_out: Sequence[int]) -> str:
        """What came of the images, in a sentence; empty where the filter is off.

        Args:
            numbers: of the images that were wanted.
            left_out: those of them of which no attempt passed.
        """
        if not self.config.enabled:
            return ""
        attempts = self.rejections.entries(self.defect)
        why = ", ".join(f"{count} by {name}" for name, count in self.counts().items())
        tried = f"{len(attempts)} attempts failed ({why})" if attempts else "no attempt failed"
        passed = len(numbers) - len(left_out)
        text = f"{self.planner.target.key}: {passed} of {len(numbers)} images passed the filter, {tried}."
        if left_out:
            text += (
                f" {len(left_out)} are left out, {self.config.attempts} attempts each: ask for more with -n, "
                f"see why in {self.folder / 'rejected.jsonl'}, or take all with --no-filter --force."
            )
        return text


def limits_path(folder: Path, defect: str) -> Path:
    """Where a synthetic set's folder keeps the limits of a defect."""
    return folder / f"limits_{defect}.json"
