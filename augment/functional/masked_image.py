"""What a Stable Diffusion inpainting U-Net is told of an image beside its noised latents.

Its nine channels are the noised latents, the hole, and the latents of the image with its hole grey. Told
these, it predicts what any U-Net of its kind predicts, knowing more. What that means for the paper:

- Eq. (5), first term, and Eq. (9)'s pass under C_1: the defect is denoised *with the background in sight*.
  The U-Net may as well be told the background itself: it is given the hole m and the image around it. The
  hole is grey over whole latent cells before the image is encoded, so nothing of the defect gets through.
- Eq. (5), second term, Eq. (8), and the pass under C_2: here the background must not be told. Knowing z_0,
  ``eps = (z_t - sqrt(a_t) z_0) / sqrt(1 - a_t)`` needs no learning, so the term would teach nothing; and
  inverting a z_0 the U-Net is told, it would say that there is no noise at any level: Eq. (8) would end in
  ``sqrt(a_T) z_0``, not in the noise that Eq. (9) starts from. These passes are told `unknown`: all is hole.
  An inpainting model has seen that case in a quarter of its training, and is a text-to-image model in it.

The same rule holds for the bundled U-Net, which is told a guess of the hole (`functional.inpainting`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class MaskedImage:
    """The hole and the image around it.

    Attributes:
        m: (B, 1, h, w) in {0, 1}, the hole.
        z: (B, C, h, w) latents of the image with its hole grey.
    """

    m: Tensor
    z: Tensor

    @classmethod
    def unknown(cls, grey: Tensor, count: int) -> MaskedImage:
        """No image: a hole everywhere; `grey` is (1, C, h, w), the latents of a grey image."""
        z = grey.expand(count, -1, -1, -1)
        return cls(torch.ones_like(z[:, :1]), z)

    def __getitem__(self, rows: slice) -> MaskedImage:
        return MaskedImage(self.m[rows], self.z[rows])

    @staticmethod
    def cat(parts: list[MaskedImage]) -> MaskedImage:
        """Several batches as one."""
        return MaskedImage(torch.cat([part.m for part in parts]), torch.cat([part.z for part in parts]))

    def network_input(self, z_t: Tensor) -> Tensor:
        """(B, 2 C + 1, h, w): the noised latents, the hole, the image around it."""
        return torch.cat([z_t, self.m, self.z], dim=1)


def grey_holes(images: Tensor, m: Tensor) -> Tensor:
    """Images with all pixels of the masked cells middle grey.

    Args:
        images: (B, 3, H, W) in [0, 1].
        m: (B, 1, h, w) in {0, 1}; H and W are multiples of h and w.
    """
    hole = F.interpolate(m.to(images), size=images.shape[-2:])
    return images * (1 - hole) + 0.5 * hole
