"""Which recipe to run when the user names none."""

from __future__ import annotations

from augment.recipe import load_recipe


def choose_recipe_name(device: str = "auto") -> tuple[str, str]:
    """The default recipe, and one line that says why and how to choose the other.

    `fast` (Stable Diffusion) where a CUDA device is there and its weights are in the local cache or can be
    downloaded; else `tiny` (the bundled model).

    Args:
        device: as given on the command line.
    """
    import torch

    if device not in ("auto", "all") and not device.startswith("cuda"):
        return (
            "tiny",
            f"Backbone: the bundled tiny model on {device} (--recipe fast: Stable Diffusion, for GPUs).",
        )
    if not torch.cuda.is_available():
        return (
            "tiny",
            "Backbone: the bundled tiny model, as no CUDA device is here (--recipe fast: Stable Diffusion).",
        )
    config = load_recipe("fast").backbone
    model = config.model
    if _weights_can_be_had(model, config.revision):
        return "fast", f"Backbone: {model} on the GPU (--recipe tiny: the bundled small model)."
    return (
        "tiny",
        f"Backbone: the bundled tiny model, as {model} is not to be had (--recipe fast: try it).",
    )


def _weights_can_be_had(model: str, revision: str | None) -> bool:
    """Whether the hub's cache holds the model's U-Net, or the hub answers for it."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"):
        if isinstance(try_to_load_from_cache(model, name, revision=revision), str):
            return True
    try:
        HfApi().model_info(model, revision=revision, timeout=3)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return False
    return True
