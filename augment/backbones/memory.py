"""Memory modes on this machine: the card's size, the model's size, and weights held small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augment.backbones.sources import BUNDLED, find_file, is_checkpoint
from augment.errors import BackboneError
from augment.memory import resolve_memory
from augment.recipe import BackboneConfig, Recipe

_STABLE_DIFFUSION = 860_000_000  # parameters of the U-Net of 1.x; 2.x has 866 million
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


def settle_memory(recipe: Recipe, device: str = "auto") -> Recipe:
    """The recipe with its memory settings resolved for the card that `device` names and the recipe's model.

    The card's whole memory decides, not what is free of it now: a run goes on as it was begun.
    """
    return resolve_memory(recipe, card_bytes(device), count_parameters(recipe.backbone))


def card_bytes(device: str = "auto") -> int | None:
    """Bytes of the CUDA device, of several (`cuda:0,cuda:1`, `all`) of the smallest; None: no card."""
    import torch

    names = [name.strip() for name in device.split(",")]
    if device == "all":
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names = ["cuda" if name == "auto" else name for name in names]
    if not torch.cuda.is_available() or not all(name.startswith("cuda") for name in names):
        return None
    try:
        sizes = [torch.cuda.get_device_properties(torch.device(name)).total_memory for name in names]
        return min(sizes, default=None)
    except (RuntimeError, AssertionError, ValueError):
        return None  # `choose_device` will say what is wrong with the name


def count_parameters(config: BackboneConfig) -> int:
    """Parameters of the model's U-Net, from the weights' header; Stable Diffusion's if they are not here."""
    source = str(BUNDLED) if config.model == "tiny" else config.model
    if is_checkpoint(source):
        return (
            _STABLE_DIFFUSION
            if not Path(source).is_file()
            else _count(Path(source), "model.diffusion_model.")
        )
    for name in _WEIGHTS:
        path = find_file(source, f"unet/{name}", config.revision)
        if path is not None:
            return _count(path, "")
    return _STABLE_DIFFUSION


def _count(path: Path, prefix: str) -> int:
    """Values in the tensors whose names start so, read from a safetensors header."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError, MemoryError, OverflowError):
        return _STABLE_DIFFUSION  # loading will say what is wrong with it
    total = 0
    for name, entry in header.items():
        if name != "__metadata__" and name.startswith(prefix):
            size = 1
            for side in entry["shape"]:
                size *= side
            total += size
    return total


def hold_half(module, dtype) -> None:
    """Keep a frozen module's matrices and kernels in the dtype that autocast casts them to at every call.

    Normalisations, embeddings and what is being learnt stay in float32, as autocast has them, so that no
    output changes. Outside autocast the module cannot be used any more.

    Args:
        module: a `torch.nn.Module` that is only called under autocast.
        dtype: autocast's; float32 leaves the module as it is.
    """
    import torch

    if dtype == torch.float32:
        return
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and not any(
            parameter.requires_grad for parameter in layer.parameters()
        ):
            layer.to(dtype)


@contextmanager
def explained_out_of_memory(mode: str) -> Iterator[None]:
    """Within it, running out of the card's memory is one line that says what to do.

    Raises:
        BackboneError: it ran out.
    """
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise BackboneError(
            f"The GPU's memory is full (memory mode {mode}). Use a smaller mode, as in --memory 8gb, "
            "--set fit.tuning=lora, or close what else runs on it."
        ) from error
