"""The columns of a benchmark: which images each training of a detector learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.recipe import BenchmarkConfig

OWN = "augment"  # how the recipe's own method is called in a table
REAL_ONLY = "real-only"
DEFAULT_METHOD = "disentangled_inversion"


@dataclass(frozen=True)
class Column:
    """One choice of training images; good images are in all of them.

    Attributes:
        generator: whose synthetic images; None: no synthetic ones.
        n: how many of each defect, the first so many; None: all there are.
        with_real: whether the fold's real defects are in it.
    """

    generator: str | None = None
    n: int | None = None
    with_real: bool = True

    @property
    def name(self) -> str:
        """`real-only`, `real+GENERATOR` or `GENERATOR-only`."""
        if self.generator is None:
            return REAL_ONLY
        return f"real+{self.generator}" if self.with_real else f"{self.generator}-only"

    @property
    def key(self) -> str:
        """The name with the number of images, where one is set: different for every column."""
        return self.name if self.n is None else f"{self.name} n={self.n}"


def generators_of(config: BenchmarkConfig, method: str) -> list[str]:
    """Names in the table: the recipe's own method, which is called "augment", then the baselines."""
    own = OWN if method == DEFAULT_METHOD else method
    return [own, *(name for name in dict.fromkeys(config.baselines) if name != method)]


def columns_of(config: BenchmarkConfig, generators: Sequence[str]) -> list[Column]:
    """Every column of a benchmark, `real-only` first; a number of 0 is that column too."""
    columns = [Column()]
    for generator in generators:
        for number in config.n or (None,):
            if number != 0:
                columns.append(Column(generator, number))
                if config.synthetic_only:
                    columns.append(Column(generator, number, with_real=False))
    return columns


def labels_of(columns: Sequence[Column]) -> dict[Column, str]:
    """What the columns are called in a table: by name, with the number where several share a name."""
    names = [column.name for column in columns]
    return {column: column.name if names.count(column.name) == 1 else column.key for column in columns}
