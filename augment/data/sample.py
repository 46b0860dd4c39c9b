"""What the data rooms hand each other: images on disk, the category they belong to, the defect to learn."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

GOOD = "good"


@dataclass(frozen=True)
class Sample:
    """One image on disk."""

    image: Path
    mask: Path | None  # a file, or a folder whose mask files are merged; None for a normal image
    defect: str  # the defect type; "good" for a normal image
    is_synthetic: bool = False


@dataclass(frozen=True)
class Category:
    """One kind of part: its normal images and its defects. Every sequence is sorted by file name."""

    dataset: str
    name: str
    root: Path
    train_good: tuple[Sample, ...]
    test_good: tuple[Sample, ...]
    defects: dict[str, tuple[Sample, ...]]
    words: str  # the category in a prompt: "magnetic tile"
    defect_words: dict[str, str]  # each defect in a prompt: "crack"
    licence: str | None
    citation: str | None
    anomalous: tuple[Sample, ...]  # of every defect of the folder, also where `defects` holds only some

    @property
    def key(self) -> str:
        """`DATASET/CATEGORY`, such as `mvtec/bottle`."""
        return f"{self.dataset}/{self.name}"


@dataclass(frozen=True)
class Target:
    """What a fit learns: one defect of one category."""

    category: Category
    defect: str

    @property
    def key(self) -> str:
        """`DATASET/CATEGORY/DEFECT`, such as `mvtec/bottle/broken_large`."""
        return f"{self.category.key}/{self.defect}"

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The defect's images, sorted by file name."""
        return self.category.defects[self.defect]

    def name_of(self, sample: Sample) -> str:
        """What a record calls one of the images: its file name, with folders where they lie in several."""
        folder = os.path.commonpath([other.image.parent for other in self.samples])
        return sample.image.relative_to(folder).as_posix()
