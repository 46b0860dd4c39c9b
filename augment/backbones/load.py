"""Loading a backbone: the bundled model, a local diffusers folder, or a hub id."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from augment.backbones.attention_processor import MaskedAttentionProcessor
from augment.backbones.backbone import Backbone, quiet_libraries
from augment.backbones.codec import PatchCodec
from augment.devices import choose_device, choose_dtype
from augment.errors import BackboneError
from augment.recipe import BackboneConfig

BUNDLED = Path(__file__).parent / "tiny"


def load_backbone(
    config: BackboneConfig, device: str = "auto", dtype: str = "auto", unet_folder: Path | None = None
) -> Backbone:
    """Load a diffusion model and install the masked attention.

    Args:
        config: which model; `tiny` is the bundled one.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        dtype: `auto`, `float32`, `bfloat16` or `float16`, of the network calls.
        unet_folder: a folder with `unet/` that takes the place of the model's own (a fitted one).

    Raises:
        BackboneError: the model is not there, is gated, or lacks a part.
    """
    source = str(BUNDLED) if config.model == "tiny" else config.model
    torch_device = choose_device(device)
    # A fitted U-Net is at its place in `unet_folder`; the other parts come from the model.
    unet_source = str(unet_folder) if unet_folder is not None else source
    unet_revision = None if unet_folder is not None else config.revision
    quiet_libraries()
    try:
        has_codec = (Path(source) / "codec").is_dir()
        unet = UNet2DConditionModel.from_pretrained(unet_source, subfolder="unet", revision=unet_revision)
        if has_codec:
            autoencoder = PatchCodec.from_pretrained(source, subfolder="codec")
        else:
            autoencoder = AutoencoderKL.from_pretrained(source, subfolder="vae", revision=config.revision)
        text_encoder = CLIPTextModel.from_pretrained(
            source, subfolder="text_encoder", revision=config.revision
        )
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", revision=config.revision)
        scheduler = DDIMScheduler.from_pretrained(source, subfolder="scheduler", revision=config.revision)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneError(
            f"The model '{config.model}' cannot be loaded: {first_line} "
            "Use --set backbone.model=... with a diffusers folder or a hub id you have access to, "
            "or --recipe tiny."
        ) from error
    channels = unet.config.out_channels
    if unet.config.in_channels not in ((channels, 2 * channels + 1) if has_codec else (channels,)):
        raise BackboneError(
            f"The model '{config.model}' is an inpainting or edit model; a text-to-image one is needed."
        )
    unet.set_attn_processor(MaskedAttentionProcessor())
    backbone = Backbone(
        name=config.model,
        unet=unet.float().to(torch_device, memory_format=torch.channels_last).eval(),
        autoencoder=autoencoder.float().to(torch_device).eval().requires_grad_(False),
        text_encoder=text_encoder.float().to(torch_device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=torch_device,
        autocast_dtype=choose_dtype(dtype, torch_device),
    )
    cells = 2 ** (len(unet.config.block_out_channels) - 1) * backbone.factor
    if config.resolution % cells:
        raise BackboneError(
            f"backbone.resolution must be a multiple of {cells} for '{config.model}', "
            f"not {config.resolution}."
        )
    return backbone
