"""The bundled backbone's autoencoder: a fixed linear patch encoder and a small learned decoder."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class PatchCodec(ModelMixin, ConfigMixin):
    """Principal components of `patch` x `patch` pixel blocks, and a decoder that mends the blocks' seams.

    The encoder is strictly local: what lies in one block moves that block's latents alone, so a defect
    does not leak across the mask as it does through a convolutional autoencoder.

    Args:
        patch: side of a block, pixels.
        latent_channels: components kept of the 3 x patch x patch values.
        hidden: width of the decoder's residual network; 0 leaves the decoder linear.
    """

    @register_to_config
    def __init__(self, patch: int = 8, latent_channels: int = 16, hidden: int = 32):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3 * patch * patch))
        self.register_buffer("components", torch.zeros(latent_channels, 3 * patch * patch))
        self.register_buffer("scale", torch.ones(latent_channels))
        # How far a defect's latents stray from their surroundings, for an inpainting U-Net.
        self.register_buffer("defect_spread", torch.ones(latent_channels))
        if hidden:
            self.mend = nn.Sequential(
                nn.PixelUnshuffle(2),
                nn.Conv2d(12, hidden, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(hidden, hidden, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2),
                nn.SiLU(),
                nn.Conv2d(hidden, hidden, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(hidden, 12, 3, padding=1),
                nn.PixelShuffle(2),
            )
            nn.init.zeros_(self.mend[-2].weight)
            nn.init.zeros_(self.mend[-2].bias)
        else:
            self.mend = None

    @torch.no_grad()
    def fit_components(self, images: Tensor) -> None:
        """Compute the components from images.

        The latents get the square root of their natural scale (a channel of standard deviation s becomes
        sqrt(s)), then a common factor that makes their mean variance 1. Whitened, the finest component
        weighs as much as the mean colour and samples come out as blocky noise; at natural scale the fine
        ones drown in the diffusion's noise.

        Args:
            images: (B, 3, H, W) in [-1, 1], sides multiples of `patch`.
        """
        x = self._blocks(images).movedim(1, -1).flatten(0, 2).double()  # (blocks, values)
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        variances, vectors = torch.linalg.eigh(covariance)  # ascending
        k = self.config.latent_channels
        deviation = variances.flip(0)[:k].clamp(min=1e-12).sqrt()
        components = vectors.flip(1)[:, :k].T
        components = components * components.sum(1, keepdim=True).sign().where(
            components.sum(1, keepdim=True) != 0, 1.0
        )
        self.mean.copy_(mean)
        self.components.copy_(components)
        self.scale.copy_((deviation.mean() * deviation).rsqrt())

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> latents (B, C, H / patch, W / patch)."""
        centred = self._blocks(images) - self.mean[:, None, None]
        latents = torch.einsum("cv,bvhw->bchw", self.components, centred)
        return latents * self.scale[:, None, None]

    def decode_linear(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> (B, 3, H, W), without the learned part."""
        blocks = torch.einsum("cv,bchw->bvhw", self.components, latents / self.scale[:, None, None])
        return nn.functional.pixel_shuffle(blocks + self.mean[:, None, None], self.config.patch)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> (B, 3, H, W), nominally in [-1, 1]."""
        images = self.decode_linear(latents)
        return images if self.mend is None else images + self.mend(images)

    def _blocks(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3 patch^2, H / patch, W / patch)."""
        return nn.functional.pixel_unshuffle(images, self.config.patch)
