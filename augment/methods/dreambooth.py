"""The paper's naive baseline: tune on whole windows under the defect prompt, paint from noise.

Training is Eq. (2): Ruiz et al., "DreamBooth: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven
Generation", CVPR 2023, without its prior loss (the recipe's `prior_preservation` adds it). Painting is plain
DDIM sampling in which every step's background is the noised source: Avrahami, Fried, Lischinski, "Blended
Latent Diffusion", SIGGRAPH 2023. The model is never told which part of a window is the defect.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone
from augment.functional.ddim import ddim_step
from augment.functional.losses import naive_loss
from augment.functional.masks import (
    difference_evidence,
    latent_mask,
    or_target,
    random_crops,
    refine_mask,
)
from augment.functional.noising import add_noise, prediction_target, stratified_timesteps
from augment.methods.base import Generated, TrainingBatch, level_weights, parts
from augment.recipe import FitConfig, SynthesizeConfig


class DreamBooth:
    """The naive baseline for one defect type.

    Attributes:
        C: (2 L, d) the defect prompt, for the whole window.
        C_bg: (2 L, d) the background prompt, for the whole window.
    """

    trainable = True

    def __init__(
        self, backbone: Backbone, category: str, defect: str, fit: FitConfig, synthesize: SynthesizeConfig
    ) -> None:
        self.backbone, self.fit, self.synthesize = backbone, fit, synthesize
        texts = (fit.defect_prompt, fit.background_prompt)
        prompts = backbone.encode_prompts([text.format(category=category, defect=defect) for text in texts])
        self.C, self.C_bg = (torch.cat([prompt.embedding, prompt.embedding]) for prompt in prompts)

    def loss(self, batch: TrainingBatch, generator: torch.Generator) -> Tensor:
        """Eq. (2) on the defect windows, all of each window alike.

        With `prior_preservation` the normal windows join under the background prompt. An inpainting U-Net is
        told nothing of a hole: there is none.
        """
        return sum(self.losses(batch, generator))

    def losses(self, batch: TrainingBatch, generator: torch.Generator, rows: int = 0) -> Iterator[Tensor]:
        """Terms that add up to `loss`, each of at most `rows` latents in one forward (0: of all)."""
        backbone, count = self.backbone, batch.n_defect
        seen = slice(None if self.fit.prior_preservation else count)
        z_0, _ = random_crops(batch.z_0[seen], batch.m[seen], batch.side, generator)
        eps = torch.randn(z_0.shape, generator=generator).to(z_0)
        t = stratified_timesteps(len(backbone.alphas_cumprod), len(z_0), generator).to(z_0.device)
        a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
        z_t = add_noise(z_0, eps, a_t)  # Eq. (1)
        condition = torch.cat([self.C.expand(count, -1, -1), self.C_bg.expand(len(z_0) - count, -1, -1)])
        target = prediction_target(z_0, eps, a_t, backbone.prediction_type)
        weight = level_weights(a_t, self.fit, backbone)
        for part in parts(len(z_t), rows):
            prediction = backbone.predict(z_t[part], t[part], condition[part], _whole(z_t[part]))
            loss = naive_loss(target[part], prediction, None if weight is None else weight[part])
            yield loss * (len(prediction) / len(z_t))

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        masks: Tensor,
        generators: list[torch.Generator],
        references: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> Generated:
        """Denoise the window under the defect prompt, with the noised source written back outside the mask.

        It always starts from noise: `strength`, references and examples are not for it. The refinement
        `difference` is applied as the recipe says; the others compare two prompts in one pass, which this
        method does not, and keep the target mask.
        """
        backbone, config = self.backbone, self.synthesize
        masks = masks.to(backbone.device)
        z_0 = backbone.encode_images(images)
        m = latent_mask(masks, z_0.shape[-2:], self.fit.mask_dilation)
        schedule, region = backbone.schedule(config.num_inference_steps), _whole(z_0)
        a = schedule.a.to(z_0)

        def noise() -> Tensor:
            return torch.stack([torch.randn(z_0.shape[1:], generator=g) for g in generators]).to(z_0)

        def denoise(z: Tensor, level: int, condition: Tensor) -> Tensor:
            condition = condition.expand(len(z), -1, -1)
            return backbone.predict_noise(z, schedule.timesteps[level], a[level], condition, region)

        z = (1 - m) * add_noise(z_0, noise(), a[-1]) + m * config.temperature * noise()
        for level in range(schedule.steps, 0, -1):
            eps = denoise(z, level, self.C)
            if config.guidance_scale != 1:
                background = denoise(z, level, self.C_bg)
                eps = background + config.guidance_scale * (eps - background)
            z = ddim_step(z, eps, a[level], a[level - 1])  # Eq. (3)
            source = add_noise(z_0, noise(), a[level - 1]) if level > 1 else z_0
            z = (1 - m) * source + m * z
        generated, reconstructed = backbone.decode_latents(z), backbone.decode_latents(z_0)
        refined = masks.float()
        if config.refinement == "difference":
            evidence = difference_evidence(generated, reconstructed)
            refined = refine_mask(masks, evidence, config.refinement_threshold)
        refined, fell_back = or_target(refined, masks, config.minimum_refined_share)
        return Generated(generated, refined, fell_back, torch.zeros(len(z)), reconstructed)


def _whole(z: Tensor) -> AttentionRegion:
    """The first prompt rules everywhere."""
    return AttentionRegion(torch.ones_like(z[:, :1]))
