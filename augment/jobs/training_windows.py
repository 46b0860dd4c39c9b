"""Training windows: cut from real images with jitter, encoded once, drawn from at every step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from augment.backbones.backbone import Backbone
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.masks import random_mask, resize_mask
from augment.data.references import Reference, References
from augment.data.sample import Sample
from augment.data.windows import Window, crop, random_window, window_around
from augment.functional.masks import latent_mask
from augment.jobs.painting import as_tensor
from augment.methods.base import TrainingBatch
from augment.recipe import FitConfig, Recipe

log = logging.getLogger(__name__)
_SMALL_DEFECT = 4  # latent cells
_SHARE_REFERENCE = 4  # windows of a defect that share one reference


@dataclass(frozen=True)
class Windows:
    """Encoded windows of one kind.

    Attributes:
        z: (K, C, h, w) latents.
        m: (K, 1, h, w) masks.
        reference: (K, C, h, w) latents of good surface like that around each mask; None: not known. For a
            Stable Diffusion inpainting U-Net: latents of the same windows with their masks grey.
    """

    z: torch.Tensor
    m: torch.Tensor
    reference: torch.Tensor | None

    def draw(self, count: int, generator: torch.Generator) -> Windows:
        """`count` windows, with replacement; none of none."""
        i = torch.randint(max(1, len(self.z)), (count if len(self.z) else 0,), generator=generator)
        return self[i]

    def none(self) -> Windows:
        """No windows, of the same shape."""
        return self[:0]

    def __getitem__(self, rows: torch.Tensor | slice) -> Windows:
        reference = None if self.reference is None else self.reference[rows]
        return Windows(self.z[rows], self.m[rows], reference)


@dataclass(frozen=True)
class TrainingWindows:
    """Encoded training windows: defects with their masks, and normal images with random ones."""

    defects: Windows
    normals: Windows

    @classmethod
    def encode(
        cls,
        backbone: Backbone,
        defects: Sequence[Sample],
        normals: Sequence[Sample],
        references: References,
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
            image = to_rgb(image)
            for number in range(config.windows_per_image):
                if number % _SHARE_REFERENCE == 0:
                    reference = references.find(image, mask, rng)
                window = window_around(mask, recipe.window, rng)
                places.append((window, mask.shape))
                cuts.append(_cut(image, mask, reference, window, size, config, rng))
        found = _encode(backbone, cuts, config.mask_dilation)
        covered = found.m.sum(dim=(1, 2, 3))
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
                cuts.append(_good_cut(sample, image, window, references, size, config, rng))
        return cls(found, _encode(backbone, cuts, config.mask_dilation) if cuts else found.none())

    @classmethod
    def of_good_images(
        cls, backbone: Backbone, samples: Sequence[Sample], recipe: Recipe, count: int, seed: int
    ) -> TrainingWindows:
        """`count` windows of random size and place of each good image, with random holes."""
        rng = np.random.default_rng([seed, len(samples)])
        references, size, cuts = References(samples), recipe.backbone.resolution, []
        for sample in samples:
            image = to_rgb(read_image(sample.image))
            for _ in range(count):
                shape = image.shape[:2]
                whole = Window(0, 0, *shape) if recipe.window.full_frame else None
                window = whole or random_window(shape, recipe.window.minimum, rng)
                cuts.append(_good_cut(sample, image, window, references, size, recipe.fit, rng))
        found = _encode(backbone, cuts, recipe.fit.mask_dilation)
        return cls(found.none(), found)

    def batch(self, config: FitConfig, generator: torch.Generator) -> TrainingBatch:
        """Draw windows with replacement; on a step of crops, as many more as they are smaller."""
        is_crop = bool(torch.rand((), generator=generator) < config.crop_share)
        grid = min(self.defects.m.shape[-2:])
        side = min(config.crop_cells, grid) if is_crop else grid
        more = (grid // side) ** 2
        defects = self.defects.draw(config.batch_size * more, generator)
        normals = self.normals.draw(config.normal_batch_size * more, generator)
        return TrainingBatch(
            torch.cat([defects.z, normals.z]),
            torch.cat([defects.m, normals.m]),
            len(defects.z),
            None if defects.reference is None else torch.cat([defects.reference, normals.reference]),
            side,
        )


Cut = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # image, mask and reference of one window


def _cut(
    image: np.ndarray,
    mask: np.ndarray,
    reference: Reference | None,
    window: Window,
    size: int,
    config: FitConfig,
    rng: np.random.Generator,
) -> Cut:
    """A window of a defect image."""
    good = None if reference is None else _lying_on(reference, window, size)
    return _mirrored(crop(image, window, size), crop(mask, window, size, is_mask=True), good, config, rng)


def _good_cut(
    sample: Sample,
    image: np.ndarray,
    window: Window,
    references: References,
    size: int,
    config: FitConfig,
    rng: np.random.Generator,
) -> Cut:
    """A window of a good image with a random hole; another good image is the reference, where it is used."""
    patch, hole = crop(image, window, size), random_mask((size, size), rng)
    good = patch
    if config.prior_preservation:
        whole = np.zeros(image.shape[:2], dtype=bool)
        whole[window.slices] = resize_mask(hole, (window.height, window.width))
        match = references.find(image, whole, rng, skip=sample.image)
        good = None if match is None else _lying_on(match, window, size)
    return _mirrored(patch, hole, good, config, rng)


def _lying_on(reference: Reference, window: Window, size: int) -> np.ndarray:
    """What of a reference lies on a window, at the model's resolution."""
    part = reference.part(window.top, window.left, window.height, window.width)
    return crop(part, Window(0, 0, window.height, window.width), size)


def _encode(backbone: Backbone, cuts: list[Cut], dilation: int) -> Windows:
    """Windows, their pixel masks and their references on the latent grid."""
    latents, masks, references = [], [], []
    for start in range(0, len(cuts), 8):
        images, pixels, good = zip(*cuts[start : start + 8], strict=True)
        latents.append(backbone.encode_images(as_tensor(images)))
        mask = torch.from_numpy(np.stack(pixels))[:, None].to(backbone.device)
        masks.append(latent_mask(mask, latents[-1].shape[-2:], dilation))
        if backbone.fills_holes and all(picture is not None for picture in good):
            references.append(backbone.encode_images(as_tensor(good)))
        elif backbone.is_inpainting and not backbone.fills_holes:
            references.append(backbone.masked_images(as_tensor(images), masks[-1]))
    return Windows(torch.cat(latents), torch.cat(masks), torch.cat(references) if references else None)


def _mirrored(
    image: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray | None,
    config: FitConfig,
    rng: np.random.Generator,
) -> Cut:
    """A window's pictures, each axis mirrored half of the time where the recipe allows it."""
    axes = tuple(axis for axis in (0, 1) if config.flips and rng.random() < 0.5)
    return tuple(
        None if picture is None else np.ascontiguousarray(np.flip(picture, axes))
        for picture in (image, mask, reference)
    )


def _same_place(window: Window, shape: tuple[int, int], other: tuple[int, int]) -> Window:
    """A window at the same place, as a share of the sides, in an image of another size."""
    rows, columns = other[0] / shape[0], other[1] / shape[1]
    height, width = max(1, round(window.height * rows)), max(1, round(window.width * columns))
    top = min(round(window.top * rows), other[0] - height)
    left = min(round(window.left * columns), other[1] - width)
    return Window(top, left, height, width)
