"""A U-Net's weights in a run folder: all of them, or the low-rank change a LoRA fit has learnt."""

from __future__ import annotations

import json
import math
from pathlib import Path

import safetensors.torch
import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError, safe_open

from augment.errors import BackboneError, RecipeError
from augment.recipe import LoraConfig
from augment.workspace import atomic_write_bytes, atomic_write_json, writing

WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' name for them
ADAPTER = "pytorch_lora_weights.safetensors"  # and for these
_SETTINGS = "lora_adapter_metadata"  # where diffusers keeps the adapter's settings
_PREFIX = "unet."


def weights_file(folder: Path) -> Path:
    """The file that holds what a fit has learnt, in its run folder."""
    adapter = folder / "unet" / ADAPTER
    return adapter if adapter.is_file() else folder / "unet" / WEIGHTS


def save_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write all weights as `folder/unet`, half precision safetensors, in diffusers' format, atomically."""
    weights = {name: value.half().cpu().contiguous() for name, value in unet.state_dict().items()}
    with writing(folder / "unet"):
        unet.save_config(folder / "unet")
        forget_origin(folder / "unet")
    data = safetensors.torch.save(weights, metadata={"format": "pt"})
    atomic_write_bytes(folder / "unet" / WEIGHTS, data)


def load_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Take all weights from `folder/unet`, as `save_unet` wrote them.

    Raises:
        BackboneError: they are not there, unreadable, or another U-Net's.
    """
    path = folder / "unet" / WEIGHTS
    try:
        weights = safetensors.torch.load_file(path)
        unet.load_state_dict({name: value.float() for name, value in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unusable(path, error) from error


# --- low-rank changes ------------------------------------------------------------------------------


def has_adapter(unet: UNet2DConditionModel) -> bool:
    """Whether the U-Net's layers carry a low-rank change."""
    return bool(getattr(unet, "peft_config", None))


def attach_adapter(unet: UNet2DConditionModel, config: LoraConfig, kind: str, seed: int = 0) -> None:
    """Freeze the U-Net and give its layers a low-rank change that is trained in its place.

    Hu et al., "LoRA" (2021); `dora` is Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024). A
    new change is none: its second factor is 0.

    Args:
        unet: without an adapter.
        config: rank, weight and layers.
        kind: `lora` or `dora`.
        seed: of the first factors; the global random state is left as it was.

    Raises:
        RecipeError: no layer has such a name, or the rank is not positive.
    """
    from peft import LoraConfig as Settings
    from peft.tuners.lora import LoraLayer

    if config.rank < 1:
        raise RecipeError(f"fit.lora.rank is 1 or more, not {config.rank}.")
    settings = Settings(
        r=config.rank,
        lora_alpha=config.rank if config.alpha is None else config.alpha,
        target_modules=list(config.targets),
        use_dora=kind == "dora",
        init_lora_weights=True,
    )
    try:
        with torch.random.fork_rng(devices=[]):
            unet.add_adapter(settings)
    except ValueError as error:
        detach_adapter(unet)
        raise RecipeError(
            f"fit.lora.targets = {list(config.targets)}: no layer of this U-Net can be changed under these "
            "names. Try to_q, to_k, to_v, to_out.0, conv1, conv2, ff.net.2."
        ) from error
    generator = torch.Generator().manual_seed(seed)
    for layer in unet.modules():
        if isinstance(layer, LoraLayer):
            for factors in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector):
                factors.float()
            first = layer.lora_A["default"].weight
            drawn = torch.empty(first.shape)
            torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            with torch.no_grad():
                first.copy_(drawn)


def detach_adapter(unet: UNet2DConditionModel, merge: bool = False) -> None:
    """Give the U-Net its own layers back, with the change added to their weights or without it."""
    if merge:
        unet.fuse_lora()
    unet.unload_lora()
    unet.requires_grad_(True)


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the low-rank change alone as `folder/unet`, float32, in diffusers' LoRA format, atomically."""
    from peft import get_peft_model_state_dict

    weights = {
        f"{_PREFIX}{name}": value.detach().float().cpu().contiguous()
        for name, value in get_peft_model_state_dict(unet).items()
    }
    settings = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in unet.peft_config["default"].to_dict().items()
    }
    named = json.dumps({f"{_PREFIX}{name}": value for name, value in settings.items()}, default=str)
    data = safetensors.torch.save(weights, metadata={"format": "pt", _SETTINGS: named})
    with writing(folder / "unet"):
        (folder / "unet").mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(folder / "unet" / ADAPTER, _in_order(data))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata sorted, which the library writes in an order of chance."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + data[start:]


def load_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Attach the low-rank change that `save_adapter` wrote; `detach_adapter(unet, merge=True)` adds it in.

    Raises:
        BackboneError: it is not there, unreadable, or another U-Net's.
    """
    from peft import set_peft_model_state_dict

    path = folder / "unet" / ADAPTER
    try:
        with safe_open(path, "pt") as file:
            named = json.loads((file.metadata() or {})[_SETTINGS])
        weights = safetensors.torch.load_file(path)
        settings = {name.removeprefix(_PREFIX): value for name, value in named.items()}
        config = LoraConfig(settings["r"], settings["lora_alpha"], tuple(settings["target_modules"]))
        attach_adapter(unet, config, "dora" if settings["use_dora"] else "lora")
        found = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
        outcome = set_peft_model_state_dict(unet, found)
        left = [name for name in outcome.missing_keys if "lora_" in name] + list(outcome.unexpected_keys)
        if left:
            raise RuntimeError(f"{left[0]} is not in both")
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, RecipeError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> BackboneError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return BackboneError(f"{path} cannot be loaded ({line}). Redo the run with --force.")


def forget_origin(folder: Path) -> None:
    """Take the path a model was loaded from out of its `config.json`: it says nothing elsewhere."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    atomic_write_json(path, config)
