"""From an image and a target mask to an image with a defect: cut the window, generate, refine, paste.

All work is done on windows (`Piece`), so its memory and time do not grow with the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from augment.data.images import to_rgb
from augment.data.masks import closed, feather
from augment.data.trimming import trimmed
from augment.data.windows import Window, carry_detail, crop, paste, window_around
from augment.methods.base import Generated, Method
from augment.recipe import Recipe, WindowConfig

# A mask drawn by hand ends where the defect does: on a hole of 12 pixels a ramp of 2 would leave 10 of them.
FEATHER_SHARE = 0.05  # of the defect's half-width: the widest blend at its edge


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

    def cut(self, config: WindowConfig) -> Piece:
        """The window around the mask, with all that lies in it."""
        window = window_around(self.mask, config)
        image, mask, reference, example = (
            None if whole is None else whole[window.slices].copy()
            for whole in (self.image, self.mask, self.reference, self.example)
        )
        return Piece(window, self.mask.shape, image, mask, self.generator, reference, example)


@dataclass(frozen=True)
class Piece:
    """The window of an image in which one defect is painted.

    Attributes:
        window: where it lies in the image.
        shape: (H, W) of the image.
        image: uint8 (h, w) or (h, w, 3), the window's pixels.
        mask: bool (h, w), the target mask, which the window holds all of.
        generator, reference, example: as in `PaintJob`, of the window's size.
        part: bool (h, w), where the part is; None: all over.
        overhang: the share of the refined mask that may lie off the part, 0 to 1.
    """

    window: Window
    shape: tuple[int, int]
    image: np.ndarray
    mask: np.ndarray
    generator: torch.Generator
    reference: np.ndarray | None = None
    example: np.ndarray | None = None
    part: np.ndarray | None = None
    overhang: float = 1.0


@dataclass(frozen=True)
class PaintedPiece:
    """One painted window.

    Attributes:
        window, shape: as in `Piece`.
        image: uint8 of the piece's shape; outside `mask` it is the source bit for bit.
        mask: bool (h, w), the refined mask, inside the target mask, never empty.
        fell_back: refinement left nearly nothing, and the target mask was kept.
        background_error: root mean square gap of the latents outside the mask, before the composite.
    """

    window: Window
    shape: tuple[int, int]
    image: np.ndarray
    mask: np.ndarray
    fell_back: bool
    background_error: float


@dataclass(frozen=True)
class Painted:
    """One painted image.

    Attributes:
        image: uint8 of the source's shape; outside `mask` it is the source bit for bit.
        mask: bool (H, W), the refined mask, inside the target mask, never empty.
        window: where the model worked; of several defects, what holds all their windows.
        fell_back: refinement left nearly nothing, and the target mask was kept; of several, for any.
        background_error: root mean square gap of the latents outside the mask, before the composite; of
            several defects, the largest.
        pieces: the windows it is made of, one a defect.
    """

    image: np.ndarray
    mask: np.ndarray
    window: Window
    fell_back: bool
    background_error: float
    pieces: tuple[PaintedPiece, ...]

    @classmethod
    def of(cls, source: np.ndarray, pieces: Sequence[PaintedPiece]) -> Painted:
        """An image with windows pasted in that were painted one after the other.

        Args:
            source: uint8 (H, W) or (H, W, 3).
            pieces: at least one; where two overlap, the later one holds what the earlier one painted.
        """
        image, mask = source.copy(), np.zeros(source.shape[:2], dtype=bool)
        for piece in pieces:
            image[piece.window.slices] = piece.image
            mask[piece.window.slices] |= piece.mask
        return cls(
            image=image,
            mask=mask,
            window=Window.around([piece.window for piece in pieces]),
            fell_back=any(piece.fell_back for piece in pieces),
            background_error=max(piece.background_error for piece in pieces),
            pieces=tuple(pieces),
        )


@dataclass(frozen=True)
class Prepared:
    """A batch of windows, ready for the device: with the generators the arguments of `Method.generate`."""

    pieces: Sequence[Piece]
    images: torch.Tensor
    masks: torch.Tensor
    references: torch.Tensor | None
    examples: torch.Tensor | None


def paint(method: Method, jobs: Sequence[PaintJob], recipe: Recipe) -> list[Painted]:
    """Paint a batch of images, one defect each.

    Each job works in a window around its mask, resized to the backbone's resolution, and is pasted back at
    the source's own resolution; only pixels inside the refined mask change.
    """
    painted = paint_pieces(method, [job.cut(recipe.window) for job in jobs], recipe)
    return [Painted.of(job.image, [piece]) for job, piece in zip(jobs, painted, strict=True)]


def paint_pieces(method: Method, pieces: Sequence[Piece], recipe: Recipe) -> list[PaintedPiece]:
    """Paint a batch of windows (see `paint`)."""
    prepared = prepare(pieces, recipe)
    return finish(prepared, generate(method, prepared), recipe)


def prepare(pieces: Sequence[Piece], recipe: Recipe) -> Prepared:
    """`paint_pieces`, first part: at the model's resolution, on the CPU."""
    size = recipe.backbone.resolution
    patches = [_resized(to_rgb(piece.image), size) for piece in pieces]
    masks = [_resized(piece.mask, size, is_mask=True) for piece in pieces]
    return Prepared(
        pieces,
        as_tensor(patches),
        torch.from_numpy(np.stack(masks))[:, None].float(),
        _further([piece.reference for piece in pieces], patches, size),
        _further([piece.example for piece in pieces], patches, size),
    )


def generate(method: Method, prepared: Prepared) -> Generated:
    """`paint_pieces`, second part: the model's, on its device; the result is on the CPU."""
    generators = [piece.generator for piece in prepared.pieces]
    generated = method.generate(
        prepared.images, prepared.masks, generators, prepared.references, prepared.examples
    )
    parts = vars(generated).items()
    return Generated(**{name: part.cpu() if isinstance(part, torch.Tensor) else part for name, part in parts})


def finish(prepared: Prepared, generated: Generated, recipe: Recipe) -> list[PaintedPiece]:
    """`paint_pieces`, last part: refined masks and pasting, on the CPU."""
    return [_pasted(piece, generated, i, recipe) for i, piece in enumerate(prepared.pieces)]


def _pasted(piece: Piece, generated: Generated, i: int, recipe: Recipe) -> PaintedPiece:
    """Image number i of a batch, refined and pasted into its window."""
    config = recipe.synthesize
    whole = Window(0, 0, *piece.mask.shape)
    mask = _grown(generated.refined[i, 0].numpy() > 0.5, whole)
    reach = 0.0 if generated.drawn else config.closing * np.sqrt(piece.mask.sum())
    mask = closed(mask, reach) & piece.mask
    if piece.part is not None and mask.any():  # what is left may hang over by a larger share than its target
        mask = trimmed(mask, piece.part, piece.overhang)
    fell_back = bool(generated.fell_back[i]) or not mask.any()
    if not mask.any():
        mask = piece.mask
    pixels = _pixels(generated.images, i)
    if config.carry_detail and generated.reconstructed is not None:
        shown = piece.reference if piece.example is None else piece.example
        origin = None
        if generated.origin is not None and shown is not None:
            origin = (shown, _pixels(generated.origin, i))
        base = _pixels(generated.reconstructed, i)
        patch = carry_detail(to_rgb(piece.image), pixels, base, origin)
    else:
        patch = (pixels * 255).round().astype(np.uint8)
    image = paste(piece.image, patch, whole, _feathered(piece, mask, config.feather))
    return PaintedPiece(
        piece.window, piece.shape, image, mask, fell_back, float(generated.background_error[i])
    )


def _feathered(piece: Piece, mask: np.ndarray, width: int) -> np.ndarray:
    """The blend at the mask's edges, for which a window's border is none of the image's."""
    window = piece.window
    ends = (window.top, window.top + window.height), (window.left, window.left + window.width)
    pads = [
        (int(start > 0), int(stop < extent)) for (start, stop), extent in zip(ends, piece.shape, strict=True)
    ]
    alpha = feather(np.pad(mask, pads), width, FEATHER_SHARE)
    (top, _), (left, _) = pads
    return alpha[top : top + window.height, left : left + window.width]


def _further(
    images: Sequence[np.ndarray | None], patches: Sequence[np.ndarray], size: int
) -> torch.Tensor | None:
    """The windows of further images (None: the patch itself) as a batch; None where all are None."""
    if all(image is None for image in images):
        return None
    return as_tensor(
        [
            patch if image is None else _resized(image, size)
            for image, patch in zip(images, patches, strict=True)
        ]
    )


def as_tensor(images: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (S, S, 3) images -> float32 (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255


def _resized(window: np.ndarray, size: int, *, is_mask: bool = False) -> np.ndarray:
    """All of a window at the model's resolution."""
    return crop(window, Window(0, 0, *window.shape[:2]), size, is_mask=is_mask)


def _pixels(images: torch.Tensor, i: int) -> np.ndarray:
    """(B, 3, S, S) -> float32 (S, S, 3) of one image."""
    return images[i].movedim(0, -1).numpy()


def _grown(mask: np.ndarray, window: Window) -> np.ndarray:
    """A bool (S, S) mask at the window's size, with a smooth outline."""
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (window.width, window.height), Image.Resampling.BILINEAR
    )
    return np.asarray(soft) >= 128
