"""Which files each training of a benchmark reads, and the proof that none of them is tested on."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.data.folds import folds_of, split_defect
from augment.data.images import file_sha256
from augment.data.parts import part_groups
from augment.data.sample import Category, Sample
from augment.errors import WorkspaceError
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.workspace import Manifest, Run, Workspace, fold_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """What one fold trains and tests on, with the SHA-256 of every file.

    Attributes:
        fold: its number.
        good: normal training images.
        real: the fold's real defect images.
        synthetic: generator -> its images, those of a defect in the order they were painted.
        test: held-out real defect images, then normal ones.
        hashes: of every file.
        groups: the images of each part that was shot more than once; each lies on one side.
    """

    fold: int
    good: tuple[Sample, ...]
    real: tuple[Sample, ...]
    synthetic: Mapping[str, tuple[Sample, ...]]
    test: tuple[Sample, ...]
    hashes: Mapping[Path, str]
    groups: tuple[tuple[Path, ...], ...] = ()

    @property
    def defects(self) -> list[str]:
        """The defects trained and tested on."""
        return list(dict.fromkeys(sample.defect for sample in self.real))

    def painted(self, generator: str | None, n: int | None = None) -> tuple[Sample, ...]:
        """A generator's first `n` images of each defect (None: all).

        Raises:
            WorkspaceError: there are fewer.
        """
        if generator is None:
            return ()
        chosen: list[Sample] = []
        for defect in self.defects:
            there = [sample for sample in self.synthetic[generator] if sample.defect == defect]
            if n is not None and len(there) < n:
                raise WorkspaceError(
                    f"There are {len(there)} synthetic images of '{defect}' for fold {self.fold}, fewer than "
                    f"{n}. Run `augment synthesize -n {n}` first, or ask for fewer."
                )
            chosen += there[:n]
        return tuple(chosen)

    def training(
        self, generator: str | None = None, n: int | None = None, with_real: bool = True
    ) -> tuple[Sample, ...]:
        """Good images, the real defects, and a generator's images (see `painted`)."""
        return self.good + (self.real if with_real else ()) + self.painted(generator, n)

    def record(self) -> dict[str, Any]:
        """Part -> file -> SHA-256, of images and masks; and "groups", lists of files that show one part."""
        parts = {"good": self.good, "real": self.real, "test": self.test}
        parts |= {f"synthetic/{name}": samples for name, samples in self.synthetic.items()}
        files = {
            name: {str(path): self.hashes[path] for path in files_of(samples)}
            for name, samples in parts.items()
        }
        return files | {"groups": [list(map(str, group)) for group in self.groups]}

    def digest(self, train: Sequence[Sample]) -> str:
        """One hash of all a training and its test read: the same files in the same order give the same."""
        parts = [self.hashes[path] for samples in (train, self.test) for path in files_of(samples)]
        return hashlib.sha256("\n".join([*parts, str(len(self.test))]).encode()).hexdigest()


def make_split(
    category: Category,
    recipe: Recipe,
    workspaces: Mapping[str, Workspace],
    fold: int,
    progress: Progress = no_progress,
) -> Split:
    """What a fold trains and tests on: the defects that have synthetic images, and proof that nothing leaked.

    A good training image that is, byte for byte, a test image is left out, with a warning.

    Args:
        category: whose images.
        recipe: its `data` section is used.
        workspaces: generator -> where its fits and synthetic images are; the first says which defects count.
        fold: its number.
        progress: makes progress bars.

    Raises:
        WorkspaceError: a synthetic image comes from a test image, or the first set is empty.
        DataError: a file cannot be read.
    """
    folders = {name: space.synthetic_folder(category.key, fold) for name, space in workspaces.items()}
    synthetic = {name: _synthetic(folder, category) for name, folder in folders.items()}
    first = next(iter(folders))
    defects = list(dict.fromkeys(sample.defect for sample in synthetic[first]))
    if not defects:
        raise WorkspaceError(
            f"{folders[first]} holds no synthetic images of {category.key}. Run `augment synthesize`."
        )
    parts = [split_defect(category, defect, recipe.data, fold, progress) for defect in defects]
    real = tuple(sample for part in parts for sample in part.fit)
    test = tuple(sample for part in parts for sample in part.test) + category.test_good
    painted = tuple(itertools.chain.from_iterable(synthetic.values()))
    samples = (*category.train_good, *real, *painted, *test)
    hashes = {path: file_sha256(path) for path in dict.fromkeys(files_of(samples))}

    tested = {hashes[sample.image]: sample.image for sample in test}
    for name, folder in folders.items():
        made_from = _recorded_hashes(folder, workspaces[name], category, defects, fold)
        own = (hashes[sample.image] for sample in synthetic[name])
        for digest in itertools.chain(made_from, own):
            if digest not in tested:
                continue
            raise WorkspaceError(
                f"The synthetic images in {folder} were made with {tested[digest]}, which is a test image of "
                f"fold {fold} ({recipe.data.protocol}). Fit and synthesize again with this fold and protocol "
                "or remove its copy from the training images."
            )
    clean = [sample for sample in (*category.train_good, *real) if hashes[sample.image] not in tested]
    for sample in (*category.train_good, *real):
        if hashes[sample.image] in tested:
            _log.warning(
                "%s is also the test image %s: not trained on", sample.image, tested[hashes[sample.image]]
            )
    return Split(
        fold=fold,
        good=tuple(sample for sample in clean if sample.mask is None),
        real=tuple(sample for sample in clean if sample.mask is not None),
        synthetic=synthetic,
        test=test,
        hashes=hashes,
        groups=part_groups(category).repeated() if recipe.data.group_duplicates else (),
    )


def finished_folds(category: Category, recipe: Recipe, workspace: Workspace, fold: int | None) -> list[int]:
    """The folds to run, of those that have a finished synthetic set."""
    wanted = folds_of(recipe.data.protocol) if fold is None else (fold,)
    found = [number for number in wanted if _is_done(workspace.synthetic_folder(category.key, number))]
    if found:
        return found
    if _is_done(workspace.synthetic_folder(category.key, "all")):
        raise WorkspaceError(
            f"The synthetic images of {category.key} were fitted on all real images, so none is left to "
            "test on. Fit and synthesize with --fold 0 (and 1)."
        )
    folds = " or ".join(map(fold_name, wanted))
    raise WorkspaceError(
        f"{category.key} has no finished synthetic images for {folds} in {workspace.root}. "
        "Run `augment synthesize` first."
    )


def _is_done(folder: Path) -> bool:
    run = Run.find(folder)
    return run is not None and run.done


def _synthetic(folder: Path, category: Category) -> tuple[Sample, ...]:
    """The synthetic images of the category's defects."""
    entries = [e for e in Manifest(folder / "manifest.jsonl").entries() if e["defect"] in category.defects]
    return tuple(
        Sample(folder / entry["image"], folder / entry["mask"], entry["defect"], is_synthetic=True)
        for entry in sorted(entries, key=lambda entry: (entry["defect"], entry["index"]))
    )


def _recorded_hashes(
    folder: Path, workspace: Workspace, category: Category, defects: Sequence[str], fold: int
) -> Iterator[str]:
    """SHA-256 of every image that the synthetic set, or a fit behind it, says it was made from."""
    fits = {defect: workspace.fit_folder(f"{category.key}/{defect}", fold) for defect in defects}
    for entry in Manifest(folder / "manifest.jsonl").entries():
        yield from _listed(entry)
        if "fit" in entry and entry["defect"] in fits:  # which may be one of several types together
            fits[entry["defect"]] = folder / entry["fit"]
    for place in (folder, *dict.fromkeys(fits.values())):
        run = Run.find(place)
        if run is not None:
            yield from _listed(run.info())


def _listed(record: dict[str, Any]) -> Iterator[str]:
    if "source_sha256" in record:
        yield record["source_sha256"]
    yield from record.get("training_sha256", ())
    yield from record.get("sources", {}).values()


def files_of(samples: Sequence[Sample]) -> list[Path]:
    """Images and masks of samples, in order."""
    return [path for sample in samples for path in (sample.image, sample.mask) if path is not None]
