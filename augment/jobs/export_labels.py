"""A category folder in MVTec layout -> labels of another format, with copies of the images."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from augment.data.formats import WRITERS
from augment.data.formats.writing import ExportImage
from augment.data.images import image_orientation, image_size, read_image, write_png
from augment.data.layouts import mask_files
from augment.data.sample import Category, Sample
from augment.data.targets import resolve_categories
from augment.errors import TargetError
from augment.progress import Progress, no_progress
from augment.workspace.files import atomic_path
from augment.workspace.staging import Staging


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    folder: str
    images: int
    defects: dict[str, int]  # defect -> number of images
    skipped: bool  # done before


def export_labels(
    category: Category,
    output: Path,
    form: str,
    *,
    with_good: bool = True,
    force: bool = False,
    progress: Progress = no_progress,
    **settings: Any,
) -> ExportResult:
    """Write `output/images` and the labels beside them, and `output.export.json` beside the folder.

    Images keep their bytes and their place (`images/test/crack/0000.png`), but those that EXIF turns, which
    are written upright as PNG, so that all tools see them as the masks lie.

    Args:
        category: what to export; see `find_category`.
        output: the folder to write; it appears when it is whole.
        form: a name of `WRITERS`.
        with_good: export good images too, without labels.
        force: replace what an earlier export wrote there.
        progress: shows the images.
        settings: of the format, see its `write`.

    Raises:
        DataError: an image or a mask cannot be read.
        WorkspaceError: the folder exists and may not be replaced, or cannot be written.
    """
    samples = [sample for found in category.defects.values() for sample in found]
    if with_good:
        samples = [*category.train_good, *category.test_good, *samples]
    counts = {name: len(found) for name, found in category.defects.items()}
    output = Path(output)
    fingerprint = _fingerprint(samples, form, settings)
    staging = Staging(output, output.with_name(f"{output.name}.export.json"), fingerprint, force=force)
    if staging.is_done:
        return ExportResult(str(output), len(samples), counts, True)
    folder = staging.open()
    images = []
    taken: set[str] = set()
    for sample in progress(samples, desc=f"exporting {category.name}", unit="image"):
        images.append(_copied(category, sample, folder, taken))
    WRITERS[form](folder, images, list(category.defects), **settings)
    staging.finish({"source": str(category.root.absolute()), "format": form, "images": len(images)})
    return ExportResult(str(output), len(images), counts, False)


def find_category(pattern: str, data_root: Path | None) -> Category:
    """The one category that a pattern names (see `resolve_targets`), with the defects that it names.

    Raises:
        TargetError: it names nothing, or several.
        DataError: the category cannot be used.
    """
    found = resolve_categories([pattern], data_root)
    if len(found) > 1:
        names = ", ".join(category.name for category in found)
        raise TargetError(f"'{pattern}' names several categories: export one of {names} at a time.")
    return found[0]


def _copied(category: Category, sample: Sample, folder: Path, taken: set[str]) -> ExportImage:
    """Copy one image, if it is not there, to a name whose stem is no other's."""
    relative = PurePosixPath(sample.image.relative_to(category.root).as_posix())
    is_turned = image_orientation(sample.image) != 1
    if is_turned:
        relative = relative.with_suffix(".png")
    if relative.with_suffix("").as_posix() in taken:  # a.jpg and a.png: labels are files of the same stem
        relative = relative.with_name(f"{relative.stem}_{sample.image.suffix[1:].lower()}{relative.suffix}")
    taken.add(relative.with_suffix("").as_posix())
    path = folder / "images" / relative
    if not path.exists():
        image = read_image(sample.image)  # also where bytes are copied: a truncated file must not be
        if is_turned:
            write_png(path, image)
        else:
            with atomic_path(path) as temporary:
                shutil.copyfile(sample.image, temporary)
    is_test = sample in category.test_good
    return ExportImage(relative.as_posix(), image_size(sample.image), sample.defect, sample.mask, is_test)


def _fingerprint(samples: list[Sample], form: str, settings: dict[str, Any]) -> str:
    files = [file for s in samples for file in (s.image, *(mask_files(s.mask) if s.mask else ()))]
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    text = json.dumps([form, settings, states], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
