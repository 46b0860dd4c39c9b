"""The supervised segmenter with which synthetic defects are judged.

As published (DRAEM's discriminative network; 256 px, one network a category with all its defects pooled):
focal loss on the softmax, Adam, the learning rate x0.2 at 80 % and at 90 % of the steps, half of what a batch
holds normal, half anomalous with every defect type as likely, images in [0, 1], weights drawn from
N(0, 0.02). The image score is the maximum of the 21 x 21 average-pooled map. Always the last step's weights:
no epoch is chosen on the test set.

Differs from the published code (AnomalyDiffusion's `train-localization.py`): exactly half of each batch is
normal, where a coin was tossed for every image; the focal loss is computed from log-probabilities, where 1e-5
was added; pooling scales with the image size; `flips` may be switched on; and a type's real images are drawn
as often as its synthetic ones, where a hundred synthetic images would crowd out ten real ones. `encoder` puts
segmentation_models_pytorch's U-Net in the network's place; all else stays.

A short training of a narrow network needs two more changes (`negative_slope`, `head_learning_rate`; off in
the recipes that follow a protocol). Adam moves a weight by about the learning rate a step, so that after some
hundred steps the last layer, whose weights start near 0, could hardly call a pixel anomalous. And a network
that signals a defect by setting all its last channels to 0 stays at 1/2 there, its best pixels tied.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.data.images import read_sample
from augment.data.sample import GOOD, Sample
from augment.detectors.base import AnomalyMap, checkpoint_steps, choose_good
from augment.detectors.discriminative_network import DiscriminativeNetwork
from augment.detectors.encoder_network import initial_encoder_network
from augment.detectors.random_states import random_states
from augment.detectors.resizing import resize_image, resize_mask
from augment.devices import has_bfloat16
from augment.errors import DataError, RecipeError
from augment.progress import Progress
from augment.recipe import BenchmarkConfig

_POOLING = 21 / 256  # side of the image score's pooling window, as a share of the map's


class UNetDetector:
    """DRAEM's discriminative U-Net, trained on normal and anomalous images with masks.

    Maps are probabilities, scored at the network's `image_size` as published: images are resized to that
    square (bilinear, antialiased), masks by nearest.

    Raises:
        RecipeError: `image_size` is no multiple of 32, `batch_size` is below 2, or no such encoder.
        BackboneError: the encoder's package or weights are not there.
    """

    uses_anomalies: ClassVar[bool] = True

    def __init__(self, config: BenchmarkConfig, *, seed: int, device: str):
        self.config = config.unet
        self.checks = config.oracle_checks
        if self.config.image_size % DiscriminativeNetwork.STRIDE or self.config.image_size <= 0:
            raise RecipeError(
                f"benchmark.unet.image_size must be a multiple of {DiscriminativeNetwork.STRIDE}, "
                f"not {self.config.image_size}."
            )
        if self.config.batch_size < 2:
            raise RecipeError(
                f"benchmark.unet.batch_size must be at least 2 (half normal, half anomalous), "
                f"not {self.config.batch_size}."
            )
        self.seed = seed
        self.device = torch.device(device)
        if self.config.encoder is None:
            self.network: nn.Module = initial_network(
                self.config.base_width, seed, self.config.negative_slope
            )
        else:
            self.network = initial_encoder_network(
                self.config.encoder, self.config.encoder_weights, self.config.encoder_depth, seed
            )
        self.network.to(self.device, memory_format=torch.channels_last)

    def fit(
        self, train: Sequence[Sample], progress: Progress, checkpoint: Callable[[], None] | None = None
    ) -> None:
        """Train for `epochs` x `steps_per_epoch` steps (see `Detector.fit`)."""
        config = self.config
        rng = np.random.default_rng([self.seed, 0])
        # A type's real and synthetic images are drawn from alike, however many more there are of one.
        by_type: dict[tuple[str, bool], list[Sample]] = {}
        for sample in train:
            key = (GOOD, False) if sample.mask is None else (sample.defect, sample.is_synthetic)
            by_type.setdefault(key, []).append(sample)
        good = by_type.pop((GOOD, False), [])
        if not good or not by_type:
            found = f"{len(good)} normal and {sum(map(len, by_type.values()))} anomalous"
            raise DataError(
                f"The detector unet learns from normal and anomalous images, but was given {found}."
            )
        good = choose_good(good, config.good_images, rng)

        normal = [self._load(good, progress)]
        anomalous = [self._load(samples, progress) for samples in by_type.values()]
        steps = self._steps(sum(len(pool[0]) for pool in normal + anomalous))
        optimizer = torch.optim.Adam(self._parameters(), lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.MultiStepLR(
            optimizer, [steps * 8 // 10, steps * 9 // 10], gamma=0.2
        )
        half = config.batch_size // 2
        checks = checkpoint_steps(steps, self.checks if checkpoint else 0)
        self.network.train()
        with random_states(self.device, self.seed):  # an encoder may drop layers at random
            for step in progress(range(steps), desc="training unet", unit="step"):
                picks = _draw(normal, config.batch_size - half, rng) + _draw(anomalous, half, rng)
                if config.flips:
                    picks = [_turned(image, mask, rng) for image, mask in picks]
                image = self._to_input(np.stack([image for image, _ in picks]))
                mask = torch.from_numpy(np.stack([mask for _, mask in picks])).to(self.device)
                with self._autocast():
                    logits = self.network(image)
                optimizer.zero_grad(set_to_none=True)
                focal_loss(logits, mask, config.focal_gamma).backward()
                optimizer.step()
                schedule.step()
                if step + 1 in checks:
                    with random_states(self.device):
                        checkpoint()
                    self.network.train()

    def estimate(self, train: Sequence[Sample]) -> float:
        """Seconds, from the second of two steps of a copy of the network (see `Detector.estimate`)."""
        config = self.config
        normal = sum(sample.mask is None for sample in train)
        steps = self._steps(len(train) - normal + min(normal, config.good_images or normal))
        network = copy.deepcopy(self.network).train()
        blank = np.zeros((config.batch_size, config.image_size, config.image_size, 3), dtype=np.uint8)
        mask = torch.zeros(blank.shape[:3], device=self.device)
        for _ in range(2):
            start = time.perf_counter()
            with random_states(self.device, self.seed), self._autocast():
                logits = network(self._to_input(blank))
            focal_loss(logits, mask, config.focal_gamma).backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        return steps * (time.perf_counter() - start)

    @torch.inference_mode()
    def predict(self, images: Iterable[np.ndarray]) -> Iterator[AnomalyMap]:
        """Probability maps of `image_size` squared, and their pooled maxima (see `Detector.predict`)."""
        size = self.config.image_size
        window = pooling_window(size)
        self.network.eval()
        resized = (resize_image(image, size) for image in images)
        while batch := list(itertools.islice(resized, self.config.batch_size)):
            with self._autocast():
                logits = self.network(self._to_input(np.stack(batch)))
            maps = logits.float().softmax(dim=1)[:, 1:]
            scores = F.avg_pool2d(maps, window, stride=1, padding=window // 2).amax(dim=(1, 2, 3))
            for anomaly_map, score in zip(maps[:, 0].cpu().numpy(), scores.tolist(), strict=True):
                yield AnomalyMap(anomaly_map, score)

    def _parameters(self) -> list[dict]:
        """The network's parameters for Adam, those of DRAEM's last layer at a learning rate of their own."""
        if self.config.encoder is not None or self.config.head_learning_rate is None:
            return [{"params": list(self.network.parameters())}]
        head = list(self.network.head.parameters())
        body = [p for name, p in self.network.named_parameters() if not name.startswith("head.")]
        return [{"params": body}, {"params": head, "lr": self.config.head_learning_rate}]

    def _steps(self, images: int) -> int:
        """Steps of a training on so many images."""
        config = self.config
        return config.epochs * (config.steps_per_epoch or -(-images // config.batch_size))

    def _load(self, samples: Sequence[Sample], progress: Progress) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, S, S, 3) and masks bool (N, S, S) of the training size."""
        size = self.config.image_size
        images = np.empty((len(samples), size, size, 3), dtype=np.uint8)
        masks = np.zeros((len(samples), size, size), dtype=bool)
        for index, sample in enumerate(progress(samples, desc=f"reading {samples[0].defect}", unit="image")):
            image, mask = read_sample(sample)
            images[index] = resize_image(image, size)
            if mask is not None:
                masks[index] = resize_mask(mask, (size, size))
        return images, masks

    def _to_input(self, images: np.ndarray) -> Tensor:
        """uint8 (B, S, S, 3) as float32 (B, 3, S, S) in [0, 1], channels last in memory."""
        return torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255

    def _autocast(self) -> torch.autocast:
        """bfloat16 where the device computes in it: on such a CPU a step takes half the time."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=has_bfloat16(self.device))


def focal_loss(logits: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Mean over pixels of ``-(1 - p)^gamma log p``, with p the softmax probability of the true class.

    Args:
        logits: (B, 2, H, W); channel 1 = anomalous.
        mask: (B, H, W), nonzero = anomalous.
        gamma: how far pixels already right are played down; 0 = cross-entropy.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    log_p = F.log_softmax(logits.float(), dim=1).gather(1, mask.long()[:, None])
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def initial_network(base_width: int, seed: int, negative_slope: float = 0.0) -> DiscriminativeNetwork:
    """The network with published initial weights: convolutions N(0, 0.02), normalisations N(1, 0.02)."""
    with torch.random.fork_rng(devices=[]):  # torch's own initial weights draw from the global state
        network = DiscriminativeNetwork(base_width=base_width, negative_slope=negative_slope)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.normal_(0.0, 0.02, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1.0, 0.02, generator=generator)
                module.bias.zero_()
    return network


def pooling_window(image_size: int) -> int:
    """Odd side of the window over which the image score averages: 21 at 256 px, the same share elsewhere."""
    return 2 * round((image_size * _POOLING - 1) / 2) + 1


def _draw(
    pools: Sequence[tuple[np.ndarray, np.ndarray]], count: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` images with masks: every pool is as likely, and within it every image."""
    picks = []
    for _ in range(count):
        images, masks = pools[rng.integers(len(pools))]
        index = rng.integers(len(images))
        picks.append((images[index], masks[index]))
    return picks


def _turned(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask after the same one of the square's eight flips and quarter turns."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    return (image[:, ::-1], mask[:, ::-1]) if mirrored else (image, mask)
