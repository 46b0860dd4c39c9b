"""Labels of another format and their images -> a category folder in MVTec layout."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from augment.data.export import copy_image
from augment.data.formats import READERS
from augment.data.formats.names import defect_folders, file_stems, safe_name
from augment.data.formats.reading import Label, LabelledImage, Reading, ReadOptions
from augment.data.images import image_orientation, image_size, turn_mask, write_png
from augment.data.sample import GOOD
from augment.errors import DataError, TargetError, suggest
from augment.progress import Progress, no_progress
from augment.workspace.staging import Staging

_log = logging.getLogger(__name__)

COMBINED = "combined"  # the folder of images that show several defects, as MVTec calls it


@dataclass(frozen=True)
class ImportOptions:
    """How labels become a category.

    Attributes:
        read: how the labels are read.
        test_good: share of the good images that goes to test/good.
        ignore: classes that are no defects; their labels are left out.
        skip_bad: leave out images with labels that cannot be used, in place of stopping.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    test_good: float = 0.2
    ignore: tuple[str, ...] = ()
    skip_bad: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What an import wrote."""

    folder: str
    images: dict[str, int]  # "train/good", "test/good", "test/DEFECT" -> number
    notes: tuple[str, ...]
    skipped: bool  # done before


@dataclass(frozen=True)
class _Planned:
    """One image, how its mask is drawn, and where both go."""

    source: LabelledImage
    part: str  # "train/good", "test/good" or "test/DEFECT"
    stem: str
    size: tuple[int, int]  # (H, W) at which its labels are drawn
    orientation: int  # by which the mask is turned then

    def image(self, root: Path) -> Path:
        return root / self.part / f"{self.stem}.png"

    def mask(self, root: Path) -> Path:
        return root / "ground_truth" / self.part.partition("/")[2] / f"{self.stem}_mask.png"


def import_labels(
    source: Path,
    target: Path,
    form: str,
    category: str,
    options: ImportOptions,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> ImportResult:
    """Write the category folder `target/category`, and `category.import.json` beside it.

    An image with labels of one class goes to `test/CLASS`; one of several classes goes to `test/combined`,
    once, with the union of its masks; one without labels goes to `train/good` or `test/good`. Images become
    PNG, turned upright. All is written under a hidden name and appears when it is whole; a killed import goes
    on where it stopped.

    Args:
        source: the label file or folder.
        target: folder of the data set.
        form: a name of `READERS`.
        category: name of the category folder.
        options: see there.
        force: replace what an earlier import wrote there.
        progress: shows the images.

    Raises:
        DataError: labels that cannot be used, without `options.skip_bad`; or nothing is left.
        WorkspaceError: the folder exists and may not be replaced, or cannot be written.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist: name the label file, or the folder of the labels.")
    reading = READERS[form](source, options.read)
    notes = list(reading.notes)
    images = _without_ignored(_merged(reading, notes), options.ignore)
    planned = _plan(_drawable(images, reading, notes), options.test_good, notes)
    _stop_at(reading.problems, options.skip_bad, notes)
    if not planned:
        raise DataError(f"{source} has no images that can be used.")
    fingerprint = _fingerprint(reading, planned, form, options)
    record = target / f"{category}.import.json"
    staging = Staging(target / category, record, fingerprint, force=force)
    if staging.is_done:
        facts = staging.recorded()
        return ImportResult(str(target / category), facts["images"], tuple(facts["notes"]), True)
    root = staging.open()
    names: dict[str, str] = {}
    for item in progress(planned, desc=f"importing {category}", unit="image"):
        try:
            _write(item, root)
            names[item.image(Path()).as_posix()] = item.source.name
        except DataError as error:
            _stop_at([str(error)], options.skip_bad, notes)
    counts = dict(sorted(Counter(name.rpartition("/")[0] for name in names).items()))
    facts = {
        "source": str(source.absolute()),
        "format": form,
        "options": asdict(options),
        "images": counts,
        "notes": notes,
        "names": names,
    }
    staging.finish(facts)
    return ImportResult(str(target / category), counts, tuple(notes), False)


def default_category(source: Path) -> str:
    """The category's name where none is given: that of the folder, or of the file's folder."""
    path = source.absolute()
    return safe_name((path.parent if path.is_file() else path).name)


def _stop_at(problems: Sequence[str], skip_bad: bool, notes: list[str]) -> None:
    """Raise the problems as one line, or note that their images are left out."""
    for problem in problems:
        _log.info("%s", problem)
    if not problems:
        return
    if not skip_bad:
        more = (
            f" The same goes for {_count(len(problems) - 1, 'other')} (-v lists them)."
            if len(problems) > 1
            else ""
        )
        raise DataError(f"{problems[0]}{more} Correct the labels, or leave such images out with --skip-bad.")
    notes += [f"Left out: {problem}" for problem in problems]


def _merged(reading: Reading, notes: list[str]) -> list[LabelledImage]:
    """Each image once, with all labels that are anywhere given for it."""
    found: dict[Path, LabelledImage] = {}
    for entry in reading.images:
        path = entry.image.resolve()
        if path in found:
            notes.append(f"{entry.name} is listed twice: its labels were put together.")
            entry = replace(found[path], labels=found[path].labels + entry.labels)
        found[path] = entry
    return list(found.values())


def _without_ignored(images: list[LabelledImage], ignore: Sequence[str]) -> list[LabelledImage]:
    known = {label.name for entry in images for label in entry.labels}
    for name in ignore:
        if name not in known:
            raise TargetError(f"No label is of the class '{name}'. {suggest(name, known)}")
    return [
        replace(entry, labels=tuple(label for label in entry.labels if label.name not in ignore))
        for entry in images
    ]


def _drawable(
    images: list[LabelledImage], reading: Reading, notes: list[str]
) -> list[tuple[LabelledImage, tuple[int, int], int]]:
    """The images whose labels fit them, with the size to draw at and the orientation to turn by."""
    found = []
    cut = turned = 0
    for entry in images:
        try:
            size, orientation = image_size(entry.image), 1
            if entry.size is not None and tuple(entry.size) != size:
                orientation = image_orientation(entry.image)
                if orientation < 5 or tuple(entry.size) != size[::-1]:
                    raise DataError(
                        f"{entry.image} is {size[1]} x {size[0]} pixels, but its labels are for an image of "
                        f"{entry.size[1]} x {entry.size[0]}."
                    )
                turned += 1
                size = size[::-1]
            for label in entry.labels:
                cut += _reaches_out(label, size)
        except DataError as error:
            reading.problems.append(str(error))
            continue
        found.append((entry, size, orientation))
    if cut:
        notes.append(f"Cut off at the image's edge: {_count(cut, 'label')}.")
    if turned:
        notes.append(f"Turned with the image, as EXIF says: {_count(turned, 'mask')}.")
    return found


def _reaches_out(label: Label, size: tuple[int, int]) -> bool:
    try:
        return label.shape.reaches_out(size)
    except DataError as error:
        raise DataError(f"{label.where} {error}.") from error


def _plan(
    images: list[tuple[LabelledImage, tuple[int, int], int]], test_good: float, notes: list[str]
) -> list[_Planned]:
    folders = defect_folders((label.name for entry, *_ in images for label in entry.labels), notes)
    if GOOD in folders.values():
        name = next(name for name, folder in folders.items() if folder == GOOD)
        raise DataError(
            f"A class is called '{name}', which is what images without defects are: pass its labels over "
            f"with --ignore {name}, or rename it."
        )
    good = sorted((entry.name for entry, *_ in images if not entry.labels), key=_rank)
    if not good:
        notes.append("No image is without labels: add good images to train/good, which a fit needs.")
    n_test = min(round(test_good * len(good)), max(len(good) - 1, 0))
    in_test = set(good[:n_test])
    planned = []
    stems = file_stems([entry.name for entry, *_ in images], notes)
    for (entry, size, orientation), stem in zip(images, stems, strict=True):
        kinds = sorted({folders[label.name] for label in entry.labels})
        part = f"test/{kinds[0] if len(kinds) == 1 else COMBINED}" if kinds else f"train/{GOOD}"
        if not kinds and entry.name in in_test:
            part = f"test/{GOOD}"
        planned.append(_Planned(entry, part, stem, size, orientation))
    several = sum(item.part == f"test/{COMBINED}" for item in planned)
    if several and COMBINED not in folders.values():
        notes.append(f"In test/{COMBINED}, for labels of several classes: {_count(several, 'image')}.")
    return planned


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rank(name: str) -> str:
    """An order without meaning, so that a share is no stretch of a series, and always the same."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _fingerprint(reading: Reading, planned: list[_Planned], form: str, options: ImportOptions) -> str:
    """Of the settings, the label files, the images, and where they go."""
    files = [(str(path), *_state(path)) for path in reading.files]
    files += [(item.source.name, item.part, item.stem, *_state(item.source.image)) for item in planned]
    settings = {**asdict(options), "format": form}
    text = json.dumps([settings, files], default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _write(item: _Planned, root: Path) -> None:
    """Write the image, then its mask if it has labels; what is there is kept."""
    labels, image, path = item.source.labels, item.image(root), item.mask(root)
    if image.exists() and (not labels or path.exists()):
        return
    mask = None
    if labels:
        mask = np.zeros(item.size, bool)
        for label in labels:
            try:
                mask |= label.shape.draw(item.size)
            except DataError as error:
                raise DataError(f"{label.where} {error}.") from error
        if not mask.any():
            raise DataError(f"{labels[0].where} marks no pixel of {item.source.image}.")
    copy_image(item.source.image, image)
    if mask is not None:
        write_png(path, turn_mask(mask, item.orientation))
