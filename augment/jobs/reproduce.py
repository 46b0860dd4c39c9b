"""Painting an image of a synthetic set again from its line in the manifest, and comparing the bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from augment.backbones.memory import settle_memory
from augment.backbones.model_files import model_sha256
from augment.backbones.weights import ADAPTER, weights_file
from augment.data.images import file_sha256, read_image, write_png
from augment.data.sample import GOOD, Sample, Target
from augment.data.targets import resolve_targets
from augment.errors import AugmentError, DataError, WorkspaceError
from augment.jobs.dropping import Slot, batches, is_wanted
from augment.jobs.painters import Batch, Defect, make_painter
from augment.jobs.painting import Painted, PaintedPiece
from augment.jobs.planning import Plan, Planner
from augment.jobs.provenance import made_with, settings_sha256
from augment.recipe import MemoryConfig, Recipe, SpeedConfig
from augment.workspace import Drops, Run, find_entry, trained_names


@dataclass(frozen=True)
class Reproduction:
    """One image painted again.

    Attributes:
        id: as in the manifest.
        same: image and mask have the bytes of the files that are there.
        findings: one line for each file, then, where they differ, one for each thing that is not as it was.
        image, mask: what was painted now; None: it was not to be kept.
    """

    id: str
    same: bool
    findings: tuple[str, ...]
    image: Path | None
    mask: Path | None

    @property
    def text(self) -> str:
        """For people."""
        head = f"{self.id}: " + ("the same bytes" if self.same else "NOT the same bytes")
        return "\n".join([head, *(f"  {line}" for line in self.findings)])


def reproduce(
    line: str, out: Path | None = None, *, device: str | None = None, dtype: str | None = None
) -> Reproduction:
    """Paint an image again from the recorded source, masks, seed, settings and fit.

    Args:
        line: `MANIFEST:LINE` or `MANIFEST:ID` (see `find_entry`).
        out: folder for the image and its mask; None: they are not kept.
        device, dtype: as for `load_backbone`; None: what the image was painted with.

    Raises:
        AugmentError: something that it was made from is gone or has changed, each said in one line.
    """
    path, entry = find_entry(line)
    folder = path.parent
    run = Run.find(folder)
    if run is None or "weights_sha256" not in entry:
        raise WorkspaceError(f"{path} is no manifest of a synthetic set.")
    name = entry["id"]
    if "of" not in entry and not is_wanted(
        entry, Drops(folder)
    ):  # else an attempt that the filter turned down
        raise WorkspaceError(
            f"{name} was dropped since. Run `augment synthesize` again to have the next one."
        )
    files = [None if out is None else out / f"{name.replace('/', '_')}{end}.png" for end in ("", "_mask")]
    for file in files:
        if file is not None and file.exists():
            raise WorkspaceError(f"{file} is there already. Move it, or name another folder with --out.")
    fit_run = _fit_of(folder, entry)
    recipe = Recipe.read(folder / "recipe.yaml")
    _check_inputs(folder, fit_run, recipe, entry)
    target = _target_of(fit_run, run, entry)
    planner = Planner.of(target, fit_run, recipe, entry["seed"])
    if len(planner.training) < len(trained_names(fit_run.info(), target.defect)):
        raise DataError(
            f"Training images of {fit_run.folder} are gone from {target.category.root}, and with them masks "
            f"that {name} was chosen among. Put them back."
        )
    plan = planner.plan(entry["index"], entry.get("attempt", 0))
    then = entry.get("made_with", {})
    _check_plan(plan, entry, then)
    device, dtype = device or then.get("device", "auto"), dtype or then.get("dtype", "auto")
    recipe = _as_then(recipe, then, device)
    painted = _paint(
        planner, (entry["index"], entry.get("attempt", 0)), fit_run.folder, recipe, device, dtype
    )

    with tempfile.TemporaryDirectory() as scratch:
        findings, same = [], True
        for kind, pixels, file in zip(("image", "mask"), (painted.image, painted.mask), files, strict=True):
            file = file or Path(scratch) / f"{kind}.png"
            write_png(file, pixels)
            is_same, finding = _compare(kind, folder / entry[kind], file)
            findings.append(finding)
            same &= is_same
    if not same:
        findings += _changes(run, then, made_with(device, dtype, recipe.speed, recipe.memory))
    return Reproduction(name, same, tuple(findings), *files)


def _fit_of(folder: Path, entry: Mapping[str, Any]) -> Run:
    """The fit behind an image, with the weights it had then."""
    fit_folder = (folder / entry["fit"]).resolve()
    run, weights = Run.find(fit_folder), weights_file(fit_folder)
    if run is None or not weights.is_file():
        raise WorkspaceError(f"The fit behind {entry['id']} is gone: {fit_folder}. Put it back.")
    now = file_sha256(weights)
    if now != entry["weights_sha256"]:
        raise WorkspaceError(
            f"The fit behind {entry['id']} has other weights now: {weights} has SHA-256 {now[:12]}, not "
            f"{entry['weights_sha256'][:12]}. Put the earlier fit back, or paint the set again with --force."
        )
    return run


def _check_inputs(folder: Path, fit_run: Run, recipe: Recipe, entry: Mapping[str, Any]) -> None:
    """Raise if a file or setting that the image was made from is not what it was."""
    inputs = [("source image", entry["source"], entry["source_sha256"])]
    for part in entry.get("defects", [entry]):
        inputs.append(("mask", part["mask_source"], part.get("mask_source_sha256")))
        for name in ("example", "second_example"):
            inputs.append(("training image", part.get(name), part.get(f"{name}_sha256")))
    inputs += [("foreground mask", *pair) for pair in entry.get("foreground", {}).items()]
    for kind, name, digest in inputs:
        if name is None or digest is None:  # there is none, or augment did not record it then
            continue
        if not Path(name).exists():
            raise DataError(f"The {kind} of {entry['id']} is not at {name} any more. Put it back.")
        now = file_sha256(Path(name))
        if now != digest:
            raise DataError(
                f"The {kind} of {entry['id']}, {name}, has changed: its SHA-256 is {now[:12]}, not "
                f"{digest[:12]}. Put the earlier one back."
            )
    settings = entry.get("settings_sha256")
    if settings is not None and settings != settings_sha256(folder, fit_run.folder):
        raise WorkspaceError(
            f"The settings of {entry['id']} have changed: {folder / 'recipe.yaml'} or "
            f"{fit_run.folder / 'recipe.yaml'} was edited. Put the earlier one back."
        )
    model, is_adapter = entry.get("model_sha256"), weights_file(fit_run.folder).name == ADAPTER
    if model is not None and model != model_sha256(recipe.backbone, with_unet=is_adapter):
        raise WorkspaceError(
            f"The base model of {entry['id']}, {entry['model']}, has other files now. Put the earlier back."
        )


def _target_of(fit_run: Run, run: Run, entry: Mapping[str, Any]) -> Target:
    """What was painted, with the good images that there were to choose from."""
    root = Path(fit_run.info()["root"])
    if not root.is_dir():
        raise DataError(f"The images behind {entry['id']} are not at {root} any more. Put them back.")
    target = resolve_targets([f"{root}/{entry['defect']}"], None)[0]
    good = tuple(Sample(Path(name), None, GOOD) for name in run.info()["sources"])
    return replace(target, category=replace(target.category, train_good=good))


def _check_plan(plan: Plan, entry: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Raise if this version would not paint the same defects in the same place of the same image."""
    parts = entry.get("defects", [entry])
    pairs = [("source", str(plan.source), entry["source"]), ("defects", len(plan.parts), len(parts))]
    for part, record in zip(plan.parts, parts, strict=False):
        window = vars(part.piece.window)
        pairs += [
            ("mask", part.mask_source, record["mask_source"]),
            ("window", window, record["window"]),
            ("target mask's pixels", int(part.piece.mask.sum()), record["target_pixels"]),
        ]
    for name, now, before in pairs:
        if now != before:
            revision = then.get("revision") or "unknown"
            raise WorkspaceError(
                f"{entry['id']} would come out differently: its {name} would be {now}, not {before}. It was "
                f"painted by revision {revision} of augment {then.get('augment', '')}; use that one."
            )


def _as_then(recipe: Recipe, then: Mapping[str, Any], device: str) -> Recipe:
    """The recipe with the settings of speed and memory in force then, which recipe.yaml may not tell."""
    speed = SpeedConfig(**{"overlap": 0} | then.get("speed", {}))
    if "memory" in then:
        return replace(recipe, speed=speed, memory=MemoryConfig(**then["memory"]))
    return settle_memory(replace(recipe, speed=speed), device)


def _paint(planner: Planner, slot: Slot, fit: Path, recipe: Recipe, device: str, dtype: str) -> Painted:
    """Paint it in a batch as `synthesize` does: what is beside it and where it stands may matter."""
    found: list[Painted] = []

    def keep(batch: Batch, plans: list[Plan], painted: list[list[PaintedPiece]]) -> None:
        for (_, is_missing), plan, pieces in zip(batch, plans, painted, strict=True):
            if is_missing:
                found.append(Painted.of(plan.image(), pieces))

    with make_painter(recipe, [device], dtype, recipe.memory) as painter:
        painter.paint(Defect(planner, fit), batches([slot], recipe.synthesize.batch_size), keep)
    return found[0]


def _compare(kind: str, there: Path, now: Path) -> tuple[bool, str]:
    """Whether two files are the same, and a line that says how they differ."""
    if not there.is_file():
        return False, f"{kind}: {there} is not there."
    if there.read_bytes() == now.read_bytes():
        return True, f"{kind}: the same bytes as {there}."
    try:
        before, after = (read_image(path).astype(int) for path in (there, now))
    except AugmentError as error:
        return False, f"{kind}: {error}"
    if before.shape != after.shape:
        return False, f"{kind}: {there} has the shape {before.shape}, not {after.shape}."
    change = np.abs(before - after)
    if not change.any():
        return False, f"{kind}: the same pixels as {there}, in a file of other bytes."
    count = int((change.reshape(*change.shape[:2], -1) > 0).any(axis=2).sum())
    return False, f"{kind}: {count} pixels differ from {there}, by up to {change.max()} of 255 levels."


def _changes(run: Run, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of program, libraries and machine is not as it was, a line each."""
    if not then:  # of a version that recorded them once a set
        record = run.info()
        then = {"revision": record.get("revision"), **record["versions"]}
        then["augment"] = then.pop("augment-defects", None)
    found = [
        f"{name}: {now.get(name)} here, {before} then."
        for name, before in then.items()
        if now.get(name) != before
    ]
    return found or ["Program, libraries and machine are as recorded: the file was changed, or they vary."]
