"""DRAEM's anomaly synthesis: a texture from elsewhere, blended in where Perlin noise exceeds a threshold.

Zavrtanik, Kristan, Skocaj: "DRAEM: A Discriminatively Trained Reconstruction Embedding for Surface Anomaly
Detection", ICCV 2021. As in its published code, the noise has 1 to 32 cells on each axis, is turned by up to
90 degrees and thresholded at 0.5; the texture gets three random augmentations and an opacity in [0.2, 1].

Differs from the paper: the shape is cut to the target mask, so that it is compared with other methods on the
same masks; and no texture images are needed (the paper has DTD's): half of the time the texture is another
rendered surface (`augment.render.surfaces`), else the same window, turned and moved.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import functional as transforms

from augment.functional.masks import difference_evidence, or_target, refine_mask
from augment.methods.base import Generated, Untrained
from augment.render import surfaces
from augment.render.noise import perlin_noise
from augment.render.optics import Light

_THRESHOLD = 0.5  # of the noise
_SCALES = 6  # 1, 2, 4 ... 32 cells an axis
_TURN = 90.0  # degrees, either way, of the noise
_OPACITY = (0.2, 1.0)
_AUGMENTATIONS = 3  # of `_AUGMENT`, a texture
_ATTEMPTS = 20
_LEAST = 0.02, 4  # share of the target, and pixels, that a shape must have; one usually has 0.05
_SURFACES = (
    surfaces.brushed_metal,
    surfaces.cast_metal,
    surfaces.wood,
    surfaces.leather,
    surfaces.fabric,
    surfaces.ceramic,
    surfaces.stone,
    surfaces.plastic,
    surfaces.cardboard,
)


class Perlin(Untrained):
    """Perlin-shaped foreign texture."""

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        masks: Tensor,
        generators: list[torch.Generator],
        references: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> Generated:
        """Blend a texture into a part of each mask (see `Method.generate`).

        The refined mask is the noise's shape within the target. A shape of less than 2 % of the target is
        drawn again, twenty times; then the whole target is taken. The refinement `difference` is applied to
        the shape as the recipe says; the others need a model, and here keep it.
        """
        config, masks = self.synthesize, masks.float()
        found = []
        for image, mask, generator in zip(images, masks, generators, strict=True):
            rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
            shape = _shape(mask[0].cpu().numpy() > 0.5, rng)
            texture = _texture(image, rng)
            low, high = _OPACITY
            opacity = rng.uniform(low, high) * (
                mask if shape is None else torch.from_numpy(shape).to(mask)[None]
            )
            found.append((image + opacity * (texture - image), (opacity > 0).float(), shape is None))
        generated, shapes = (torch.stack(part) for part in list(zip(*found, strict=True))[:2])
        fell_back = torch.tensor([whole for _, _, whole in found])
        refined = shapes
        if config.refinement == "difference":
            evidence = difference_evidence(generated, images)
            refined = refine_mask(shapes, evidence, config.refinement_threshold)
        refined, unrefined = or_target(refined, shapes, config.minimum_refined_share)
        gaps = torch.zeros(len(images))
        return Generated(generated, refined, fell_back | unrefined, gaps, drawn=True)


def _shape(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """bool (R, R): where the noise exceeds its threshold in the mask; None where that is never enough."""
    size, whole = mask.shape[0], int(mask.sum())
    share, pixels = _LEAST
    centre = ((size - 1) / 2, (size - 1) / 2)
    for _ in range(_ATTEMPTS):
        rows, columns = 2 ** rng.integers(_SCALES, size=2)
        noise = perlin_noise(rng, size, int(rows), int(columns))
        turn = cv2.getRotationMatrix2D(centre, rng.uniform(-_TURN, _TURN), 1.0)
        noise = cv2.warpAffine(noise, turn, (size, size), borderMode=cv2.BORDER_REFLECT)
        shape = mask & (noise > _THRESHOLD)
        if shape.sum() >= min(whole, max(share * whole, pixels)):
            return shape
    return None


def _texture(image: Tensor, rng: np.random.Generator) -> Tensor:
    """What is blended in, (3, R, R) in [0, 1]: a rendered surface or the window itself, augmented."""
    if rng.random() < 0.5:
        texture = _surface(image.shape[-1], rng).to(image)
    else:
        shift = [int(value) for value in rng.integers(image.shape[-1], size=2)]
        texture = torch.roll(torch.rot90(image, int(rng.integers(4)), (1, 2)), shift, (1, 2))
    for number in rng.choice(len(_AUGMENT), _AUGMENTATIONS, replace=False):
        texture = _AUGMENT[number](texture, rng)
    return texture.clamp(0, 1)


def _surface(size: int, rng: np.random.Generator) -> Tensor:
    material = _SURFACES[rng.integers(len(_SURFACES))](rng, rng, size)
    radiance = Light.draw(rng, dome=bool(rng.random() < 0.5)).shade(material)
    return torch.from_numpy(np.clip(radiance, 0, 1).astype(np.float32)).movedim(-1, 0)


def _bytes(texture: Tensor) -> Tensor:
    return (texture.clamp(0, 1) * 255).round().to(torch.uint8)


def _equalized(texture: Tensor, rng: np.random.Generator) -> Tensor:
    return transforms.equalize(_bytes(texture)).to(texture) / 255


def _posterized(texture: Tensor, rng: np.random.Generator) -> Tensor:
    return transforms.posterize(_bytes(texture), int(rng.integers(2, 7))).to(texture) / 255


def _gamma(texture: Tensor, rng: np.random.Generator) -> Tensor:
    """Each channel by a power of its own."""
    powers = torch.from_numpy(rng.uniform(0.5, 2.0, (3, 1, 1))).to(texture)
    return texture.clamp(0, 1) ** powers


def _brightness(texture: Tensor, rng: np.random.Generator) -> Tensor:
    return texture * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30) / 255


def _hue(texture: Tensor, rng: np.random.Generator) -> Tensor:
    shifted = transforms.adjust_hue(texture.clamp(0, 1), rng.uniform(-0.2, 0.2))
    return transforms.adjust_saturation(shifted, rng.uniform(0.4, 1.6))


def _rotated(texture: Tensor, rng: np.random.Generator) -> Tensor:
    """Turned by up to 45 degrees, mirrored at its borders."""
    size = texture.shape[-1]
    whole = transforms.pad(texture, size // 2, padding_mode="reflect")
    turned = transforms.rotate(whole, rng.uniform(-45, 45), transforms.InterpolationMode.BILINEAR)
    return transforms.center_crop(turned, size)


_AUGMENT: tuple[Callable[[Tensor, np.random.Generator], Tensor], ...] = (
    _gamma,
    _brightness,
    lambda texture, rng: transforms.adjust_sharpness(texture.clamp(0, 1), rng.uniform(0, 3)),
    _hue,
    lambda texture, rng: transforms.solarize(texture.clamp(0, 1), rng.uniform(32, 128) / 255),
    _posterized,
    lambda texture, rng: 1 - texture,
    lambda texture, rng: transforms.autocontrast(texture.clamp(0, 1)),
    _equalized,
    _rotated,
)
