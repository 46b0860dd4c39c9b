"""The manifest line of a synthetic image: all that it was made from, with hashes, to make it again."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from augment.backbones.model_files import model_sha256
from augment.backbones.sources import Origin, origin_of
from augment.backbones.weights import ADAPTER, weights_file
from augment.data.images import file_sha256
from augment.data.sample import Target
from augment.devices import choose_device, choose_dtype
from augment.errors import WorkspaceError
from augment.jobs.dropping import Slot
from augment.jobs.painting import Painted, PaintedPiece
from augment.jobs.planning import Part, Plan
from augment.recipe import BackboneConfig, MemoryConfig, Recipe, SpeedConfig
from augment.workspace import Run, code_revision, fitted_defects, is_together, package_versions

_SECTIONS = ("backbone", "window", "data", "synthesize")


@dataclass(frozen=True)
class Provenance:
    """Writes the manifest lines of one target's images.

    Attributes:
        target: what is painted.
        seed: of the set.
        refinement: the recipe's.
        sources: SHA-256 of the good images.
        facts: what is the same for every image of a call.
    """

    target: Target
    seed: int
    refinement: str
    sources: Mapping[str, str]
    facts: Mapping[str, Any]
    _hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, target: Target, run: Run, fit_run: Run, recipe: Recipe, machine: Mapping[str, Any]
    ) -> Provenance:
        """Look up what all images of a call share; `machine` is what `made_with` gives."""
        weights, origin = weights_file(fit_run.folder), _origin(recipe.backbone)
        facts = {
            "model": origin.model,
            "model_commit": origin.commit,
            "model_licence": origin.licence,
            "model_sha256": model_sha256(recipe.backbone, with_unet=weights.name == ADAPTER),
            "recipe": recipe.name,
            "settings_sha256": settings_sha256(run.folder, fit_run.folder),
            "data_licence": target.category.licence,
            "fit": os.path.relpath(fit_run.folder, run.folder),
            "weights_sha256": file_sha256(weights),
            "fold": run.info()["fold"],
            "made_with": machine,
        }
        if is_together(fit_run.info()):
            facts["together"] = fitted_defects(fit_run.info())  # what the fit has learnt besides
        record = run.info()
        refinement = recipe.synthesize.refinement
        return cls(target, record["seed"], refinement, record["sources"], facts)

    def entry(self, slot: Slot, plan: Plan, result: Painted) -> dict[str, Any]:
        """The manifest line of one image, but for its paths and scores.

        Args:
            slot: its number and attempt.
            plan: what was to be painted; of several defects, those of `result.pieces` in order.
            result: what was painted.
        """
        index, attempt = slot
        parts = [self._part(*both) for both in zip(plan.parts, result.pieces, strict=True)]
        line = {
            "id": f"{self.target.defect}/{index:04d}",
            "defect": self.target.defect,
            "index": index,
            "attempt": attempt,
            "seed": self.seed,
            "source": str(plan.source),
            "source_sha256": self.sources[str(plan.source)],
            **parts[0],
        }
        if plan.foreground:
            line["foreground"] = {str(path): self._sha256(path) for path in plan.foreground}
        if len(parts) > 1:
            line |= {
                "window": asdict(result.window),
                "target_pixels": sum(part["target_pixels"] for part in parts),
                "refined_pixels": sum(part["refined_pixels"] for part in parts),
                "refinement": self._refinement(result.fell_back),
                "background_error": round(result.background_error, 6),
                "defects": parts,
            }
        return line | dict(self.facts)

    def _part(self, part: Part, painted: PaintedPiece) -> dict[str, Any]:
        """One defect of an image."""
        second = {} if part.second is None else self._file("second_example", part.second)
        return {
            **self._file("mask_source", Path(part.mask_source)),
            **self._file("example", part.example),
            **second,
            "window": asdict(painted.window),
            "target_pixels": int(part.piece.mask.sum()),
            "refined_pixels": int(painted.mask.sum()),
            "refinement": self._refinement(painted.fell_back),
            "background_error": round(painted.background_error, 6),
        }

    def _refinement(self, fell_back: bool) -> str:
        return "none (fell back to the target mask)" if fell_back else self.refinement

    def _file(self, name: str, path: Path | None) -> dict[str, str | None]:
        """The path and the hash of a file, if there is one."""
        hashed = None if path is None else self._sha256(path)
        return {name: None if path is None else str(path), f"{name}_sha256": hashed}

    def _sha256(self, path: Path) -> str:
        name = str(path)
        if name not in self._hashes:
            self._hashes[name] = file_sha256(path)
        return self._hashes[name]


@functools.cache
def _origin(config: BackboneConfig) -> Origin:
    """Looked up once for all targets of a call: it may ask the hub."""
    return origin_of(config)


def made_with(device: str, dtype: str, speed: SpeedConfig, memory: MemoryConfig) -> dict[str, Any]:
    """Program, libraries and machine, as far as they decide an image's bytes.

    Args:
        device, dtype: as for `load_backbone`; of several devices the first.
        speed, memory: those resolved.
    """
    found, where = package_versions(), choose_device(device)
    is_card = where.type == "cuda"
    return {
        "augment": found.pop("augment-defects"),
        "revision": code_revision(),
        **found,
        "device": str(where),
        "dtype": str(choose_dtype(dtype, where)).removeprefix("torch."),
        "processor": torch.cuda.get_device_name(where)
        if is_card
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "speed": {name: value for name, value in asdict(speed).items() if name != "overlap"},
        "memory": asdict(memory),
    }


def settings_sha256(folder: Path, fit_folder: Path) -> str:
    """Hash of the settings, as they stand in `recipe.yaml`, that decide what a set's images look like.

    Raises:
        WorkspaceError: one of the two files cannot be read.
    """
    settings = {}
    for path, sections in ((folder, _SECTIONS), (fit_folder, ("fit",))):
        file = path / "recipe.yaml"
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
            settings |= {section: values[section] for section in sections}
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{file} cannot be read ({' '.join(str(error).split())}).") from error
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
