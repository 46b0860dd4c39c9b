"""Loading a backbone: the bundled model, a local diffusers folder, a hub id, or a checkpoint in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from augment.backbones.attention_processor import MaskedAttentionProcessor
from augment.backbones.backbone import Backbone, quiet_libraries
from augment.backbones.codec import PatchCodec
from augment.backbones.memory import hold_half
from augment.backbones.single_file import LETTERS, load_single_file
from augment.backbones.sources import BUNDLED, explain, is_checkpoint, origin_of
from augment.backbones.weights import ADAPTER, detach_adapter, load_adapter
from augment.devices import choose_device, choose_dtype
from augment.errors import BackboneError
from augment.recipe import BackboneConfig, MemoryConfig

__all__ = ["BUNDLED", "load_backbone"]
_SMALLEST = 1e-6  # cumulative product of alphas at the last level


def load_backbone(
    config: BackboneConfig,
    device: str = "auto",
    dtype: str = "auto",
    unet_folder: Path | None = None,
    memory: MemoryConfig | None = None,
    *,
    trains_unet: bool = False,
) -> Backbone:
    """Load a diffusion model and install the masked attention.

    Args:
        config: which model; `tiny` is the bundled one.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        dtype: `auto`, `float32`, `bfloat16` or `float16`, of the network calls.
        unet_folder: a folder with a fitted `unet/`: a U-Net that takes the place of the model's own, or a
            low-rank change that is added to it.
        memory: resolved settings (`augment.backbones.memory.settle_memory`); None: nothing is saved.
        trains_unet: all of the U-Net will be learnt, so its weights stay in float32 whatever `memory` says.

    Raises:
        BackboneError: the model is not there, is gated, lacks a part, or is of an unsupported kind.
    """
    torch_device = choose_device(device)
    autocast_dtype = choose_dtype(dtype, torch_device)
    quiet_libraries()
    parts = _load_parts(config, unet_folder)
    unet, autoencoder, scheduler = parts["unet"], parts["autoencoder"], parts["scheduler"]
    if config.prediction_type is not None:
        scheduler.register_to_config(prediction_type=config.prediction_type)
    _check(config, unet, autoencoder, scheduler)
    tokenizer, text = parts["tokenizer"], parts["text_encoder"].config
    if not LETTERS < len(tokenizer) <= text.vocab_size:
        raise BackboneError(
            f"The model '{config.model}' cannot be loaded: its tokenizer is missing, or another text "
            "encoder's. Copy the model's `tokenizer` folder to it, or use another --set backbone.model=..."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, text.max_position_embeddings)
    unet.set_attn_processor(MaskedAttentionProcessor())
    if unet_folder is not None and (unet_folder / "unet" / ADAPTER).is_file():
        load_adapter(unet.float(), unet_folder)
        detach_adapter(unet, merge=True)
    unet, autoencoder = unet.float().eval(), autoencoder.float().eval().requires_grad_(False)
    if memory is not None and memory.half_weights:
        hold_half(autoencoder, autocast_dtype)
        if not trains_unet:
            hold_half(unet.requires_grad_(False), autocast_dtype)
    if memory is not None and isinstance(autoencoder, AutoencoderKL):
        if memory.vae_slicing:
            autoencoder.enable_slicing()
        if memory.vae_tiling:
            autoencoder.enable_tiling()
    backbone = Backbone(
        name=config.model,
        unet=unet.to(torch_device, memory_format=torch.channels_last),
        autoencoder=autoencoder.to(torch_device),
        text_encoder=parts["text_encoder"].float().to(torch_device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=torch_device,
        autocast_dtype=autocast_dtype,
        origin=origin_of(config),
        rows=0 if memory is None else memory.painting_rows or 0,
    )
    cells = 2 ** (len(unet.config.block_out_channels) - 1) * backbone.factor
    if config.resolution % cells:
        raise BackboneError(
            f"backbone.resolution must be a multiple of {cells} for '{config.model}', "
            f"not {config.resolution}."
        )
    return backbone


def _load_parts(config: BackboneConfig, unet_folder: Path | None) -> dict[str, Any]:
    """The model's parts by name; a fitted whole U-Net in place of the model's own."""
    # A fitted U-Net is at its place in `unet_folder`; the other parts come from the model.
    fitted = unet_folder is not None and not (unet_folder / "unet" / ADAPTER).is_file()
    try:
        if is_checkpoint(config.model):
            parts = load_single_file(config)
            if fitted:
                parts["unet"] = UNet2DConditionModel.from_pretrained(unet_folder, subfolder="unet")
            return parts
        source = str(BUNDLED) if config.model == "tiny" else config.model
        _refuse_other_kinds(config, source)
        return {
            "unet": UNet2DConditionModel.from_pretrained(unet_folder, subfolder="unet")
            if fitted
            else _pretrained(UNet2DConditionModel, source, "unet", config.revision),
            "autoencoder": PatchCodec.from_pretrained(source, subfolder="codec")
            if (Path(source) / "codec").is_dir()
            else _pretrained(AutoencoderKL, source, "vae", config.revision),
            "text_encoder": _pretrained(CLIPTextModel, source, "text_encoder", config.revision),
            "tokenizer": CLIPTokenizer.from_pretrained(
                source, subfolder="tokenizer", revision=config.revision
            ),
            "scheduler": DDIMScheduler.from_pretrained(
                source, subfolder="scheduler", revision=config.revision
            ),
        }
    except (OSError, ValueError, RuntimeError) as error:
        raise BackboneError(explain(config.model, error)) from error


def _pretrained(kind: Callable, source: str, part: str, revision: str | None) -> Any:
    """A network's weights, also where the folder or the cache has them in half precision only."""
    try:
        return kind.from_pretrained(source, subfolder=part, revision=revision)
    except (OSError, ValueError) as error:
        try:
            return kind.from_pretrained(source, subfolder=part, revision=revision, variant="fp16")
        except (OSError, ValueError):
            raise error from None


def _refuse_other_kinds(config: BackboneConfig, source: str) -> None:
    """Raise for a model that is no Stable Diffusion 1.x or 2.x, before its gigabytes are read."""
    unet = UNet2DConditionModel.load_config(source, subfolder="unet", revision=config.revision)
    if unet.get("addition_embed_type") is not None:
        raise BackboneError(
            f"The model '{config.model}' is of the SDXL kind: it is told one summary of the prompt for the "
            "whole image, so inside and outside of a mask cannot be told apart (Eq. 10, 11). Use Stable "
            "Diffusion 1.x or 2.x."
        )


def _check(
    config: BackboneConfig, unet: UNet2DConditionModel, autoencoder: Any, scheduler: DDIMScheduler
) -> None:
    """Raise for a model of Stable Diffusion's family that the method cannot use."""
    channels = unet.config.out_channels
    if unet.config.in_channels not in (channels, 2 * channels + 1) or unet.config.class_embed_type:
        raise BackboneError(
            f"The model '{config.model}' is a depth, edit, upscaling or variation model: its U-Net takes "
            f"{unet.config.in_channels} channels in. Use a text-to-image or an inpainting model."
        )
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise BackboneError(
            f"The model '{config.model}' predicts '{kind}'. Use one that predicts epsilon or v_prediction."
        )
    if isinstance(autoencoder, PatchCodec) and unet.config.in_channels != channels and kind != "v_prediction":
        raise BackboneError(f"The model '{config.model}' sees holes, and must predict v_prediction.")
    if float(scheduler.alphas_cumprod[-1]) < _SMALLEST:
        raise BackboneError(
            f"The model '{config.model}' has no signal at its last noise level (zero terminal SNR), from "
            "which DDIM inversion (Eq. 8) cannot return. Use one with Stable Diffusion's own levels."
        )
