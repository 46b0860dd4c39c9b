"""What a pretraining on scenes minimizes: Eq. 5 on defects, on holes in good scenes, and on backgrounds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone
from augment.functional.inpainting import Surroundings
from augment.functional.losses import region_error
from augment.functional.masks import random_crops
from augment.functional.noising import add_noise, mask_latents, prediction_target, stratified_timesteps
from augment.jobs.scene_pool import ScenePool
from augment.recipe import Recipe

_TWINS = 0.7  # share of the defects that are learnt beside their scene without the defect


def scene_loss(backbone: Backbone, pool: ScenePool, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The loss of one batch, of three kinds of rows.

    Defects under C_1 (Eq. 5, first term), holes in good scenes under C_bg (the same term with the background
    prompt: a good surface is a thing to paint, too), and masked backgrounds under C_2 (Eq. 5, second term).
    An inpainting U-Net sees the surroundings in the first two.
    """
    config, device = recipe.pretrain, backbone.device
    is_crop = bool(torch.rand((), generator=generator) < config.crop_share)
    grid = pool.mask.shape[-1]
    side = min(config.crop_cells, grid) if is_crop else grid
    size = config.batch_size * (grid // side) ** 2
    n_defect, n_masked = max(1, round(0.45 * size)), max(1, round(0.15 * size))
    n_seen = size - n_masked  # rows that see the hole's surroundings

    rows = torch.randint(len(pool.defect), (n_defect,), generator=generator)
    rows = torch.cat([rows, torch.randint(len(pool.clean), (size - n_defect,), generator=generator)]).numpy()
    z_0 = torch.from_numpy(np.concatenate([pool.defect[rows[:n_defect]], pool.clean[rows[n_defect:]]]))
    holes = pool.holes[torch.randint(len(pool.holes), (size - n_defect,), generator=generator)]
    m = torch.cat([torch.from_numpy(pool.mask[rows[:n_defect]]).float(), holes])
    # What a defect's hole may be compared with: mostly its scene without the defect, as in a synthesis.
    clean = torch.from_numpy(pool.clean[rows]).float()
    crops, m = random_crops(torch.cat([z_0.float(), clean], dim=1), m, side, generator)
    z_0, clean = crops.to(device).chunk(2, dim=1)
    m = m.to(device)

    eps = torch.randn(z_0.shape, generator=generator).to(device)
    t = stratified_timesteps(len(backbone.alphas_cumprod), size, generator).to(device)
    a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
    target = prediction_target(z_0, eps, a_t, backbone.prediction_type)
    z_t = add_noise(z_0, eps, a_t)  # Eq. (1), (6)
    z_t[n_seen:] = mask_latents(z_t[n_seen:], m[n_seen:])  # Eq. (7)
    known = None
    if backbone.is_inpainting:
        n_twin = round(_TWINS * n_defect)
        twin, alone = slice(0, n_twin), slice(n_twin, n_defect)
        parts = [
            backbone.surroundings(z_0[twin], m[twin], clean[twin], of_defect=True),
            backbone.surroundings(z_0[alone], m[alone], of_defect=True),
            backbone.surroundings(z_0[n_defect:n_seen], m[n_defect:n_seen], of_defect=False),
            Surroundings.unknown(z_t[n_seen:]),
        ]
        known = Surroundings.cat(parts)

    background, defect = pool.prompts[torch.from_numpy(pool.kinds[rows]).to(device)].unbind(1)
    first = torch.cat(
        [defect[:n_defect], background[n_defect:n_seen], pool.masked_prompt.expand(n_masked, -1)]
    )
    condition = torch.cat([backbone.text_encoder(ids)[0] for ids in (first, background)], dim=1)
    prediction = backbone.predict(z_t, t, condition, AttentionRegion(m), known)
    if known is not None:
        scale = known.output_scale(a_t).sqrt()
        target, prediction = target / scale, prediction / scale

    region = torch.cat([m[:n_seen], 1 - m[n_seen:]])
    return region_error(target, prediction, region, "balanced")


@torch.no_grad()
def defect_spread(backbone: Backbone, pool: ScenePool, count: int = 1000) -> Tensor:
    """(C,) how far the pool's defects stray from the scene without them, root mean square."""
    z = torch.from_numpy(pool.defect[:count]).float().to(backbone.device)
    m = torch.from_numpy(pool.mask[:count]).float().to(backbone.device)
    clean = torch.from_numpy(pool.clean[: len(z)]).float().to(backbone.device)
    gap = m * (z - clean)
    return (gap.square().sum(dim=(0, 2, 3)) / m.sum().clamp(min=1)).sqrt()
