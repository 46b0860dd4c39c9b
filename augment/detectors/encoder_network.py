"""A U-Net on a known encoder, from segmentation_models_pytorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augment.detectors.random_states import random_states
from augment.errors import BackboneError, RecipeError, suggest


class EncoderNetwork(nn.Module):
    """segmentation_models_pytorch's U-Net; two logits a pixel, channel 1 = anomalous.

    Args:
        unet: gives (B, 2, H, W).
        mean, std: three numbers that the encoder's weights were trained with, for images in [0, 1].
    """

    def __init__(self, unet: nn.Module, mean: list[float], std: list[float]):
        super().__init__()
        self.unet = unet
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 2, H, W) of images (B, 3, H, W) in [0, 1]; H and W multiples of 32."""
        return self.unet((image - self.mean) / self.std)


def initial_encoder_network(encoder: str, weights: str | None, seed: int) -> EncoderNetwork:
    """The network before its training.

    Args:
        encoder: a name in `segmentation_models_pytorch.encoders`, or `tu-` and a timm name.
        weights: None: random; else of the hub, such as "imagenet".
        seed: of what is random.

    Raises:
        BackboneError: the package is not installed, or the weights cannot be had.
        RecipeError: no such encoder, or no such weights of it.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise BackboneError(
            "benchmark.unet.encoder needs a package that is not installed: "
            "pip install segmentation-models-pytorch (or the extra `encoders` of this package)."
        ) from error

    known = smp.encoders.get_encoder_names()
    if encoder not in known and not encoder.startswith("tu-"):
        raise RecipeError(
            f"No encoder is called '{encoder}' (benchmark.unet.encoder). {suggest(encoder, known)}"
        )
    mean, std = [0.0] * 3, [1.0] * 3
    try:
        with random_states(torch.device("cpu"), seed):
            unet = smp.Unet(encoder, encoder_weights=weights, in_channels=3, classes=2)
        if weights is not None:
            settings = smp.encoders.get_preprocessing_params(encoder, weights)
            scale = settings["input_range"][-1]
            mean, std = ([value / scale for value in settings[name]] for name in ("mean", "std"))
    except OSError as error:
        raise BackboneError(
            f"The weights '{weights}' of the encoder {encoder} are not here and cannot be downloaded: "
            "connect once, set HF_HOME to a cache that holds them, or benchmark.unet.encoder_weights to null."
        ) from error
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split()).rstrip(".")
        raise RecipeError(f"The encoder {encoder} cannot be built: {reason}.") from error
    return EncoderNetwork(unet, mean, std)
