"""Forward noising, and what a network predicts of it (Eq. 1, 6, 7)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

PredictionType = Literal["epsilon", "v_prediction", "sample"]


def add_noise(z_0: Tensor, eps: Tensor, a_t: Tensor) -> Tensor:
    """Eq. (1), (6). ``z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps``.

    Args:
        z_0: (B, C, h, w) clean latents.
        eps: (B, C, h, w) Gaussian noise.
        a_t: cumulative product of alphas, in (0, 1], broadcastable to `z_0`.
    """
    return a_t.sqrt() * z_0 + (1 - a_t).sqrt() * eps


def mask_latents(z: Tensor, m: Tensor) -> Tensor:
    """Eq. (7), (12). ``z^m = (1 - m) z``: the latents with the defect taken out.

    Applied to `z_t` it equals noising the masked image with masked noise, because the mask is binary.
    What the hole held cannot reach the result: zero times any finite value is zero.

    Args:
        z: (B, C, h, w) latents, finite.
        m: (B, 1, h, w) mask, 1 = defect.
    """
    return (1 - m) * z


def prediction_target(z_0: Tensor, eps: Tensor, a_t: Tensor, prediction_type: PredictionType) -> Tensor:
    """What a network of this type should return for `z_t`: the noise, the velocity, or the clean latents.

    The velocity is ``v = sqrt(a_t) eps - sqrt(1 - a_t) z_0`` (Salimans and Ho 2022). Since
    ``eps - eps_theta = sqrt(a_t) (v - v_theta)``, the paper's losses keep their form for every type and
    change only in how much each t counts.
    """
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "v_prediction":
        return a_t.sqrt() * eps - (1 - a_t).sqrt() * z_0
    return z_0


def predicted_noise(output: Tensor, z_t: Tensor, a_t: Tensor, prediction_type: PredictionType) -> Tensor:
    """eps_theta from a network's output of any prediction type.

    Args:
        output: (B, C, h, w) what the network returned for `z_t`.
        z_t: (B, C, h, w) the noised latents it was given.
        a_t: cumulative product of alphas, in (0, 1).
        prediction_type: what the network was trained to return.
    """
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":
        return a_t.sqrt() * output + (1 - a_t).sqrt() * z_t
    return (z_t - a_t.sqrt() * output) / (1 - a_t).sqrt()


def stratified_timesteps(count: int, size: int, generator: torch.Generator) -> Tensor:
    """(size,) int64 timesteps in [0, count): one from each of `size` equal ranges, in random order.

    Each is uniform, as in Eq. (1)'s training; together they cover the noise levels evenly, which steadies
    the loss of small batches.
    """
    u = (torch.arange(size) + torch.rand(size, generator=generator)) / size
    return (u * count).long().clamp(max=count - 1)[torch.randperm(size, generator=generator)]
