"""A Stable Diffusion checkpoint in one file, in the layout of its original code, loaded without the hub.

Such a file holds the weights of all networks and no description of them. diffusers would fetch the
description from the hub; here it is read off the tensors' shapes. Only the tokenizer is in no checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from augment.backbones.build import noise_levels
from augment.errors import BackboneError
from augment.recipe import BackboneConfig

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
_SDXL = "conditioner.embedders."
_VOCABULARY = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # all versions share it

LETTERS = 256  # transformers gives an empty tokenizer where it finds none; a real one knows every letter

Weights = dict[str, Tensor]


def load_single_file(config: BackboneConfig) -> dict[str, Any]:
    """The parts of a checkpoint: `unet`, `autoencoder`, `text_encoder`, `tokenizer`, `scheduler`.

    Stable Diffusion 1.x (8 heads, CLIP) and 2.x (heads of 64 channels, OpenCLIP without its last layer), also
    the inpainting variants, of any width and depth.

    Raises:
        BackboneError: not such a file, or what it does not say is not in the recipe.
    """
    path = Path(config.model)
    weights, metadata = _read(path)
    if any(name.startswith(_SDXL) for name in weights):
        raise BackboneError(f"'{path}' is an SDXL checkpoint; Stable Diffusion 1.x or 2.x is needed.")
    is_first = f"{_CLIP}text_model.embeddings.token_embedding.weight" in weights
    if not is_first and f"{_OPEN_CLIP}token_embedding.weight" not in weights:
        raise BackboneError(
            f"'{path}' holds no text encoder of Stable Diffusion 1.x or 2.x. A whole checkpoint is needed, "
            "not a U-Net or a LoRA alone."
        )
    try:
        original = {"model": {"params": _original_config(weights, is_first)}}
        unet = UNet2DConditionModel.from_single_file(dict(weights), original_config=original)
        autoencoder = AutoencoderKL.from_single_file(dict(weights), original_config=original)
        text_encoder = _text_encoder(weights, is_first)
    except (KeyError, IndexError, RuntimeError, ValueError, TypeError) as error:
        words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneError(
            f"'{path}' is not laid out as Stable Diffusion 1.x or 2.x ({words}). Convert it to a diffusers "
            "folder, and name that."
        ) from error
    return {
        "unet": unet,
        "autoencoder": autoencoder,
        "text_encoder": text_encoder,
        "tokenizer": _tokenizer(path, config, is_first),
        "scheduler": _scheduler(path, config, metadata, weights, is_first),
    }


def _read(path: Path) -> tuple[Weights, dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    if path.suffix != ".safetensors":
        raise BackboneError(
            f"'{path}' may hold programs as well as weights. Convert it to .safetensors first."
        )
    if not path.is_file():
        raise BackboneError(f"The model '{path}' cannot be loaded: there is no such file.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return safetensors.torch.load_file(path), metadata
    except (OSError, SafetensorError) as error:
        line = str(error).strip().splitlines()[0]
        raise BackboneError(f"'{path}' cannot be read as safetensors ({line}). Download it again.") from error


def _original_config(weights: Weights, is_first: bool) -> dict[str, Any]:
    """What the original code's YAML says of U-Net and autoencoder, from the tensors."""
    stem = weights[f"{_UNET}input_blocks.0.0.weight"]
    width = stem.shape[0]
    blocks = _count(weights, f"{_UNET}input_blocks.")
    # Each resolution is `layers` residual blocks and one to halve it, but for the last; block 0 is the stem.
    halvings = [i for i in range(blocks) if f"{_UNET}input_blocks.{i}.0.op.weight" in weights]
    layers = (halvings[0] if halvings else blocks) - 1
    levels = range(len(halvings) + 1)
    firsts = [1 + level * (layers + 1) for level in levels]
    widths = [weights[f"{_UNET}input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in firsts]
    has_attention = [f"{_UNET}input_blocks.{i}.1.norm.weight" in weights for i in firsts]
    block = f"{_UNET}input_blocks.{firsts[has_attention.index(True)]}.1"
    unet = {
        "in_channels": stem.shape[1],
        "out_channels": weights[f"{_UNET}out.2.weight"].shape[0],
        "model_channels": width,
        "channel_mult": [w // width for w in widths],
        "num_res_blocks": layers,
        "attention_resolutions": [2**level for level in levels if has_attention[level]],
        "transformer_depth": 1,
        "context_dim": weights[f"{block}.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "use_linear_in_transformer": weights[f"{block}.proj_in.weight"].ndim == 2,
    }
    unet |= {"num_heads": 8} if is_first else {"num_head_channels": 64}
    encoder, decoder = f"{_VAE}encoder.", f"{_VAE}decoder."
    channels = weights[f"{encoder}conv_in.weight"].shape[0]
    downs = _count(weights, f"{encoder}down.")
    codec = {
        "ch": channels,
        "ch_mult": [
            weights[f"{encoder}down.{i}.block.0.conv2.weight"].shape[0] // channels for i in range(downs)
        ],
        "in_channels": weights[f"{encoder}conv_in.weight"].shape[1],
        "out_ch": weights[f"{decoder}conv_out.weight"].shape[0],
        "z_channels": weights[f"{decoder}conv_in.weight"].shape[1],
        "num_res_blocks": _count(weights, f"{encoder}down.0.block."),
    }
    return {
        "unet_config": {"params": unet},
        "first_stage_config": {"params": {"ddconfig": codec}},
        "scale_factor": 0.18215,
    }


def _count(weights: Weights, prefix: str) -> int:
    """How many numbers follow a prefix among the tensors' names."""
    return len({name[len(prefix) :].split(".", 1)[0] for name in weights if name.startswith(prefix)})


def _text_encoder(weights: Weights, is_first: bool) -> CLIPTextModel:
    """CLIP's text encoder (1.x), or OpenCLIP's up to its last layer but one (2.x)."""
    if is_first:
        prefix = f"{_CLIP}text_model."
        tokens = weights[f"{prefix}embeddings.token_embedding.weight"]
        positions = weights[f"{prefix}embeddings.position_embedding.weight"]
        wide = weights[f"{prefix}encoder.layers.0.mlp.fc1.weight"]
        depth, act, ids = _count(weights, f"{prefix}encoder.layers."), "quick_gelu", (49406, 49407, 1)
    else:
        tokens = weights[f"{_OPEN_CLIP}token_embedding.weight"]
        positions = weights[f"{_OPEN_CLIP}positional_embedding"]
        blocks = f"{_OPEN_CLIP}transformer.resblocks."
        wide = weights[f"{blocks}0.mlp.c_fc.weight"]
        depth, act, ids = _count(weights, blocks) - 1, "gelu", (0, 2, 1)
        last = f"{blocks}{depth}."
        weights = {name: value for name, value in weights.items() if not name.startswith(last)}
    vocabulary, size = tokens.shape
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=size,
            intermediate_size=wide.shape[0],
            num_hidden_layers=depth,
            num_attention_heads=max(1, size // 64),
            max_position_embeddings=positions.shape[0],
            hidden_act=act,
            bos_token_id=min(ids[0], vocabulary - 2),
            eos_token_id=min(ids[1], vocabulary - 1),
            pad_token_id=ids[2],
        )
    )
    found = convert_ldm_clip_checkpoint(weights) if is_first else convert_open_clip_checkpoint(model, weights)
    if not hasattr(model, "text_model"):  # transformers from 5.6 has no such level
        found = {name.removeprefix("text_model."): value for name, value in found.items()}
    missing, _ = model.load_state_dict(found, strict=False)
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing:
        raise KeyError(f"no {missing[0]}")
    return model


def _tokenizer(path: Path, config: BackboneConfig, is_first: bool) -> CLIPTokenizer:
    """The vocabulary: the recipe's `tokenizer`, a folder beside the file, or the hub's (cached)."""
    beside = path.parent / "tokenizer"
    source = config.tokenizer or (str(path.parent) if beside.is_dir() else _VOCABULARY)
    try:
        inner = "tokenizer" if not Path(source).is_dir() or (Path(source) / "tokenizer").is_dir() else ""
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder=inner)
        if len(tokenizer) <= LETTERS:
            raise OSError("no vocabulary")
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"'{path}' needs a tokenizer, which no checkpoint holds, and there is none at {source}. Put a "
            "Stable Diffusion folder's `tokenizer` beside the file, or name one with --set "
            "backbone.tokenizer=FOLDER."
        ) from error
    if not is_first:
        tokenizer.pad_token = "!"  # as 2.x pads
    return tokenizer


def _scheduler(
    path: Path, config: BackboneConfig, metadata: dict[str, str], weights: Weights, is_first: bool
) -> DDIMScheduler:
    """Stable Diffusion's noise levels; 1.x predicts the noise, a 2.x file may be of either kind."""
    stated = metadata.get("modelspec.prediction_type", "").lower()
    says = "v_prediction" if stated.startswith("v") or "v_pred" in weights else None
    says = says or ("epsilon" if stated.startswith("eps") or is_first else None)
    if weights[f"{_UNET}input_blocks.0.0.weight"].shape[1] == 9:
        says = says or "epsilon"  # all inpainting models
    kind = config.prediction_type or says
    if kind is None:
        raise BackboneError(
            f"'{path}' is of Stable Diffusion 2.x and does not say what it predicts. Add --set "
            "backbone.prediction_type=v_prediction (the 768 px models) or =epsilon (the 512 px base)."
        )
    return noise_levels(kind)
