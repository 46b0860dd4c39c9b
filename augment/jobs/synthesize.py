"""The second job: paint learned defects onto good images, and write them as an MVTec-format folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from augment.backbones.memory import settle_memory
from augment.backbones.weights import weights_file
from augment.data.export import MvtecWriter
from augment.data.images import file_sha256, read_image
from augment.data.sample import Target
from augment.devices import split_devices
from augment.errors import WorkspaceError
from augment.jobs.dropping import Slot, batches, check_drops, drop_images, is_wanted, remove_images
from augment.jobs.filtering import Filter, limits_path
from augment.jobs.finished_fit import finished_fit
from augment.jobs.foregrounds import show_foreground
from augment.jobs.painters import Batch, Defect, Painter, make_painter
from augment.jobs.painting import Painted, PaintedPiece
from augment.jobs.planning import Plan, Planner
from augment.jobs.provenance import Provenance, made_with
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.report.pictures import contact_sheet
from augment.workspace import Drops, Manifest, Rejections, Run, Workspace, locked, sort_lines, wipe, writing

_SECTIONS = ("backbone", "window", "data", "synthesize")
_SHEET = 20


@dataclass(frozen=True)
class SynthesisResult:
    """One synthetic set.

    Attributes:
        key: DATASET/CATEGORY/DEFECT.
        fold: the fold of the fit that painted it.
        folder: the run folder; holds `manifest.jsonl`, the sheet, `run.json`, `recipe.yaml`.
        category_folder: the MVTec-format folder in it.
        n: number of images of this defect there.
        seconds: time this call spent on it.
        skipped: all were there before.
        sheet: the contact sheet; None: no image passed the filter.
        left_out: images of which no attempt passed the filter.
        rejected: criterion -> attempts that failed by it.
        statement: a sentence on what the filter did; empty where it is off.
        foreground: what was taken for the parts, in words; `foreground.png` beside the sheet shows it.
    """

    key: str
    fold: int | str
    folder: Path
    category_folder: Path
    n: int
    seconds: float
    skipped: bool
    sheet: Path | None
    foreground: str
    left_out: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    statement: str = ""


def synthesize(
    targets: Sequence[Target],
    n: int,
    recipe: Recipe,
    workspace: Workspace,
    *,
    seed: int = 0,
    fold: int | str = 0,
    device: str = "auto",
    dtype: str = "auto",
    force: bool = False,
    drop: Sequence[str] = (),
    progress: Progress = no_progress,
) -> list[SynthesisResult]:
    """Paint `n` images of each target.

    Image number i depends on the seed, the target, i and how often it was dropped alone (with the filter on
    it is the first attempt since then that passes), so a killed run resumes to the same bytes, and asking for
    more adds to what is there.

    Args:
        targets: fitted ones, each on its own or, with `fit.together`, in a fit of several.
        n: images a target, 1 to 10000.
        recipe: sections backbone, window, data and synthesize, the first three as in the fit; and memory.
        workspace: where the runs live.
        seed: of all randomness.
        fold: the fold of the fit.
        device: as for `load_backbone`; several, as `cuda:0,cuda:1` or `all`, paint together.
        dtype: as for `load_backbone`.
        force: redo what is there; what was dropped before is forgotten.
        drop: images to take out of the set and paint again, as `crack/0007`; the targets are of one category.
        progress: makes progress bars.

    Raises:
        TargetError: a target is not fitted.
        AugmentError: unusable images, a run with other settings, or one that another process works on, a full
            disk.
    """
    fits = [finished_fit(target, recipe, workspace, fold) for target in targets]
    with ExitStack() as locks:
        for key in dict.fromkeys(target.category.key for target in targets):
            folder = workspace.synthetic_folder(key, fold)
            defects = [target.defect for target in targets if target.category.key == key]
            locks.enter_context(locked(folder))
            if drop:
                check_drops(folder, drop, defects)
            if force:
                _remove_defects(folder, set(defects))
        devices = split_devices(device)
        memory = settle_memory(recipe, ",".join(devices)).memory
        painter = locks.enter_context(make_painter(recipe, devices, dtype, memory))
        machine = made_with(devices[0], dtype, recipe.speed, memory)
        results: list[SynthesisResult] = []
        hashes: dict[str, dict[str, str]] = {}
        for target, fit_run in zip(targets, fits, strict=True):
            category = target.category
            if category.key not in hashes:
                hashes[category.key] = {str(s.image): file_sha256(s.image) for s in category.train_good}
            good = hashes[category.key]
            extra = {
                "kind": "synthetic",
                "dataset": category.dataset,
                "category": category.name,
                "root": str(category.root.resolve()),
                "fold": fold,
                "licence": category.licence,
            }
            folder = workspace.synthetic_folder(category.key, fold)
            run = Run.open(folder, recipe, _SECTIONS, seed, sources=good, extra=extra)
            if drop and not results:
                for each, its_fit in zip(targets, fits, strict=True):
                    _refuse_other_weights(each, its_fit, folder)
                drop_images(run, drop)
            results.append(
                _synthesize_one(target, n, fit_run, recipe, run, fold, seed, painter, machine, progress)
            )
        return results


def _remove_defects(folder: Path, defects: set[str]) -> None:
    """Take defects out of a synthetic set; the whole run folder, where it holds no others."""
    run = Run.find(folder)
    if run is None or all(e["defect"] in defects for e in Manifest(folder / "manifest.jsonl").entries()):
        wipe(folder)
        return
    run.reopen()
    with writing(folder):
        for defect in defects:
            (folder / f"sheet_{defect}.png").unlink(missing_ok=True)
            limits_path(folder, defect).unlink(missing_ok=True)
    remove_images(folder, lambda entry: entry["defect"] not in defects)
    Rejections(folder).forget(defects)
    Drops(folder).forget(defects)


def _refuse_other_weights(target: Target, fit_run: Run, folder: Path) -> None:
    """Raise if a set holds images of the target that other weights than its fit's painted."""
    weights = file_sha256(weights_file(fit_run.folder))
    entries = Manifest(folder / "manifest.jsonl").entries()
    if any(e["defect"] == target.defect and e["weights_sha256"] != weights for e in entries):
        raise WorkspaceError(
            f"{folder} holds images of {target.key} that an earlier fit painted. Redo them with --force, "
            "or choose another --workspace."
        )


def _synthesize_one(
    target: Target,
    n: int,
    fit_run: Run,
    recipe: Recipe,
    run: Run,
    fold: int | str,
    seed: int,
    painter: Painter,
    machine: Mapping[str, Any],
    progress: Progress,
) -> SynthesisResult:
    """Paint what is missing of one target's images."""
    category, defect = target.category, target.defect
    started = time.monotonic()
    drops = Drops(run.folder)
    remove_images(run.folder, lambda entry: entry["defect"] != defect or is_wanted(entry, drops))
    writer, manifest = MvtecWriter(run.folder, category.name), Manifest(run.folder / "manifest.jsonl")

    _refuse_other_weights(target, fit_run, run.folder)
    numbers = sorted({*range(n), *drops.indices(defect)})
    planner = Planner.of(target, fit_run, recipe, seed)
    quality = Filter(planner, recipe.synthesize.filter, run.folder)

    def wanted() -> list[Slot]:
        absent = [i for i in numbers if not (_image_id(defect, i) in manifest and writer.has(defect, i))]
        attempts = ((index, quality.attempt(index)) for index in absent)
        return [(index, attempt) for index, attempt in attempts if attempt is not None]

    missing = waiting = wanted()
    sheet = run.folder / f"sheet_{defect}.png"
    if missing or not run.done:
        run.reopen(memory=asdict(painter.memory))
        writer.write_good(category.train_good, category.test_good)
    show_foreground(planner.foreground, category, run.folder)
    if missing:
        quality.begin()
        provenance = Provenance.of(target, run, fit_run, recipe, machine)
        with writing(sheet):
            sheet.unlink(missing_ok=True)  # else one of the images before outlives a kill
        with progress(total=len(numbers), desc=f"synthesize {target.key}", unit="image") as bar:
            bar.update(len(numbers) - len(missing))

            def keep(batch: Batch, plans: list[Plan], painted: list[list[PaintedPiece]]) -> None:
                for (slot, is_missing), plan, pieces in zip(batch, plans, painted, strict=True):
                    if not is_missing:
                        continue
                    source = plan.image()
                    result = Painted.of(source, pieces)
                    verdict = quality.judge(source, result.image, result.mask)
                    entry = provenance.entry(slot, plan, result)
                    entry |= {"scores": verdict.scores, "nearest": verdict.nearest}
                    if verdict.reasons:
                        quality.reject(slot, entry, result, verdict)
                        bar.update(int(quality.attempt(slot[0]) is None))
                        continue
                    image, mask = writer.write(defect, slot[0], result.image, result.mask)
                    entry |= {
                        "image": str(image.relative_to(run.folder)),
                        "mask": str(mask.relative_to(run.folder)),
                    }
                    failed = quality.failed(slot[0])
                    manifest.append(entry | ({"rejected": failed} if failed else {}))
                    bar.update(1)

            while waiting:
                work = batches(waiting, recipe.synthesize.batch_size)
                painter.paint(Defect(planner, fit_run.folder), work, keep)
                waiting = wanted()
    if recipe.synthesize.filter.enabled:  # the order of the lines, too, depends on nothing but the numbers
        sort_lines(manifest.path, defect)
        quality.rejections.sort(defect)
    entries = [entry for entry in Manifest(manifest.path).entries() if entry["defect"] == defect]
    count, there = len(entries), {entry["index"] for entry in entries}
    left_out = [index for index in numbers if index not in there]
    if count and (missing or not sheet.exists()):
        _draw_sheet(planner, manifest, run.folder, sheet)
    seconds = time.monotonic() - started
    run.finish(foreground=planner.foreground.record())
    return SynthesisResult(
        key=target.key,
        fold=fold,
        folder=run.folder,
        category_folder=writer.folder,
        n=count,
        seconds=round(seconds, 2),
        skipped=not missing,
        sheet=sheet if count else None,
        left_out=len(left_out),
        rejected=quality.counts(),
        statement=quality.statement(numbers, left_out),
        foreground=str(planner.foreground),
    )


def _image_id(defect: str, index: int) -> str:
    return f"{defect}/{index:04d}"


def _draw_sheet(planner: Planner, manifest: Manifest, folder: Path, path: Path) -> None:
    """The contact sheet of a defect's first images, from what was written."""
    defect = planner.target.defect
    found = sorted((e for e in manifest.entries() if e["defect"] == defect), key=lambda e: e["index"])
    shown = [(entry, planner.plan(entry["index"], entry.get("attempt", 0))) for entry in found[:_SHEET]]
    # Of a set that another version began, the plans of its images may be others now.
    shown = [(entry, plan) for entry, plan in shown if plan.is_of(entry)]
    if not shown:
        return
    captions = [f"{entry['id']}, on {Path(entry['source']).name}" for entry, _ in shown]

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for entry, plan in shown:
            result, refined = read_image(folder / entry["image"]), read_image(folder / entry["mask"]) > 0
            yield {"source": plan.image(), "target": plan.mask, "result": result, "refined": refined}

    contact_sheet(rows(), path, captions)
