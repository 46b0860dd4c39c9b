"""Which files a backbone is made of, and under which licence they come."""

from __future__ import annotations

import functools
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import yaml

from augment.backbones.load import BUNDLED
from augment.data.images import file_sha256
from augment.recipe import BackboneConfig

log = logging.getLogger(__name__)
_PARTS = ("codec", "vae", "text_encoder", "tokenizer", "scheduler")
_SUFFIXES = (".json", ".txt", ".safetensors")


@dataclass(frozen=True)
class ModelCard:
    """What is known of a base model.

    Attributes:
        name: as in the recipe.
        revision: the commit of a hub model; None of a folder.
        licence: as its card (README.md) gives it; None where it gives none.
        sha256: of the names and hashes of all its parts but the U-Net, which a fit replaces; None where the
            files of a hub model are not in the local cache.
    """

    name: str
    revision: str | None
    licence: str | None
    sha256: str | None


def read_model_card(config: BackboneConfig) -> ModelCard:
    """What is known of the model that a recipe names."""
    if config.model == "tiny":
        return _card(config.model, BUNDLED, None)
    if Path(config.model).is_dir():
        return _card(config.model, Path(config.model), None)
    return _card(config.model, *_cached(config))


def _cached(config: BackboneConfig) -> tuple[Path | None, str | None]:
    """The folder of a hub model in the local cache, and its commit."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    found = try_to_load_from_cache(
        config.model, "scheduler/scheduler_config.json", revision=config.revision or "main"
    )
    if not isinstance(found, str):
        return None, None
    folder = Path(found).parents[1]
    try:
        hf_hub_download(config.model, "README.md", revision=folder.name)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        log.info("The card of %s is not to be had: %s", config.model, error)
    return folder, folder.name


def _card(name: str, folder: Path | None, revision: str | None) -> ModelCard:
    if folder is None:
        return ModelCard(name, None, None, None)
    return ModelCard(name, revision, _licence(folder / "README.md"), _parts_sha256(folder))


def _licence(card: Path) -> str | None:
    """The `license` of a card's front matter."""
    try:
        text = card.read_text(encoding="utf-8")
        start, matter, _ = text.split("---\n", 2)
        values = yaml.safe_load(matter) if not start.strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(values, dict):
        return None
    name = values.get("license_name") or values.get("license")
    return None if name is None else str(name)


def _parts_sha256(folder: Path) -> str:
    """Hash of what `load_backbone` reads of a folder, the U-Net apart."""
    lines = []
    for part in _PARTS:
        files = [path for path in (folder / part).glob("*") if ".fp16." not in path.name]
        chosen = [path for path in files if path.suffix in _SUFFIXES]
        if not any(path.suffix == ".safetensors" for path in chosen):
            chosen += [path for path in files if path.suffix == ".bin"]
        for path in sorted(chosen):
            stat = path.stat()
            lines.append(f"{part}/{path.name} {_sha256(path, stat.st_size, stat.st_mtime_ns)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@functools.cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """Of a file, read once for all targets of a call."""
    return file_sha256(path)
