"""Where a model comes from: the bundled folder, a local one, the hub or its cache, a checkpoint file.

Nothing here loads a model; all of it is cheap enough for a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from augment.recipe import BackboneConfig

BUNDLED = Path(__file__).parent / "tiny"
_HELP = (
    "Use --set backbone.model=... with a diffusers folder, a .safetensors checkpoint or a hub id you have "
    "access to, or --recipe tiny."
)


@dataclass(frozen=True)
class Origin:
    """What is known of a model's source, for records of what was made with it.

    Attributes:
        model: as the recipe names it.
        commit: of the hub's repository, as resolved from the recipe's revision; None for files of one's own.
        licence: as the model card states it (`creativeml-openrail-m`); None: it does not say, or is not here.
    """

    model: str
    commit: str | None = None
    licence: str | None = None


def is_checkpoint(source: str) -> bool:
    """Whether a model is named as one file with all parts."""
    return source.endswith((".safetensors", ".ckpt", ".pt", ".pth")) and not Path(source).is_dir()


def find_file(source: str, name: str, revision: str | None = None) -> Path | None:
    """A file of a local folder or of the hub's cache; None where it is not on this machine."""
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(source, name, revision=revision)
    except HFValidationError:  # neither a folder nor a hub id
        return None
    return Path(found) if isinstance(found, str) else None


def origin_of(config: BackboneConfig) -> Origin:
    """Commit and licence of a model that was loaded, from its card and its place in the hub's cache."""
    source = config.model
    if source == "tiny":
        return Origin("tiny", licence="apache-2.0")
    if is_checkpoint(source):
        return Origin(source, licence=_licence_of_checkpoint(Path(source)))
    commit = None
    if not Path(source).is_dir():
        for name in ("unet/config.json", "model_index.json"):
            path = find_file(source, name, config.revision)
            if path is not None and "snapshots" in path.parts:
                commit = path.parts[path.parts.index("snapshots") + 1]
                break
    return Origin(source, commit, _licence_of_card(_card(source, config.revision)))


def _card(source: str, revision: str | None) -> Path | None:
    """The model card: loading the parts does not bring it, so it is asked for, if the hub can be reached."""
    path = find_file(source, "README.md", revision)
    if path is not None or Path(source).is_dir():
        return path
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "README.md", revision=revision, etag_timeout=3))
    except (OSError, ValueError):  # offline, no card, or not for us
        return None


def _licence_of_card(card: Path | None) -> str | None:
    """`license` of the YAML between the card's first two lines of dashes."""
    if card is None:
        return None
    try:
        text = card.read_text(encoding="utf-8")
        block = text.removeprefix("---").split("\n---", 1)[0] if text.startswith("---") else ""
        values = yaml.safe_load(block)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(values, dict):
        return None
    stated = values.get("license")
    name = values.get("license_name") if stated == "other" else stated
    return str(name or stated) if stated else None


def _licence_of_checkpoint(path: Path) -> str | None:
    """`modelspec.license` of a safetensors file, or the card beside it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            stated = (file.metadata() or {}).get("modelspec.license")
    except (OSError, SafetensorError):
        stated = None
    card = path.parent / "README.md"
    return stated or _licence_of_card(card if card.is_file() else None)


def explain(model: str, error: BaseException) -> str:
    """One line on why a model could not be loaded, and what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    chain, each = [], error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    start = f"The model '{model}' cannot be loaded: "

    def is_a(*kinds: type) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    if is_a(GatedRepoError):
        return (
            f"{start}it is gated. Accept its terms at https://huggingface.co/{model} and log in with "
            f"`hf auth login`. {_HELP}"
        )
    if is_a(RevisionNotFoundError):
        return f"{start}the hub has no such revision of it. Check --set backbone.revision=.... {_HELP}"
    if is_a(RepositoryNotFoundError):
        return f"{start}the hub has none of that name, or it is private. {_HELP}"
    if is_a(OfflineModeIsEnabled, LocalEntryNotFoundError):
        return f"{start}it is not in the local cache, and the hub cannot be reached. {_HELP}"
    words = " ".join(str(error).strip().splitlines()[:1]) or type(error).__name__
    return f"{start}{words.rstrip('.')}. {_HELP}"
