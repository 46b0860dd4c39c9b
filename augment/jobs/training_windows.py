"""Training windows: cut from real images with jitter, encoded once, drawn from at every step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from augment.backbones.backbone import Backbone
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.masks import random_mask
from augment.data.sample import Sample
from augment.data.windows import Window, crop, random_window, window_around
from augment.functional.masks import latent_mask
from augment.jobs.painting import as_tensor
from augment.methods.base import TrainingBatch
from augment.recipe import FitConfig, Recipe

log = logging.getLogger(__name__)
_SMALL_DEFECT = 4  # latent cells


@dataclass(frozen=True)
class TrainingWindows:
    """Encoded training windows: defects with their masks, and normal images with random ones."""

    defect_z: torch.Tensor  # (K, C, h, w)
    defect_m: torch.Tensor  # (K, 1, h, w)
    normal_z: torch.Tensor
    normal_m: torch.Tensor

    @classmethod
    def encode(
        cls,
        backbone: Backbone,
        defects: Sequence[Sample],
        normals: Sequence[Sample],
        recipe: Recipe,
        seed: int,
        key: str,
    ) -> TrainingWindows:
        """Cut jittered windows, encode them once, and keep them."""
        rng = np.random.default_rng([seed, *key.encode()])
        size, config = recipe.backbone.resolution, recipe.fit
        cuts, places = [], []
        for sample in defects:
            image, mask = read_sample(sample)
            for _ in range(config.windows_per_image):
                window = window_around(mask, recipe.window, rng)
                places.append((window, mask.shape))
                cuts.append(
                    _mirrored(
                        crop(to_rgb(image), window, size), crop(mask, window, size, is_mask=True), config, rng
                    )
                )
        defect_z, defect_m = _encode(backbone, cuts, config.mask_dilation)
        covered = defect_m.sum(dim=(1, 2, 3))
        if (covered < _SMALL_DEFECT).any():
            log.warning(
                "%s covers fewer than %d latent cells in %d of %d windows: a smaller window.context or "
                "window.minimum shows it larger.",
                key,
                _SMALL_DEFECT,
                int((covered < _SMALL_DEFECT).sum()),
                len(covered),
            )
        cuts = []
        for sample in normals:
            image = to_rgb(read_image(sample.image))
            for _ in range(max(1, config.windows_per_image // 2)):
                window = _same_place(*places[rng.integers(len(places))], image.shape[:2])
                cuts.append(_mirrored(crop(image, window, size), random_mask((size, size), rng), config, rng))
        normal_z, normal_m = (
            _encode(backbone, cuts, config.mask_dilation) if cuts else (defect_z[:0], defect_m[:0])
        )
        return cls(defect_z, defect_m, normal_z, normal_m)

    @classmethod
    def of_good_images(
        cls, backbone: Backbone, samples: Sequence[Sample], recipe: Recipe, count: int, seed: int
    ) -> TrainingWindows:
        """`count` windows of random size and place of each good image, with random holes."""
        rng = np.random.default_rng([seed, len(samples)])
        size, cuts = recipe.backbone.resolution, []
        for sample in samples:
            image = to_rgb(read_image(sample.image))
            for _ in range(count):
                window = random_window(image.shape[:2], recipe.window.minimum, rng)
                hole = random_mask((size, size), rng)
                cuts.append(_mirrored(crop(image, window, size), hole, recipe.fit, rng))
        z, m = _encode(backbone, cuts, recipe.fit.mask_dilation)
        return cls(z[:0], m[:0], z, m)

    def batch(self, config: FitConfig, generator: torch.Generator) -> TrainingBatch:
        """Draw windows with replacement; on a step of crops, as many more as they are smaller."""
        is_crop = bool(torch.rand((), generator=generator) < config.crop_share)
        grid = min(self.defect_m.shape[-2:])
        side = min(config.crop_cells, grid) if is_crop else grid
        n_defect, n_normal = (n * (grid // side) ** 2 for n in (config.batch_size, config.normal_batch_size))
        n_normal = n_normal if len(self.normal_z) else 0
        i = torch.randint(max(1, len(self.defect_z)), (n_defect,), generator=generator)
        j = torch.randint(max(1, len(self.normal_z)), (n_normal,), generator=generator)
        return TrainingBatch(
            torch.cat([self.defect_z[i], self.normal_z[j]]),
            torch.cat([self.defect_m[i], self.normal_m[j]]),
            n_defect,
            side,
        )


def _encode(
    backbone: Backbone, cuts: list[tuple[np.ndarray, np.ndarray]], dilation: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows and their pixel masks -> latents (K, C, h, w) and latent masks (K, 1, h, w)."""
    latents, masks = [], []
    for start in range(0, len(cuts), 8):
        images, pixels = zip(*cuts[start : start + 8], strict=True)
        latents.append(backbone.encode_images(as_tensor(images)))
        mask = torch.from_numpy(np.stack(pixels))[:, None].to(backbone.device)
        masks.append(latent_mask(mask, latents[-1].shape[-2:], dilation))
    return torch.cat(latents), torch.cat(masks)


def _mirrored(
    image: np.ndarray, mask: np.ndarray, config, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask, each axis mirrored half of the time where the recipe allows it."""
    for axis in (0, 1):
        if config.flips and rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _same_place(window: Window, shape: tuple[int, int], other: tuple[int, int]) -> Window:
    """A window at the same place, as a share of the sides, in an image of another size."""
    rows, columns = other[0] / shape[0], other[1] / shape[1]
    height, width = max(1, round(window.height * rows)), max(1, round(window.width * columns))
    top = min(round(window.top * rows), other[0] - height)
    left = min(round(window.left * columns), other[1] - width)
    return Window(top, left, height, width)
