"""anomalib's models as detectors: fed with our samples, trained quietly, giving their raw maps.

The only file that imports anomalib; `anomalib_memories.py` and `anomalib_trained.py` have one class a model.
How it is used here:

- Images are resized by our rule (`resizing.py`) and normalised as the model's pre-processor does, before
  the model sees a batch: anomalib normalises later, so that GLASS and CFA would take their centres from
  images that are not. Nothing is cropped, so that a map covers the whole image.
- Post-processor and evaluator are off: they clamp the maps, and mis-score raw ones.
- Training is Lightning's, of a fixed length: the last step's weights, no early stopping on the test set. Its
  `Trainer` is used without anomalib's `Engine`, which makes folders of results.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import timm
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision.transforms.v2 import Compose, Normalize, Resize, Transform
from torchvision.tv_tensors import Mask

from augment.data.images import read_sample
from augment.data.sample import GOOD, Sample
from augment.detectors.base import AnomalyMap, checkpoint_steps, choose_good
from augment.detectors.pretrained import backbone_weights, one_line
from augment.detectors.quiet_training import (
    Watch,
    accelerator,
    in_evaluation,
    interruptible,
    own_bars,
    quiet,
)
from augment.detectors.random_states import random_states
from augment.detectors.resizing import resize_image, resize_mask
from augment.errors import AugmentError, DataError, RecipeError
from augment.progress import Progress, no_progress
from augment.recipe import BenchmarkConfig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what is deprecated within anomalib
    import anomalib.models.image
    from anomalib.data import ImageBatch, ImageItem
    from anomalib.data.transforms.utils import extract_transforms_by_type
    from anomalib.models.components import SparseRandomProjection
    from anomalib.pre_processing import PreProcessor
    from anomalib.utils.path import get_datasets_dir


class TrainingImages(Dataset):
    """Samples at the model's size, in memory, as anomalib's items.

    Attributes:
        samples: in the order of the items.
    """

    def __init__(self, samples: Sequence[Sample], size: int, transform: Transform, progress: Progress):
        self.samples = samples
        self.transform = transform
        self._images = np.empty((len(samples), size, size, 3), dtype=np.uint8)
        self._masks = np.zeros((len(samples), size, size), dtype=bool)
        for index, sample in enumerate(progress(samples, desc="reading images", unit="image")):
            image, mask = read_sample(sample)
            self._images[index] = resize_image(image, size)
            if mask is not None:
                self._masks[index] = resize_mask(mask, (size, size))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> ImageItem:
        return ImageItem(
            image=self.transform(to_input(self._images[index : index + 1]))[0],
            gt_mask=Mask(torch.from_numpy(self._masks[index])),
            gt_label=torch.tensor(int(self.samples[index].mask is not None)),
        )

    def weights(self) -> list[float]:
        """How often each is drawn: half the draws are normal, half anomalous, in which every type's real and
        every type's synthetic images have the same share, however many there are."""
        groups = [(GOOD, False) if s.mask is None else (s.defect, s.is_synthetic) for s in self.samples]
        kinds = len(set(groups)) - 1
        return [1 / groups.count(group) / (1 if group[0] == GOOD else kinds) for group in groups]


class _Data(LightningDataModule):
    """What Lightning and some models ask for batches; shuffled by the global random state."""

    def __init__(self, images: Dataset, batch_size: int, weights: Sequence[float] | None):
        super().__init__()
        self.images = images
        self.train_batch_size = batch_size
        self.weights = weights

    def train_dataloader(self) -> DataLoader:
        sampler = self.weights and WeightedRandomSampler(self.weights, len(self.weights))
        return batches_of(self.images, self.train_batch_size, shuffle=not sampler, sampler=sampler)


class AnomalibDetector:
    """One of anomalib's models (see `Detector`).

    Attributes:
        name: in the registry.
        model_name: in `anomalib.models.image`.
        epochs: the length of its training in anomalib's example, or in its paper where there is none.
        steps: the same, where it is counted in steps; without either, it is fitted in one go.
        backbone: the network it takes features from, if one can be chosen.
        backbone_options: the model's arguments that it is given in.
        layers_option: its argument for the backbone's layers: "layers", or "layer" for the last of them.
        stride: an image's side must be a multiple of this, or of the patch that the backbone's name has.
        least_side: and at least this, in pixels.
        model, transform: anomalib's module, and what is done to images in [0, 1] before.

    Raises:
        RecipeError: settings that the model cannot take.
        BackboneError: its weights cannot be had.
        DataError: there are no `source_images` where they are said to be.
    """

    uses_anomalies: ClassVar[bool] = False
    name: ClassVar[str]
    model_name: ClassVar[str]
    epochs: ClassVar[int | None] = None
    steps: ClassVar[int | None] = None
    stride: int = 1
    least_side: ClassVar[int] = 32
    backbone: str | None = None
    backbone_options: ClassVar[tuple[str, ...]] = ("backbone",)
    layers_option: ClassVar[str | None] = None

    def __init__(self, config: BenchmarkConfig, *, seed: int, device: str):
        self.config = config.anomalib
        self.checks = config.oracle_checks
        self.weights = None if config.weights is None else Path(config.weights)
        self.seed = seed
        self.device = torch.device(device)
        self.progress = no_progress
        if self.backbone is not None and self.config.backbone is not None:
            self.backbone = self.config.backbone
        patch = re.search(r"patch(\d+)", self.backbone or "")
        self.stride = int(patch[1]) if patch else self.stride
        self.image_size = self.side() // self.stride * self.stride
        least_side = max(self.stride, self.least_side)
        for key, least in (("image_size", least_side), ("batch_size", 1), ("max_epochs", 1)):
            value = getattr(self.config, key)
            if value is not None and value < least:
                raise RecipeError(
                    f"benchmark.anomalib.{key} must be at least {least} for {self.name}, not {value}."
                )
        if self.config.source_images is not None and not Path(self.config.source_images).is_dir():
            raise DataError(
                f"benchmark.anomalib.source_images must be a folder, not {self.config.source_images}."
            )
        with random_states(self.device, self.seed), quiet(), backbone_weights(self.weights):
            try:
                self._check_layers()
                self._build()
                self.prepare()
            except AugmentError:
                raise
            except Exception as error:  # whatever a model says of settings it cannot take
                raise RecipeError(
                    f"The detector {self.name} cannot be made with these settings (benchmark.anomalib"
                    f"{', benchmark.weights' if self.weights else ''}): {one_line(error)}."
                ) from error

    # --- what a model's class may say ------------------------------------------------------------------

    def side(self) -> int:
        """The side of the images, before `stride` is heeded."""
        return self.config.image_size

    def batch_size(self) -> int:
        """Images a training step."""
        return self.config.batch_size

    def options(self) -> dict[str, Any]:
        """The model's own arguments."""
        options: dict[str, Any] = {}
        if self.backbone is not None:
            options |= dict.fromkeys(self.backbone_options, self.backbone)
        if self.layers_option is not None and self.config.layers:
            layers = list(self.config.layers)
            options[self.layers_option] = layers if self.layers_option == "layers" else layers[-1]
        return options

    def prepare(self) -> None:
        """What else the model needs once it is made."""

    def trained_on(self, images: TrainingImages) -> Dataset:
        """Those of the images that the model sees in its training."""
        return images

    def before_predicting(self) -> None:
        """What is to be done after training steps, in evaluation mode, before the model can predict."""

    # --- the protocol ----------------------------------------------------------------------------------

    def fit(
        self, train: Sequence[Sample], progress: Progress, checkpoint: Callable[[], None] | None = None
    ) -> None:
        """Train on the normal samples, or on all of them (see `Detector.fit`)."""
        self.progress = progress
        images = TrainingImages(self._chosen(train), self.image_size, self.transform, progress)
        data = _Data(
            self.trained_on(images), self.batch_size(), images.weights() if self.uses_anomalies else None
        )
        length = self._length(len(data.train_dataloader()))
        in_one_go = self.epochs is None and self.steps is None
        checks = checkpoint_steps(length["total"], 0 if checkpoint is None or in_one_go else self.checks)

        def check() -> None:
            with random_states(self.device), in_evaluation(self.model):
                self.before_predicting()
                checkpoint()

        bar = progress(total=length.pop("total"), desc=f"training {self.name}", unit="batch")
        with (
            bar,
            random_states(self.device, self.seed),
            quiet(),
            own_bars("anomalib", progress),
            interruptible(),
        ):
            trainer = Trainer(
                **{**self.model.trainer_arguments, **length, **accelerator(self.device)},
                callbacks=[Watch(bar, checks, check)],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
            )
            trainer.fit(self.model, datamodule=data)
            self.model.to(self.device)
            with in_evaluation(self.model):
                self.before_predicting()

    def estimate(self, train: Sequence[Sample]) -> None:
        """Not known: the models differ too much in what they do."""

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[AnomalyMap]:
        """The model's raw maps, of `image_size` squared, and its raw scores (see `Detector.predict`)."""
        resized = (resize_image(image, self.image_size) for image in images)
        while batch := list(itertools.islice(resized, self.config.batch_size)):
            with torch.no_grad(), random_states(self.device, self.seed), quiet(), in_evaluation(self.model):
                pixels = self.transform(to_input(np.stack(batch))).to(self.device)
                found = self.model.to(self.device).model(pixels)
                maps = found.anomaly_map.float().reshape(len(batch), *found.anomaly_map.shape[-2:])
                scores = found.pred_score.float().reshape(len(batch)).tolist()
            if not (maps.isfinite().all() and np.isfinite(scores).all()):
                raise DataError(
                    f"The detector {self.name} gives maps that are not finite: its training has diverged. "
                    "Train it on more images, or with another number of benchmark.anomalib.max_epochs."
                )
            for anomaly_map, score in zip(maps.cpu().numpy(), scores, strict=True):
                yield AnomalyMap(anomaly_map, score)

    # --- inside ----------------------------------------------------------------------------------------

    def _build(self) -> None:
        model_class = getattr(anomalib.models.image, self.model_name)
        normalise = extract_transforms_by_type(model_class.configure_pre_processor().transform, Normalize)
        size = (self.image_size, self.image_size)
        self.transform = Compose([Resize(size, antialias=True), *normalise])
        self.model = model_class(
            pre_processor=PreProcessor(self.transform),
            post_processor=False,
            evaluator=False,
            visualizer=False,
            **self.options(),
        )
        self.model.pre_processor = None  # it has told the model the size; the images come normalised

    def _check_layers(self) -> None:
        """anomalib passes over a layer that is not there."""
        if self.layers_option is None or not self.config.layers:
            return
        known = timm.create_model(self.backbone, features_only=True).feature_info.module_name()
        for layer in self.config.layers:
            if layer not in known:
                raise RecipeError(
                    f"{self.backbone} has no layer '{layer}' (benchmark.anomalib.layers). "
                    f"Known: {', '.join(known)}."
                )

    def _chosen(self, train: Sequence[Sample]) -> list[Sample]:
        """The samples to train on."""
        good = [sample for sample in train if sample.mask is None]
        anomalous = [sample for sample in train if sample.mask is not None]
        if not good or (self.uses_anomalies and not anomalous):
            wanted = "normal and anomalous" if self.uses_anomalies else "normal"
            found = f"{len(good)} normal and {len(anomalous)} anomalous"
            raise DataError(f"The detector {self.name} learns from {wanted} images, but was given {found}.")
        good = choose_good(good, self.config.good_images, np.random.default_rng([self.seed, 0]))
        return [*good, *anomalous] if self.uses_anomalies else good

    def _length(self, batches: int) -> dict[str, int]:
        """The Trainer's `max_epochs` and `max_steps`, and the batches they come to in `total`."""
        own = self.model.trainer_arguments.get("max_epochs")  # of a model that is fitted in one go
        epochs = own or self.config.max_epochs or self.epochs
        if epochs is None:
            return {"max_epochs": -1, "max_steps": self.steps, "total": self.steps}
        return {"max_epochs": epochs, "max_steps": -1, "total": epochs * batches}


def batches_of(images: Dataset, batch_size: int, **options: Any) -> DataLoader:
    """Items in anomalib's batches; `options` are those of the loader."""
    return DataLoader(images, batch_size, collate_fn=ImageBatch.collate, **options)


def random_projection(points: Tensor) -> Tensor:
    """(N, D) to fewer dimensions in which distances stay nearly the same, as anomalib does for PatchCore."""
    return SparseRandomProjection(eps=0.9).fit(points).transform(points)


def download_folder(name: str) -> Path:
    """Where anomalib keeps a data set that a model downloads."""
    return get_datasets_dir() / name


def to_input(images: np.ndarray) -> Tensor:
    """uint8 (B, S, S, 3) as float32 (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255
