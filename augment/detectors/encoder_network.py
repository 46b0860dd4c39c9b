"""A U-Net on a known encoder, from segmentation_models_pytorch."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from augment.detectors.random_states import random_states
from augment.errors import BackboneError, RecipeError, suggest

_DECODER_CHANNELS = (256, 128, 64, 32, 16)
_IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # mean and deviation of its images
_SUFFIXES = {".safetensors", ".pth", ".pt", ".bin", ".ckpt"}  # of files of weights


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


def initial_encoder_network(encoder: str, weights: str | None, depth: int, seed: int) -> EncoderNetwork:
    """The network before its training.

    Args:
        encoder: a name in `segmentation_models_pytorch.encoders`, or `tu-` and a timm name.
        weights: None: random; of the hub, such as "imagenet"; or a file, which holds the encoder's state dict
            (its image statistics are taken to be ImageNet's). The file may lack what `depth` leaves out.
        depth: levels of the encoder, 3 to 5; the decoder has as many.
        seed: of what is random.

    Raises:
        BackboneError: the package is not installed, or the weights cannot be had.
        RecipeError: no such encoder, no such weights of it, or a depth it cannot have.
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
    if not 3 <= depth <= 5:
        raise RecipeError(f"benchmark.unet.encoder_depth must be 3, 4 or 5, not {depth}.")
    file = Path(weights) if weights is not None and Path(weights).suffix in _SUFFIXES else None
    mean, std = [0.0] * 3, [1.0] * 3
    try:
        with random_states(torch.device("cpu"), seed):
            unet = smp.Unet(
                encoder,
                encoder_depth=depth,
                encoder_weights=None if file else weights,
                decoder_channels=_DECODER_CHANNELS[-depth:],
                in_channels=3,
                classes=2,
            )
        if file is not None:
            mean, std = _IMAGENET
            _load_encoder(unet.encoder, file, depth)
        elif weights is not None:
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


def _load_encoder(encoder: nn.Module, file: Path, depth: int) -> None:
    """Give an encoder a file's weights; those of levels beyond `depth` may lack."""
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:120]
        raise BackboneError(f"{file} (benchmark.unet.encoder_weights) cannot be read: {reason}") from error
    own = encoder.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    # Resnets' names: the stem is level 1, so `layer4` is not used at a depth of 4.
    unused = tuple(f"layer{level}." for level in range(depth, 5))
    lacking = [name for name in own if name not in fitting and not name.startswith(unused)]
    if lacking:
        raise BackboneError(
            f"{file} (benchmark.unet.encoder_weights) is not of this encoder at depth {depth}: it lacks "
            f"{len(lacking)} tensors of its shape, such as {lacking[0]}."
        )
    encoder.load_state_dict(fitting, strict=False)
