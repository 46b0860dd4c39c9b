"""A page for each synthetic set, to look at its images and say which to drop."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.data.images import file_sha256, read_image, read_mask, read_sample
from augment.data.sample import Target
from augment.data.targets import resolve_targets
from augment.errors import DataError, WorkspaceError
from augment.jobs.filtering import limits_path
from augment.jobs.planning import Planner
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.report.set_page import RealDefect, SetFacts, SetImage, set_page
from augment.report.set_pictures import full_side
from augment.workspace import Manifest, Rejections, Run, fold_name

log = logging.getLogger(__name__)
_BOUND = {
    "coverage": "at least",
    "strength": "at least",
    "seam": "at most",
    "raggedness": "at most",
    "likeness": "distance at most",
    "copy": "distance at least",
}
_SAMPLE = 6  # images from which the size of the page is estimated


@dataclass(frozen=True)
class ReportResult:
    """One page.

    Attributes:
        key: DATASET/CATEGORY.
        fold: of the set.
        n: images of the set on the page.
        page: the file.
        bytes: its size.
    """

    key: str
    fold: int | str
    n: int
    page: Path
    bytes: int


def report(folder: Path, page: Path | None = None, progress: Progress = no_progress) -> ReportResult:
    """Write the page of one synthetic set.

    Args:
        folder: the set's run folder.
        page: HTML file to write; None: `report.html` in the folder.
        progress: makes the bar.

    Raises:
        WorkspaceError: there is no set, or a file of it is missing; the page cannot be written.
        DataError: the images it was made from are not where they were.
    """
    run = Run.find(folder)
    entries = Manifest(folder / "manifest.jsonl").entries()
    if run is None or not entries:
        raise WorkspaceError(f"{folder} holds no synthetic images. Run `augment synthesize` first.")
    record, recipe = run.info(), Recipe.read(folder / "recipe.yaml")
    entries.sort(key=lambda entry: (entry["defect"], entry["index"]))
    failed = Rejections(folder).entries()
    failed.sort(key=lambda entry: (entry["defect"], entry["index"], entry["attempt"]))
    key, fold = f"{record['dataset']}/{record['category']}", record["fold"]
    planners = {e["defect"]: e for e in [*failed, *entries]}
    planners = {defect: _planner(folder, e, recipe, record["seed"]) for defect, e in planners.items()}
    few = entries[:: max(1, len(entries) // _SAMPLE)][:_SAMPLE]
    side = full_side([_read(folder, entry)[0] for entry in few], len(entries) + len(failed))
    out = page or folder / "report.html"
    with progress(
        total=len(entries) + len(failed), desc=f"report {key} {fold_name(fold)}", unit="image"
    ) as bar:
        images = _images(folder, [*entries, *failed], planners, bar)
        notes = list(_filter_notes(folder, recipe, failed, planners))
        set_page(out, _about(record, recipe, entries, key, side, notes), images, _real(planners), side)
    return ReportResult(key, fold, len(entries), out, out.stat().st_size)


def _planner(folder: Path, entry: Mapping[str, Any], recipe: Recipe, seed: int) -> Planner:
    """What rebuilds source and target mask of a defect's images."""
    fit_run = Run.find(folder / entry["fit"])
    if fit_run is None:
        raise WorkspaceError(f"The fit behind {folder} is gone: {folder / entry['fit']}. Fit again.")
    record = fit_run.info()
    if not Path(record["root"]).is_dir():
        raise DataError(f"The images behind {folder} are not at {record['root']} any more. Put them back.")
    target: Target = resolve_targets([f"{record['root']}/{entry['defect']}"], None)[0]
    return Planner.of(target, fit_run, recipe, seed)


def _images(
    folder: Path, entries: Sequence[Mapping[str, Any]], planners: Mapping[str, Planner], bar: Any
) -> Iterator[SetImage]:
    for entry in entries:
        result, refined = _read(folder, entry)
        plan = planners[entry["defect"]].plan(entry["index"], entry.get("attempt", 0))
        is_same = plan.is_of(entry)
        if not is_same:
            log.warning("%s: its source and target mask cannot be found again", entry["id"])
        yield SetImage(
            entry,
            file_sha256(folder / entry["image"])[:12],
            result,
            refined,
            plan.image() if is_same else None,
            plan.mask if is_same else None,
        )
        bar.update(1)


def _read(folder: Path, entry: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    image, mask = folder / entry["image"], folder / entry["mask"]
    if not (image.is_file() and mask.is_file()):
        raise WorkspaceError(f"{image} or its mask is missing. Run `augment synthesize` again; it goes on.")
    return read_image(image), read_mask(mask)


def _real(planners: Mapping[str, Planner]) -> Iterator[RealDefect]:
    """The images each defect's fit has seen."""
    for defect, planner in planners.items():
        for sample in planner.training:
            image, mask = read_sample(sample)
            yield RealDefect(defect, sample.image.name, image, mask)


def _filter_notes(
    folder: Path, recipe: Recipe, failed: Sequence[Mapping[str, Any]], defects: Iterable[str]
) -> Iterator[str]:
    """What the quality filter did, and by which limits."""
    if not recipe.synthesize.filter.enabled:
        return
    counts = Counter(reason for entry in failed for reason in entry["reasons"])
    why = ", ".join(f"{count} by {name}" for name, count in counts.most_common())
    yield f"{len(failed)} attempts failed the quality filter" + (f": {why}." if why else ".")
    for defect in defects:
        path = limits_path(folder, defect)
        if path.is_file():
            limits = json.loads(path.read_text("utf-8"))
            words = (
                f"{name} {_BOUND[name]} {value:g}" for name, value in limits.items() if value is not None
            )
            yield f"Limits of {defect}, found on its real defects: {', '.join(words)}."


def _about(
    record: Mapping[str, Any],
    recipe: Recipe,
    entries: Sequence[Mapping[str, Any]],
    key: str,
    side: int,
    more: Sequence[str],
) -> SetFacts:
    fold = record["fold"]
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["defect"]] = counts.get(entry["defect"], 0) + 1
    version = record["versions"].get("augment-defects", "?")
    facts = {
        "images": ", ".join(f"{count} {defect}" for defect, count in counts.items()),
        "fold": fold_name(fold),
        "recipe": recipe.name,
        "method": recipe.fit.method,
        "model": recipe.backbone.model,
        "seed": record["seed"],
        "augment": f"{version}, revision {record.get('revision') or 'unknown'}",
        "versions": ", ".join(f"{n} {v}" for n, v in record["versions"].items() if n != "augment-defects"),
        "licence of the data": record.get("licence") or "not known to augment",
        "made": f"{record['created']}" + ("" if record["state"] == "done" else ", unfinished"),
    }
    words = ["augment synthesize", key, "--fold", str(fold), "-n", str(max(counts.values()))]
    words += ["--seed", str(record["seed"])] if record["seed"] else []
    notes = [
        "The outline is the mask that is written. Outside of it a result is its source, bit for bit; here "
        f"both are JPEG pictures of at most {side} pixels a side.",
        *more,
    ]
    return SetFacts(
        title=f"Synthetic images of {key}, {fold_name(fold)}",
        name=f"{key} {fold_name(fold)}",
        key=f"augment-report:{key}:{fold_name(fold)}:{record['created']}",
        facts=facts,
        settings=recipe.to_dict(),
        command=" ".join(words),
        notes=notes,
    )
