"""What a generator must offer, and the records it works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from augment.backbones.backbone import Backbone
from augment.functional.losses import min_snr_weight
from augment.recipe import FitConfig, SynthesizeConfig


@dataclass(frozen=True)
class TrainingBatch:
    """Latent windows for one step: the defects first, the normal ones after them.

    Attributes:
        z_0: (B, C, h, w) clean latents.
        m: (B, 1, h, w) in {0, 1}: real defect masks, then random ones.
        n_defect: number of leading windows that show the defect.
        reference: (B, C, h, w) latents of good surface like that around each mask; None: not known. For a
            Stable Diffusion inpainting U-Net: as `Backbone.masked_images` gives them.
        side: latent cells; a larger window is cut to a random square of this side that shows its mask.
    """

    z_0: Tensor
    m: Tensor
    n_defect: int
    reference: Tensor | None = None
    side: int = 1 << 30


@dataclass(frozen=True)
class Generated:
    """Images with a defect painted in.

    Attributes:
        images: (B, 3, R, R) float32 in [0, 1], the whole window as decoded.
        refined: (B, 1, R, R) float32 in {0, 1}, the refined masks, nowhere outside the targets.
        fell_back: (B,) bool, refinement left nearly nothing and the target mask was kept.
        background_error: (B,) root mean square gap between generated and source latents outside the mask.
        reconstructed: (B, 3, R, R) float32 in [0, 1], the source images through the codec alone; None where
            the method has no codec.
        origin: (B, 3, R, R) float32 in [0, 1], through the codec alone, the examples or references that the
            holes start from; None: they start from the source images.
        drawn: the refined masks are shapes that the method drew, not found: their bays are meant.
    """

    images: Tensor
    refined: Tensor
    fell_back: Tensor
    background_error: Tensor
    reconstructed: Tensor | None = None
    origin: Tensor | None = None
    drawn: bool = False


class Method(Protocol):
    """A defect generator: one file in `augment/methods/`, one name in the registry.

    Attributes:
        trainable: whether a fit teaches it anything.
    """

    trainable: bool

    def __init__(
        self, backbone: Backbone, category: str, defect: str, fit: FitConfig, synthesize: SynthesizeConfig
    ) -> None:
        """Prepare for one defect type, given in words ("magnetic tile", "crack")."""

    def loss(self, batch: TrainingBatch, generator: torch.Generator) -> Tensor:
        """The scalar training loss of one batch; all randomness from `generator`.

        A method may also offer `losses(batch, generator, rows)`, which yields terms that add up to `loss`,
        none of which holds more than `rows` latents in one forward: a fit in little memory takes their
        gradients one by one.
        """

    def generate(
        self,
        images: Tensor,
        masks: Tensor,
        generators: list[torch.Generator],
        references: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> Generated:
        """Paint the defect into normal images.

        Args:
            images: (B, 3, R, R) float32 in [0, 1].
            masks: (B, 1, R, R) in {0, 1}, the target masks.
            generators: one a image, so that an image does not depend on its batch.
            references: (B, 3, R, R) float32 in [0, 1], what good surface might look like inside the masks;
                None: what `images` show there.
            examples: (B, 3, R, R) float32 in [0, 1], windows in which the masks show a real defect, to start
                from; None: start from noise.
        """


class Untrained:
    """The start of a method that learns nothing: the defect's name and images do not count."""

    trainable = False

    def __init__(
        self, backbone: Backbone, category: str, defect: str, fit: FitConfig, synthesize: SynthesizeConfig
    ) -> None:
        self.backbone, self.synthesize = backbone, synthesize

    def loss(self, batch: TrainingBatch, generator: torch.Generator) -> Tensor:
        """0, with a gradient of 0 for the backbone's weights."""
        return 0 * sum(parameter.sum() for parameter in self.backbone.unet.parameters())


def parts(size: int, rows: int) -> Iterator[slice]:
    """A batch of `size` rows in slices of at most `rows`; 0: in one."""
    step = rows or max(1, size)
    for start in range(0, size, step):
        yield slice(start, min(size, start + step))


def level_weights(a_t: Tensor, fit: FitConfig, backbone: Backbone) -> Tensor | None:
    """(B,) how much each row's noise level counts in a loss; None: all alike."""
    if fit.min_snr_gamma is None:
        return None
    return min_snr_weight(a_t.flatten(), fit.min_snr_gamma, backbone.prediction_type)
