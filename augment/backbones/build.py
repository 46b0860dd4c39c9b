"""A new, untrained backbone of the bundled model's kind, and how a backbone is written to a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from augment.backbones.attention_processor import MaskedAttentionProcessor
from augment.backbones.backbone import Backbone, quiet_libraries
from augment.backbones.codec import PatchCodec
from augment.backbones.weights import forget_origin
from augment.functional.noising import PredictionType
from augment.recipe import PretrainConfig

_START, _END = "<|startoftext|>", "<|endoftext|>"


def build_backbone(
    config: PretrainConfig,
    texts: Iterable[str],
    *,
    resolution: int,
    device: torch.device,
    autocast_dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Backbone:
    """A randomly initialised backbone: patch codec, small U-Net, small CLIP text encoder.

    Args:
        config: sizes.
        texts: prompts; their words become whole tokens, other words are spelt.
        resolution: side of the images, pixels.
        device: where it runs.
        autocast_dtype: of the network calls.
        seed: of the initial weights; the global random state is left as it was.
    """
    tokenizer = build_tokenizer(texts)
    channels = config.block_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=resolution // config.patch,
            in_channels=config.latent_channels * (2 if config.inpainting else 1) + config.inpainting,
            out_channels=config.latent_channels,
            block_out_channels=channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * (len(channels) - 1)),
            up_block_types=(*["CrossAttnUpBlock2D"] * (len(channels) - 1), "UpBlock2D"),
            cross_attention_dim=config.text_width,
            # diffusers reads this as the number of heads
            attention_head_dim=tuple(max(1, c // 32) for c in channels),
            norm_num_groups=16,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.text_width,
                intermediate_size=4 * config.text_width,
                num_hidden_layers=2,
                num_attention_heads=max(1, config.text_width // 32),
                max_position_embeddings=tokenizer.model_max_length,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        codec = PatchCodec(patch=config.patch, latent_channels=config.latent_channels)
    unet.set_attn_processor(MaskedAttentionProcessor())
    return Backbone(
        name="tiny",
        unet=unet.to(device, memory_format=torch.channels_last),
        autoencoder=codec.to(device).requires_grad_(False),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        scheduler=noise_levels("v_prediction"),
        device=device,
        autocast_dtype=autocast_dtype,
    )


def noise_levels(prediction_type: PredictionType) -> DDIMScheduler:
    """Stable Diffusion's noise levels, which the bundled backbone has too."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def widen_to_inpainting(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same U-Net with 1 + C more input channels, for the hole and its surroundings, not used yet."""
    channels = unet.config.out_channels
    wide = UNet2DConditionModel.from_config({**unet.config, "in_channels": 2 * channels + 1})
    weights = unet.state_dict()
    first = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat(
        [first, first.new_zeros(len(first), channels + 1, *first.shape[2:])], dim=1
    )
    wide.load_state_dict(weights)
    wide.set_attn_processor(MaskedAttentionProcessor())
    return wide.to(first.device, memory_format=torch.channels_last)


def build_tokenizer(texts: Iterable[str], max_length: int = 32) -> CLIPTokenizer:
    """A CLIP tokenizer (byte-level BPE) whose merges are learnt from `texts`."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[_START, _END],
        show_progress=False,
    )
    bpe.train_from_iterator(sorted(set(texts)), trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    # The trainer numbers letters in an order that changes from run to run: number all tokens here.
    words = ("".join(pair) for pair in merges)
    tokens = [_START, _END, *alphabet, *(letter + "</w>" for letter in alphabet), *words]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write all parts in diffusers' layout, half precision safetensors.

    `load_backbone(BackboneConfig(model=str(folder)))` reads it back.
    """
    from copy import deepcopy

    quiet_libraries()
    folder.mkdir(parents=True, exist_ok=True)
    backbone.save_unet(folder)
    autoencoder_name = "codec" if isinstance(backbone.autoencoder, PatchCodec) else "vae"
    deepcopy(backbone.autoencoder).half().save_pretrained(folder / autoencoder_name)
    forget_origin(folder / autoencoder_name)
    deepcopy(backbone.text_encoder).half().save_pretrained(folder / "text_encoder")
    backbone.tokenizer.save_pretrained(folder / "tokenizer")
    backbone.scheduler.save_pretrained(folder / "scheduler")
