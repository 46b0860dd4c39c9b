"""From a whole image and a target mask to a whole image with a defect: window, generate, refine, paste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from augment.data.images import to_rgb
from augment.data.masks import feather
from augment.data.windows import Window, carry_detail, crop, paste, window_around
from augment.methods.base import Generated, Method
from augment.recipe import Recipe


@dataclass(frozen=True)
class PaintJob:
    """One defect to paint.

    Attributes:
        image: uint8 (H, W) or (H, W, 3), a normal image.
        mask: bool (H, W), the target mask, not empty.
        generator: the randomness of this image alone.
        reference: uint8 (H, W, 3), what good surface might look like in the mask; None: what `image` shows.
        example: uint8 (H, W, 3), an image that shows a real defect in the mask, to start from; None: noise.
    """

    image: np.ndarray
    mask: np.ndarray
    generator: torch.Generator
    reference: np.ndarray | None = None
    example: np.ndarray | None = None


@dataclass(frozen=True)
class Painted:
    """One painted image.

    Attributes:
        image: uint8 of the source's shape; outside `mask` it is the source bit for bit.
        mask: bool (H, W), the refined mask, inside the target mask, never empty.
        window: where the model worked.
        fell_back: refinement left nearly nothing, and the target mask was kept.
        background_error: root mean square gap of the latents outside the mask, before the composite.
    """

    image: np.ndarray
    mask: np.ndarray
    window: Window
    fell_back: bool
    background_error: float


@dataclass(frozen=True)
class Prepared:
    """A batch of jobs, cut out and ready for the device: the arguments of `Method.generate`."""

    jobs: Sequence[PaintJob]
    windows: list[Window]
    images: torch.Tensor
    masks: torch.Tensor
    references: torch.Tensor | None
    examples: torch.Tensor | None


def paint(method: Method, jobs: Sequence[PaintJob], recipe: Recipe) -> list[Painted]:
    """Paint a batch of defects.

    Each job works in a window around its mask, resized to the backbone's resolution, and is pasted back at
    the source's own resolution; only pixels inside the refined mask change.
    """
    prepared = prepare(jobs, recipe)
    return finish(prepared, generate(method, prepared), recipe)


def prepare(jobs: Sequence[PaintJob], recipe: Recipe) -> Prepared:
    """`paint`, first part: windows, on the CPU."""
    size = recipe.backbone.resolution
    windows = [window_around(job.mask, recipe.window) for job in jobs]
    patches = [crop(to_rgb(job.image), window, size) for job, window in zip(jobs, windows, strict=True)]
    masks = [crop(job.mask, window, size, is_mask=True) for job, window in zip(jobs, windows, strict=True)]
    return Prepared(
        jobs,
        windows,
        as_tensor(patches),
        torch.from_numpy(np.stack(masks))[:, None].float(),
        _windows([job.reference for job in jobs], patches, windows, size),
        _windows([job.example for job in jobs], patches, windows, size),
    )


def generate(method: Method, prepared: Prepared) -> Generated:
    """`paint`, second part: the model's, on its device; the result is on the CPU."""
    generators = [job.generator for job in prepared.jobs]
    generated = method.generate(
        prepared.images, prepared.masks, generators, prepared.references, prepared.examples
    )
    parts = {name: part if part is None else part.cpu() for name, part in vars(generated).items()}
    return Generated(**parts)


def finish(prepared: Prepared, generated: Generated, recipe: Recipe) -> list[Painted]:
    """`paint`, last part: refined masks and pasting, on the CPU."""
    pixels = generated.images.movedim(1, -1).numpy()
    bases = None
    if recipe.synthesize.carry_detail and generated.reconstructed is not None:
        bases = generated.reconstructed.movedim(1, -1).numpy()
    starts = None if generated.origin is None else generated.origin.movedim(1, -1).numpy()
    refined = generated.refined[:, 0].numpy() > 0.5
    painted = []
    for i, (job, window) in enumerate(zip(prepared.jobs, prepared.windows, strict=True)):
        whole = np.zeros_like(job.mask)
        whole[window.slices] = _grown(refined[i], window)
        mask = ndimage.binary_fill_holes(whole) & job.mask  # pinholes are no part of a defect's shape
        fell_back = bool(generated.fell_back[i]) or not mask.any()
        if not mask.any():
            mask = job.mask
        if bases is None:
            patch = (pixels[i] * 255).round().astype(np.uint8)
        else:
            shown = job.reference if job.example is None else job.example
            origin = None if starts is None or shown is None else (shown[window.slices], starts[i])
            patch = carry_detail(to_rgb(job.image[window.slices]), pixels[i], bases[i], origin)
        image = paste(job.image, patch, window, feather(mask, recipe.synthesize.feather))
        painted.append(Painted(image, mask, window, fell_back, float(generated.background_error[i])))
    return painted


def _windows(
    images: Sequence[np.ndarray | None], patches: Sequence[np.ndarray], windows: Sequence[Window], size: int
) -> torch.Tensor | None:
    """The windows of further images (None: the patch itself) as a batch; None where all are None."""
    if all(image is None for image in images):
        return None
    return as_tensor(
        [
            patch if image is None else crop(image, window, size)
            for image, patch, window in zip(images, patches, windows, strict=True)
        ]
    )


def as_tensor(images: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (S, S, 3) images -> float32 (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255


def _grown(mask: np.ndarray, window: Window) -> np.ndarray:
    """A bool (S, S) mask at the window's size, with a smooth outline."""
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (window.width, window.height), Image.Resampling.BILINEAR
    )
    return np.asarray(soft) >= 128
