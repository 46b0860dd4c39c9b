"""Where a detector's backbone takes its weights from: a file or a hub, and a clear line where it cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
from torch import nn
from torchvision.models import WeightsEnum

from augment.errors import BackboneError, RecipeError, suggest

_SETTING = "benchmark.anomalib.backbone"


@contextlib.contextmanager
def backbone_weights(file: Path | None) -> Iterator[None]:
    """Inside, networks that timm or torchvision would fetch take their weights from `file`.

    Args:
        file: a state dict (.pth, .pt, .bin, .safetensors) in the names of the library that makes the network.
            It may lack what the network is not used for. None: the hub's cache, or a download.

    Raises:
        BackboneError: the weights cannot be had, or `file` does not hold what the network needs.
        RecipeError: timm has no such network.
    """
    if file is not None and not file.is_file():
        raise BackboneError(f"The weights {file} do not exist: check benchmark.weights (--weights).")
    create, fetch = timm.create_model, WeightsEnum.get_state_dict

    def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        base = name.rpartition("/")[2].partition(".")[0]
        if ":" not in name and not timm.is_model(base):
            raise RecipeError(
                f"timm has no network '{name}' ({_SETTING}). {suggest(base, timm.list_models())}"
            )
        if not pretrained:
            return create(name, pretrained=False, **options)
        if file is None:
            try:
                return create(name, pretrained=True, **options)
            except OSError as error:
                raise missing(f"The weights of {name}", "HF_HOME") from error
        options["pretrained_cfg_overlay"] = {"file": str(file), "custom_load": False}
        try:
            with _recorded_absences() as absent:
                network = create(name, pretrained=True, **options)
        except Exception as error:  # whatever a file can hold
            raise _unfit(file, name, one_line(error)) from error
        # A network cut down to its first layers has no use for what the file lacks of the others.
        used = {key.replace(".", "_") for key in network.state_dict()}
        needed = [key for key in absent if key.replace(".", "_") in used]
        if needed:
            raise _unfit(file, name, f"{len(needed)} tensors are missing, such as {needed[0]}")
        return network

    def get_state_dict(weights: WeightsEnum, *arguments: Any, **options: Any) -> dict[str, Any]:
        try:
            if file is not None:
                return timm.models.load_state_dict(str(file))
            return fetch(weights, *arguments, **options)
        except OSError as error:
            raise missing(f"The weights {weights}", "TORCH_HOME") from error

    timm.create_model, WeightsEnum.get_state_dict = create_model, get_state_dict
    try:
        yield
    finally:
        timm.create_model, WeightsEnum.get_state_dict = create, fetch


def missing(
    what: str, cache: str, instead: str = "give a file with --weights FILE (benchmark.weights)"
) -> BackboneError:
    """The error for what is neither here nor to be had.

    Args:
        what: in the plural.
        cache: the environment variable that says where it would lie.
        instead: what else the user may do.
    """
    return BackboneError(
        f"{what} are not here and cannot be downloaded (offline, or not public): connect once, or {instead}, "
        f"or set {cache} to a cache that holds them."
    )


def one_line(error: Exception) -> str:
    """What an error says, on one line of at most 200 characters, without a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(".")


def _unfit(file: Path, name: str, reason: str) -> BackboneError:
    return BackboneError(
        f"The weights {file} are not those of {name}: {reason}. Give its own, or name their network in "
        f"{_SETTING}."
    )


@contextlib.contextmanager
def _recorded_absences() -> Iterator[list[str]]:
    """The names that were asked for and not found in state dicts loaded inside; timm only logs them."""
    absent: list[str] = []
    load = nn.Module.load_state_dict

    def load_state_dict(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        result = load(module, *arguments, **options)
        absent.extend(result.missing_keys)
        return result

    nn.Module.load_state_dict = load_state_dict
    try:
        yield absent
    finally:
        nn.Module.load_state_dict = load
