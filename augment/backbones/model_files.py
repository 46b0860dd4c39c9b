"""Which files a base model is made of, by their hash."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from augment.backbones.sources import BUNDLED, find_file, is_checkpoint
from augment.data.images import file_sha256
from augment.recipe import BackboneConfig

_PARTS = ("codec", "vae", "text_encoder", "tokenizer", "scheduler")
_SUFFIXES = (".json", ".txt", ".safetensors")


def model_sha256(config: BackboneConfig, *, with_unet: bool = False) -> str | None:
    """SHA-256 of a checkpoint file, or of the names and hashes of what `load_backbone` reads of a folder.

    Args:
        config: names the model.
        with_unet: the model's own U-Net counts; a fit of the whole U-Net takes its place.

    Returns:
        None where the files are not on this machine.
    """
    source = str(BUNDLED) if config.model == "tiny" else config.model
    if is_checkpoint(source):
        return _sha256(Path(source)) if Path(source).is_file() else None
    found = find_file(source, "scheduler/scheduler_config.json", config.revision)
    if found is None:
        return None
    lines = []
    for part in (*_PARTS, "unet") if with_unet else _PARTS:
        names = {path.name for path in found.parents[1].joinpath(part).glob("*")}
        chosen = {name for name in names if name.endswith(_SUFFIXES)}
        if not any(name.endswith(".safetensors") for name in chosen):
            chosen |= {name for name in names if name.endswith(".bin")}
        chosen -= {name for name in chosen if ".fp16." in name and name.replace(".fp16.", ".") in chosen}
        lines += [f"{part}/{name} {_sha256(found.parents[1] / part / name)}\n" for name in sorted(chosen)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _read_once(path, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _read_once(path: Path, size: int, changed: int) -> str:
    """Of a file, read once for all targets of a call."""
    return file_sha256(path)
