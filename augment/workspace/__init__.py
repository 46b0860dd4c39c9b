"""Where runs live on disk: their folders, records, manifests, and writes that are whole or absent.

::

    WORKSPACE/
    ├── fits/DATASET/CATEGORY/DEFECT/FOLD/          a learned defect
    ├── together/DATASET/CATEGORY/FOLD/             several, learned in one fit
    ├── synthetic/DATASET/CATEGORY/FOLD/            CATEGORY/ (an MVTec folder), manifest.jsonl, sheets,
    │                                               dropped.jsonl, rejected.jsonl, rejected/
    └── benchmarks/DATASET/CATEGORY/DETECTOR/       scores

FOLD is `fold0`, `fold1` or `all`. Each run folder holds `recipe.yaml` (every setting, resolved) and
`run.json` (seed, versions, hashes of the source files, state). While a process works on one, `.FOLD.lock`
beside it says which. Nothing here imports torch.
"""

from __future__ import annotations

from augment.workspace.drops import Drops, read_drop_list
from augment.workspace.files import (
    atomic_path,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    json_default,
    writing,
)
from augment.workspace.fits import fitted_defects, is_together, joint_name, trained_names
from augment.workspace.folders import DEFAULT_ROOT, RunInfo, Workspace, fold_name
from augment.workspace.lock import locked
from augment.workspace.manifest import Manifest, find_entry
from augment.workspace.rejections import Rejections, sort_lines
from augment.workspace.run import Run, code_revision, package_versions, wipe

__all__ = [
    "DEFAULT_ROOT",
    "Drops",
    "Manifest",
    "Rejections",
    "Run",
    "RunInfo",
    "Workspace",
    "atomic_path",
    "atomic_write_bytes",
    "atomic_write_json",
    "atomic_write_text",
    "code_revision",
    "find_entry",
    "fitted_defects",
    "fold_name",
    "is_together",
    "joint_name",
    "json_default",
    "locked",
    "package_versions",
    "read_drop_list",
    "sort_lines",
    "trained_names",
    "wipe",
    "writing",
]
