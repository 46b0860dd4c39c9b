"""Settings: frozen dataclasses, read from YAML recipes.

The fields' defaults below are the only place a default is written; they are the `tiny` recipe's values.
A recipe file names what differs. Order of precedence: these defaults, the recipe file, `--set` overrides.
An unknown key is an error that offers the nearest known one, and so is a number beyond its bounds.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml

from augment.errors import RecipeError, suggest
from augment.resources import find_recipe


class Bounds(NamedTuple):
    """What a setting's numbers may be: `least` to `most`, and more than `above`."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf

    def hold(self, value: float) -> bool:
        """Whether a number is one of them; NaN is none."""
        return self.least <= value <= self.most and value > self.above

    def __str__(self) -> str:
        words = {"at least": self.least, "at most": self.most, "above": self.above}
        return " and ".join(f"{word} {value:g}" for word, value in words.items() if math.isfinite(value))


Range = tuple[float, float]
"""From, to; in a recipe one number stands for both."""

Count = Annotated[int, Bounds(least=1)]
Number = Annotated[int, Bounds(least=0)]
Share = Annotated[float, Bounds(least=0, most=1)]
Amount = Annotated[float, Bounds(least=0)]
Positive = Annotated[float, Bounds(above=0)]


@dataclass(frozen=True)
class BackboneConfig:
    """Which diffusion model paints."""

    model: str = "tiny"  # the bundled model, a diffusers folder, a hub id, or a .safetensors checkpoint
    revision: str | None = None  # hub revision (branch, tag or commit)
    tokenizer: str | None = None  # of a checkpoint file: folder or hub id; None: beside it, else the hub's
    prediction_type: Literal["epsilon", "v_prediction"] | None = None  # None: what the model says of itself
    resolution: Count = 256  # side of the square window the model sees, pixels; a multiple of 32


@dataclass(frozen=True)
class WindowConfig:
    """The square of the source image around a mask in which the model works."""

    context: Positive = 1.6  # side = context x the longer side of the mask's bounding box
    minimum: Count = 128  # smallest side, source pixels (never beyond the image)
    jitter: Amount = 0.15  # random shift and growth of a training window, as a share of its side
    full_frame: bool = False  # the window is the whole image, squashed to a square: for logical anomalies


@dataclass(frozen=True)
class AdaptConfig:
    """Learning a category from its good images, before any of its defects."""

    steps: Number = 0  # 0: no adaptation, the paper
    batch_size: Count = 4  # windows a step
    regulariser_batch_size: Count = 1  # of these in Eq. 5's second term
    images: Count = 60
    windows_per_image: Count = 8
    learning_rate: Positive = 3e-4


@dataclass(frozen=True)
class LoraConfig:
    """The low-rank change of the U-Net that is learnt in place of all its weights."""

    rank: int = 16
    alpha: float | None = None  # the change counts alpha / rank; None: the rank, so that it counts whole
    targets: tuple[str, ...] = (  # names of the layers that change; without the convolutions it learns half
        "to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2",
    )  # fmt: skip
    learning_rate: Positive = 1e-3  # takes the place of fit.learning_rate


@dataclass(frozen=True)
class FitConfig:
    """Learning one defect type (Eq. 5), or several of a category in one model."""

    method: str = "disentangled_inversion"
    together: bool = False  # one fit for all the chosen types of a category, each under its own prompt
    steps: Count = 100  # for each type: a fit of three types together makes three times as many
    batch_size: Count = 5  # defect windows a step
    normal_batch_size: Number = 1  # good windows with random masks a step, for Eq. 5; 0 = the paper
    regulariser_batch_size: Count | None = 1  # windows in Eq. 5's second term; None: all, the paper
    prior_preservation: bool = False  # normal windows are also refilled under the background prompt
    crop_share: Share = 0.5  # share of the steps on crops, as many more of them as they are smaller
    crop_cells: Count = 16  # side of a crop, latent cells
    normal_images: Count = (
        32  # good images whose windows are cached for that, and that defects are compared with
    )
    windows_per_image: Count = 16  # jittered windows cached for each defect image
    learning_rate: Positive = 3e-4
    warmup_steps: Number = 20
    weight_decay: Amount = 1e-2
    max_grad_norm: Positive = 1.0
    ema_decay: Share = 0.98
    region_weighting: Literal["balanced", "paper"] = "balanced"
    min_snr_gamma: Positive | None = None  # clips how much a low noise level counts, 5 is usual; None: off
    tuning: Literal["auto", "full", "lora", "dora"] = (
        "auto"  # what of the U-Net is learnt; auto: all of it, or LoRA where the memory mode asks for it
    )
    lora: LoraConfig = field(default_factory=LoraConfig)
    optimizer: Literal["auto", "adamw", "fused", "8bit"] = (
        "auto"  # auto: adamw, or 8bit (bitsandbytes) where the memory mode asks for it
    )
    compile: bool = False  # torch.compile the U-Net: minutes at the start, then faster; for GPUs
    flips: bool = True  # mirrored training windows
    mask_dilation: Number = 0  # latent cells added around a training mask
    mask_background_keys: bool = False  # hide the hole's keys from self-attention in background passes
    defect_prompt: str = "a photo of a {category} with sks {defect}"
    background_prompt: str = "a photo of a {category}"
    masked_prompt: str = ""  # the paper's C_m
    checkpoint_every: Count = 100  # steps


@dataclass(frozen=True)
class MaskConfig:
    """Target masks: training masks after random changes, or a folder of the user's own."""

    folder: str | None = None  # use these masks instead of the training masks
    foreground: str = "auto"  # where parts are: found; none: anywhere; a folder of masks named as good images
    flips: bool = True
    rotation: Amount = 20.0  # degrees, either way, about the image's centre
    scale: Annotated[Range, Bounds(above=0)] = (0.85, 1.15)
    translation: Amount = 0.04  # share of the image's side, either way
    elastic: Amount = 0.5  # strength of the elastic change, 0 = none
    candidates: Count = 8  # places tried; the one most like the training defect's is taken; 1: any


@dataclass(frozen=True)
class FilterConfig:
    """Which painted images are kept; all are scored either way."""

    enabled: bool = False
    attempts: Count = 8  # paintings of one image; where none passes, the image is left out
    margin: Amount = 1.0  # 2: the limits lie twice as far from what real defects have; see Limits
    criteria: tuple[
        Literal["background", "coverage", "strength", "seam", "raggedness", "likeness", "copy"], ...
    ] = (
        "background",  # a pixel outside the mask has changed
        "coverage",  # too little of the mask visibly changes
        "strength",  # too faint
        "seam",  # ends too sharply at the mask's border
        "raggedness",  # the mask is in shreds
        "likeness",  # unlike every real defect
        "copy",  # more like one of them than two of them are like each other
    )


@dataclass(frozen=True)
class SynthesizeConfig:
    """Painting the learned defect (Eq. 8, 9, 13)."""

    num_inference_steps: Count = 20  # DDIM steps, each way
    inversion_calls: Count | None = 10  # network calls of the inversion; None: one a step, the paper
    solver: Literal["ddim", "dpm++2m"] = (
        "ddim"  # of the defect's steps; the second gets by with a third as many, at levels of its own
    )
    samples_per_source: Count = 1  # consecutive images of one source and mask, which share an inversion
    # Noise that a real defect's window starts with, as a share of the steps, drawn for each image: 0.3 keeps
    # the defect's look, 1 hardly more than its place. One number: that. 1: from noise alone, the paper.
    strength: Annotated[Range, Bounds(above=0, most=1)] = (0.3, 1.0)
    # Share of those images in which one real defect's outline shows the looks of another of like proportions.
    lending: Share = 0.5
    # Share of the rest that start from two real defects, the second in part of the first one's outline.
    mixing: Share = 0.75
    # Where a start is nearer to a real defect than two real ones are to each other, lend it other looks, or
    # another place, until it is not; of three real defects or more.
    apart: bool = True
    temperature: Amount = (
        0.85  # deviation of the noise a hole starts from; 1 = the paper, less = calmer texture
    )
    guidance_scale: float = 1.0  # on the defect prompt; 1 = none, as the paper's proofs assume
    start: Literal["inversion", "random"] = (
        "inversion"  # of the background's noise: by Eq. 8, or drawn (ablation: the source noised forward)
    )
    background: Literal["replay", "predict"] = (
        "replay"  # write the inverted trajectory back, or predict it again
    )
    refinement: Literal["attention", "contrast", "difference", "none"] = "difference"
    refinement_threshold: float = 0.5  # of the refinement map, which lies in [0, 1]
    # Bays and gaps of a refined mask that are narrower than twice this share of the target mask's size (the
    # root of its area) belong to the mask, as they would if it were drawn by hand. Holes always do.
    closing: Amount = 0.15
    minimum_refined_share: Share = (
        0.1  # a refined mask smaller than this share of the target falls back to it
    )
    carry_detail: bool = True  # put the source's own noise and fine detail back into what was painted
    # Width of the blend inside the mask's edge, source pixels, and of the margin that a training mask gets
    # for it; both are less on a small defect.
    feather: Number = 2
    batch_size: Count = 8
    defects_per_image: tuple[int, int] = (1, 1)  # fewest and most; drawn for each image
    masks: MaskConfig = field(default_factory=MaskConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)

    @property
    def starts_from_examples(self) -> bool:
        """Whether an image starts from a real defect, rather than from noise alone."""
        return self.strength[0] < 1


@dataclass(frozen=True)
class SpeedConfig:
    """How a synthesis uses its device; nothing here changes an image by more than rounding.

    A set begun with other values goes on. What paints in fewer network calls is in `synthesize`:
    `background`, `inversion_calls`, `samples_per_source`, `solver`.
    """

    overlap: Number = (
        1  # batches read ahead, and as many waiting to be written, while one is painted; 0: in turn
    )
    channels_last: bool = True  # memory order of the U-Net's images
    half: bool = False  # a half-precision --dtype throughout, norms too, in place of autocast's mixture
    compile: bool = False  # torch.compile of the U-Net: a minute or more at the start
    cuda_graph: bool = False  # each call as one captured CUDA graph: for small batches on fast cards


@dataclass(frozen=True)
class MemoryConfig:
    """What is given up for memory in `fit` and `synthesize`; beside `mode`, None leaves it to the mode.

    None of it changes a result by more than rounding, but for `vae_tiling`, which may move a seam by a grey
    level. `augment.memory` says what each mode sets.
    """

    mode: Literal["auto", "8gb", "12gb", "24gb", "max"] = "auto"  # auto: the largest the card has room for
    gradient_checkpointing: bool | None = None  # compute a fit's activations twice in place of keeping them
    training_rows: int | None = None  # latents in one forward of a fit, which adds up gradients; 0: all
    painting_rows: int | None = None  # latents in one forward of a synthesis; 0: all
    half_weights: bool | None = None  # keep weights that are not learnt in the dtype they are used in
    offload: bool | None = None  # text encoder and autoencoder wait in main memory while they are not used
    vae_slicing: bool | None = None  # one image at a time through Stable Diffusion's autoencoder
    vae_tiling: bool | None = None  # and each in tiles


@dataclass(frozen=True)
class ProtocolConfig:
    """Which images a fit may see."""

    protocol: Literal["two-fold", "third"] = "two-fold"
    group_duplicates: bool = True  # images of one physical part stay on one side of every split


@dataclass(frozen=True)
class UNetConfig:
    """The supervised segmenter (DRAEM's discriminative network)."""

    encoder: str | None = None  # None: DRAEM's; else of segmentation_models_pytorch's U-Net, such as resnet18
    encoder_weights: str | None = None  # None: random; imagenet: from the hub; or a file of its state dict
    encoder_depth: int = 5  # levels of the encoder, 3 to 5; fewer where the file lacks the deepest
    image_size: int = 128  # images are resized to this square, pixels
    base_width: Count = 16  # channels of the first level; the published network has 64
    epochs: Count = 50
    steps_per_epoch: Count | None = 8  # None: one pass over the training images
    batch_size: int = 8
    learning_rate: Positive = 3e-4  # the published 1e-4 is for many more steps
    head_learning_rate: Positive | None = 3e-3  # of DRAEM's last layer, starts near 0; None: as the rest
    negative_slope: Amount = 0.1  # of DRAEM's rectifiers; 0 as published, where narrow networks may die
    focal_gamma: Amount = 2.0
    good_images: Count | None = 40  # good training images used; None: all
    flips: bool = False  # random flips and quarter turns; the published protocol has none


@dataclass(frozen=True)
class AnomalibConfig:
    """anomalib's models; each reads what it has (see `augment list detectors`)."""

    image_size: Count = 256  # images are resized to this square, or the next smaller one the model can take
    max_epochs: Count | None = None  # None: anomalib's example; not for what is fitted in one go
    batch_size: Count = 8
    good_images: Count | None = None  # good training images used; None: all
    backbone: str | None = None  # feature extractor, mostly a timm name; None: the model's own
    layers: tuple[str, ...] | None = None  # of a convolutional backbone; None: the model's own
    coreset_sampling_ratio: Share = 0.1  # share of the good images' patches that patchcore remembers
    source_images: str | None = None  # folder: textures for draem and glass, photographs for efficient_ad


@dataclass(frozen=True)
class BenchmarkConfig:
    """Training detectors with and without the synthetic images."""

    detectors: tuple[str, ...] = ("unet",)
    seeds: tuple[Number, ...] = (0,)
    n: tuple[Number, ...] = ()  # synthetic images of each defect, a training for each; (): all there are
    baselines: tuple[str, ...] = ()  # methods compared with, painted with the same masks, numbers and seed
    synthetic_only: bool = False  # also train on the synthetic images without the real ones
    resamples: Count = 1000  # of the test images, for the interval of each difference to real-only
    aupro_limit: Annotated[float, Bounds(above=0, most=1)] = 0.3  # up to this false-positive rate
    oracle_checks: Number = 0  # how often a training's maps are scored on the way to its end; 0: never
    weights: str | None = None  # file of the backbone's weights, for detectors that have one; None: the hub
    unet: UNetConfig = field(default_factory=UNetConfig)
    anomalib: AnomalibConfig = field(default_factory=AnomalibConfig)


@dataclass(frozen=True)
class PretrainConfig:
    """Training the bundled backbone on rendered scenes."""

    base: str | None = None  # start from this backbone's weights (`tiny` or a folder), not from random ones
    steps: Count = 4000
    batch_size: Count = 6  # whole windows a step
    crop_share: Share = 0.75  # share of the steps on crops, as many more of them as they are smaller
    crop_cells: Count = 16  # side of a crop, latent cells
    learning_rate: Positive = 3e-4
    warmup_steps: Number = 200
    ema_decay: Share = 0.999
    pool: Count = 8000  # rendered scenes to learn from
    images: Number = 2000  # windows cut from the user's own images, where there are any
    checkpoint_every: Count = 250
    sheet_every: Count = 1000
    codec_images: Count = (
        600  # rendered scenes from which the codec's components are computed and its decoder trained
    )
    codec_steps: Number = 600
    latent_channels: Count = 16
    patch: Count = 8  # side of a codec block, pixels
    block_channels: tuple[int, ...] = (64, 128, 192)
    text_width: Count = 96
    inpainting: bool = True  # the U-Net also sees the clean latents around the hole


@dataclass(frozen=True)
class Recipe:
    """All settings of a run."""

    name: str = "tiny"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    data: ProtocolConfig = field(default_factory=ProtocolConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    synthesize: SynthesizeConfig = field(default_factory=SynthesizeConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain nested dicts, lists and scalars (what YAML and JSON can hold)."""
        return _plain(dataclasses.asdict(self))

    def to_yaml(self) -> str:
        """The recipe as YAML; `Recipe.from_dict(yaml.safe_load(text))` gives an equal one."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The resolved recipe of a run, from its `recipe.yaml`.

        Raises:
            RecipeError: unreadable, or of another version of these settings.
        """
        try:
            return cls.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"The recipe {path} cannot be read: {_one_line(error)}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from nested mappings.

        Raises:
            RecipeError: unknown key or wrong type.
        """
        return _build(cls, values, "")


def load_recipe(name: str = "tiny", overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply `key=value` overrides.

    Args:
        name: `tiny`, `fast`, `paper`, ... (see `augment list recipes`), or the path of a YAML file.
        overrides: such as `"fit.steps=200"`; the value is read as YAML.

    Raises:
        RecipeError: no such recipe, not valid YAML, an unknown key, or a value of the wrong type.
    """
    path = find_recipe(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The recipe {path} cannot be read as YAML: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"The recipe {path} must hold keys and values, not {type(values).__name__}.")
    values.setdefault("name", path.stem)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise RecipeError(f"'{override}' is not KEY=VALUE, as in fit.steps=200.")
        try:
            _assign(values, key.strip(), yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RecipeError(f"The value of '{key}' cannot be read: {_one_line(error)}") from error
    return Recipe.from_dict(values)


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested dicts."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise RecipeError(f"'{key}' is not a setting: '{parent}' holds a value, not a group.")
    values[last] = value


def _build(cls: type, values: Any, where: str) -> Any:
    """A dataclass from a mapping, checking names and types on the way."""
    if not isinstance(values, Mapping):
        raise RecipeError(f"'{where.rstrip('.')}' must be a group of settings, not {values!r}.")
    hints = typing.get_type_hints(cls, include_extras=True)
    for key in values:
        if key not in hints:
            raise RecipeError(f"No setting is called '{where}{key}'. {suggest(str(key), hints)}")
    return cls(**{key: _convert(hints[key], value, where + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, or a RecipeError that names the key."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _within(arguments[1], _convert(arguments[0], value, where), where)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where + ".")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise RecipeError(f"'{where}' must be one of {', '.join(map(str, arguments))}, not {value!r}.")
    if origin is tuple:
        if hint == Range and isinstance(value, int | float) and not isinstance(value, bool):
            value = (value, value)
        if not isinstance(value, list | tuple):
            raise RecipeError(f"'{where}' must be a list, not {value!r}.")
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item, where) for item in value)
        if len(value) != len(arguments):
            raise RecipeError(f"'{where}' must hold {len(arguments)} values, not {value!r}.")
        return tuple(_convert(a, item, where) for a, item in zip(arguments, value, strict=True))
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is hint:
        return value
    raise RecipeError(f"'{where}' must be of type {hint.__name__}, not {value!r}.")


def _within(bounds: Bounds, value: Any, where: str) -> Any:
    """A number, or the two of a range, within its bounds, or a RecipeError that names the key."""
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if not bounds.hold(number):
            raise RecipeError(f"'{where}' must be {bounds}, not {number:g}.")
    if numbers[0] > numbers[-1]:
        raise RecipeError(f"'{where}' goes from the smaller number to the larger, not from {value}.")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
