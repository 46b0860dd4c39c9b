"""Where and in which number format networks run."""

from __future__ import annotations

import torch

from augment.errors import BackboneError


def choose_device(device: str = "auto") -> torch.device:
    """`auto` is the first CUDA device, then Apple's, then the CPU.

    Raises:
        BackboneError: the named device does not exist here.
    """
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(f"The device '{device}' cannot be used here. Try --device cpu.") from error
    return torch.device(device)


def split_devices(device: str) -> list[str]:
    """The devices a command is to use: `cuda:0,cuda:1` names several, `all` every CUDA device.

    Raises:
        BackboneError: `all`, and there is none.
    """
    if device == "all":
        count = torch.cuda.device_count()
        if not count:
            raise BackboneError("There is no CUDA device here for --device all. Try --device auto.")
        return [f"cuda:{number}" for number in range(count)]
    return [name.strip() for name in device.split(",") if name.strip()] or ["auto"]


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes it natively, else float32.

    Raises:
        BackboneError: not one of auto, float32, bfloat16, float16; or float16 on a CPU.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if dtype not in known or (dtype == "float16" and device.type == "cpu"):
        raise BackboneError(
            f"The dtype '{dtype}' cannot be used on {device.type}. Use auto, float32 or bfloat16."
        )
    return known[dtype]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # On a CPU the kernels are oneDNN's; builds without it have no such operator.
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
