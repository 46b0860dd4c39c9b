"""Stable Diffusion's exact shapes with random weights: speed and memory do not depend on what they hold.

`build("1.5")` is the U-Net, autoencoder and text encoder that the published 1.5 has, from its configuration;
`narrow=5` has the same layers with a fifth of the channels, for machines that cannot hold the real one.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from augment.backbones.attention_processor import MaskedAttentionProcessor
from augment.backbones.backbone import Backbone
from augment.backbones.build import build_tokenizer

TEXTS = ["a photo of a bottle with sks crack", "a photo of a bottle"]
_UNET = {
    "1.5": {"cross_attention_dim": 768, "attention_head_dim": 8},
    "2.1": {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
}
_TEXT = {
    "1.5": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    },
    "2.1": {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"},
}
VERSIONS = tuple(_UNET)


def build_unet(version: str, narrow: int = 1, in_channels: int = 4) -> UNet2DConditionModel:
    """The U-Net; 9 input channels make it the inpainting variant's."""
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=tuple(width // narrow for width in (320, 640, 1280, 1280)),
        layers_per_block=2,
        down_block_types=(*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        **_UNET[version],
    )


def build(
    version: str,
    device: torch.device,
    autocast_dtype: torch.dtype = torch.float32,
    narrow: int = 1,
    seed: int = 0,
) -> Backbone:
    """A backbone of this shape.

    Args:
        version: 1.5 (predicts the noise) or 2.1 (the velocity).
        device: where it is made.
        autocast_dtype: of the network calls.
        narrow: divides the channels of the U-Net: 1, 2, 5 or 10; above 1 the autoencoder has a quarter of
            its channels, and the text encoder, which is called once, two layers.
        seed: of the weights.
    """
    tokenizer = build_tokenizer(TEXTS, max_length=77)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        unet = build_unet(version, narrow)
        vae = AutoencoderKL(
            block_out_channels=tuple(width // (4 if narrow > 1 else 1) for width in (128, 256, 512, 512)),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            scaling_factor=0.18215,
            sample_size=512,
        )
        text = _TEXT[version] | ({"num_hidden_layers": 2} if narrow > 1 else {})
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                intermediate_size=4 * text["hidden_size"],
                max_position_embeddings=77,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                **text,
            )
        )
    unet.set_attn_processor(MaskedAttentionProcessor())
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon" if version == "1.5" else "v_prediction",
    )
    return Backbone(
        name=f"Stable Diffusion {version}, random weights",
        unet=unet.to(device, memory_format=torch.channels_last).eval(),
        autoencoder=vae.to(device).eval().requires_grad_(False),
        text_encoder=text_encoder.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=device,
        autocast_dtype=autocast_dtype,
    )


def inpainting_pipeline(backbone: Backbone, version: str, narrow: int, dtype: torch.dtype):
    """diffusers' own inpainting pipeline of the same shape; its U-Net sees five more channels."""
    with torch.random.fork_rng(), torch.device(backbone.device):
        torch.manual_seed(0)
        unet = build_unet(version, narrow, in_channels=9)
    pipeline = StableDiffusionInpaintPipeline(
        vae=backbone.autoencoder,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=unet,
        scheduler=backbone.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(backbone.device, dtype)
