"""The paper's method: disentangled loss, masked DDIM inversion, defect generation, mask refinement.

"Revisiting DDIM Inversion for Controlling Defect Generation by Disentangling the Background"
(arXiv 2411.16767), Algorithm 1. `loss` is its training line; `generate` the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from augment.backbones.attention_processor import AttentionRecorder, AttentionRegion, stack_regions
from augment.backbones.backbone import Backbone, Known
from augment.backbones.once import Once, each_row, row_keys
from augment.functional.ddim import (
    Schedule,
    even_in_log_snr,
    generate_defect,
    invert_background,
    noised_background,
)
from augment.functional.losses import region_error
from augment.functional.masks import (
    contrast_evidence,
    difference_evidence,
    latent_mask,
    or_target,
    random_crops,
    refine_mask,
)
from augment.functional.noising import add_noise, mask_latents, prediction_target, stratified_timesteps
from augment.methods.base import Generated, TrainingBatch, level_weights, parts
from augment.recipe import FitConfig, SynthesizeConfig


class DisentangledInversion:
    """Algorithm 1 for one defect type.

    Attributes:
        C_1: (2 L, d) the defect conditioning [C_def, C_bg].
        C_2: (2 L, d) the background conditioning [C_m, C_bg].
        C_3: (2 L, d) [C_bg, C_bg], what `contrast` and guidance compare C_1 with.
        paints_defect: the two prompts differ; where they do not, holes are refilled with good surface.
        sources: remembers inversions, where several images are painted from each; else None.
        content: (2 L,) bool, the words only one of C_def and C_bg has (all words, where they are equal).
    """

    trainable = True

    def __init__(
        self, backbone: Backbone, category: str, defect: str, fit: FitConfig, synthesize: SynthesizeConfig
    ) -> None:
        self.backbone, self.fit, self.synthesize = backbone, fit, synthesize
        self.paints_defect = fit.defect_prompt != fit.background_prompt
        texts = (fit.defect_prompt, fit.background_prompt, fit.masked_prompt)
        defect_prompt, background, masked = backbone.encode_prompts(
            [text.format(category=category, defect=defect) for text in texts]
        )
        self.C_1 = torch.cat([defect_prompt.embedding, background.embedding])
        self.C_2 = torch.cat([masked.embedding, background.embedding])
        self.C_3 = torch.cat([background.embedding, background.embedding])
        only_defect = defect_prompt.content & ~torch.isin(defect_prompt.token_ids, background.token_ids)
        self.content = torch.cat(
            [only_defect if only_defect.any() else defect_prompt.content, background.content]
        )
        shared = synthesize.samples_per_source
        self.sources = Once(max(1, synthesize.batch_size // shared), 2) if shared > 1 else None

    def loss(self, batch: TrainingBatch, generator: torch.Generator) -> Tensor:
        """Eq. (5) on one batch, all conditionings in one forward.

        Differs from the paper: normal images with random masks join the second term (their number is the
        recipe's `normal_batch_size`; 0 is the paper), that term may be estimated on fewer rows
        (`regulariser_batch_size`), and with `prior_preservation` normal images also train the first term
        under the background prompt, so that the model keeps knowing a good surface. An inpainting U-Net also
        sees the hole's surroundings in the first term; the bundled one's errors count in units of their
        contrast. `min_snr_gamma` clips how much low noise levels count.
        """
        return sum(self.losses(batch, generator))

    def losses(self, batch: TrainingBatch, generator: torch.Generator, rows: int = 0) -> Iterator[Tensor]:
        """Terms that add up to `loss`, each of at most `rows` latents in one forward (0: of all)."""
        backbone, fit, n = self.backbone, self.fit, batch.n_defect
        reference = batch.reference
        if reference is None:
            z_0, m = random_crops(batch.z_0, batch.m, batch.side, generator)
        else:
            both, m = random_crops(torch.cat([batch.z_0, reference], dim=1), batch.m, batch.side, generator)
            z_0, reference = both.chunk(2, dim=1)
        size = len(z_0)
        n_seen = size if fit.prior_preservation else n
        masked = slice(max(0, size - (fit.regulariser_batch_size or size)), size)
        n_masked = size - masked.start

        eps = torch.randn(z_0.shape, generator=generator).to(z_0)
        t = stratified_timesteps(len(backbone.alphas_cumprod), size, generator).to(z_0.device)
        a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
        z_t = add_noise(z_0, eps, a_t)  # Eq. (1), (6)
        z_t_m = mask_latents(z_t, m)  # Eq. (7)
        target = prediction_target(z_0, eps, a_t, backbone.prediction_type)
        known = self._known(z_0, m, reference, n, n_seen, n_masked) if backbone.is_inpainting else None
        first = (self.C_1.expand(n, -1, -1), self.C_3.expand(n_seen - n, -1, -1))
        C = torch.cat([*first, self.C_2.expand(n_masked, -1, -1)])
        z = torch.cat([z_t[:n_seen], z_t_m[masked]])
        order = torch.cat([torch.arange(n_seen), torch.arange(masked.start, size)]).to(z_0.device)
        t, m, target, a_t = t[order], m[order], target[order], a_t[order]
        where = torch.cat([m[:n_seen], 1 - m[n_seen:]])
        weight = level_weights(a_t, fit, backbone)
        weight = torch.ones_like(a_t.flatten()) if weight is None else weight
        for part in parts(len(z), rows):
            told = None if known is None else known[part]
            seen = max(0, min(n_seen, part.stop) - part.start)  # leading rows that are of the first term
            region = stack_regions(m[part], seen, fit.mask_background_keys)
            prediction, wanted = backbone.predict(z[part], t[part], C[part], region, told), target[part]
            if backbone.fills_holes:
                scale = told.output_scale(a_t[part]).sqrt()
                wanted, prediction = wanted / scale, prediction / scale
            loss = 0.0
            for side, count in ((slice(seen), n_seen), (slice(seen, None), n_masked)):
                if len(prediction[side]):
                    each = (wanted[side], prediction[side], where[part][side], fit.region_weighting)
                    error = region_error(*each, weight[part][side])
                    loss = loss + error * (len(prediction[side]) / count)
            yield loss

    def _known(
        self, z_0: Tensor, m: Tensor, reference: Tensor | None, n: int, n_seen: int, n_masked: int
    ) -> Known:
        """What each row of a batch knows: defects and refilled holes their surroundings, Eq. (7) nothing."""
        known = []
        for rows, of_defect in ((slice(n), True), (slice(n, n_seen), False)):
            if len(z_0[rows]):
                good = None if reference is None else reference[rows]
                known.append(self.backbone.surroundings(z_0[rows], m[rows], good, of_defect=of_defect))
        nothing = self.backbone.nothing_known(z_0[:n_masked])
        return type(nothing).cat([*known, nothing])

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        masks: Tensor,
        generators: list[torch.Generator],
        references: Tensor | None = None,
        examples: Tensor | None = None,
    ) -> Generated:
        """Algorithm 1, lines after training: invert the normal image, paint the defect, refine the mask.

        Differs from the paper for an inpainting U-Net: it paints the defect as a change of good surface,
        which is the normal image itself where no other reference is given. With `strength` below 1 it starts
        from a real defect (see `generate_defect`), for an inpainting U-Net also as what the hole most likely
        holds: it then varies and fits in a real defect rather than inventing one. How far it may stray is
        drawn for each image between the two values of `strength`; all take as many steps. `start: random` is
        the ablation without Eq. (8): see `noised_background`. Images of one source, mask and strength share
        its inversion where the recipe's `samples_per_source` lets them meet.
        """
        backbone, config = self.backbone, self.synthesize
        shown = config.carry_detail or config.refinement == "difference"  # what the codec alone makes of it
        starts_within = examples is not None and config.starts_from_examples
        shares = _drawn(config.strength, generators) if starts_within else [1.0] * len(generators)
        once = each_row
        if self.sources is not None:
            once = self.sources.rows(list(zip(row_keys(images, masks), shares, strict=True)))
        masks = masks.to(backbone.device)
        z_0 = once("z_0", backbone.encode_images, images)
        m = latent_mask(masks, z_0.shape[-2:], self.fit.mask_dilation)
        noise = torch.stack([torch.randn(z_0.shape[1:], generator=g) for g in generators]).to(z_0)
        eps = config.temperature * noise  # differs from the paper, where it is 1
        schedule, example = self._schedule(shares), None
        reference = z_0 if references is None else backbone.encode_images(references)
        origin = None if references is None else reference
        known = backbone.surroundings(z_0, m, reference, of_defect=self.paints_defect, images=images)
        if starts_within:
            example = origin = backbone.encode_images(examples)
            if backbone.fills_holes:  # the best guess is the example, moved to meet the surroundings
                known = backbone.surroundings(z_0, m, example, of_defect=False)
                example = known.fill
        passes = _Passes(self, known, m, schedule)

        if config.start == "random":
            trajectory = noised_background(z_0, m, noise, schedule)
        else:
            calls = config.inversion_calls or config.num_inference_steps
            stride = max(1, round(config.num_inference_steps / calls))

            def invert(z_0: Tensor, m: Tensor, rows: Tensor) -> list[Tensor]:
                levels = schedule.rows(rows)
                background = _Passes(self, None, m, levels).background
                return invert_background(background, z_0, m, levels, stride)  # Eq. (8)

            trajectory = once("trajectory", invert, z_0, m, torch.arange(len(z_0)))
        z = generate_defect(
            passes.defect,
            passes.background,
            trajectory,
            m,
            eps,
            schedule,
            config.background,
            example,
            config.solver,
        )  # Eq. (9)
        generated = backbone.decode_latents(z)
        reconstructed = once("reconstructed", backbone.decode_latents, z_0) if shown else None

        if config.refinement == "none":
            refined = masks.float()
        else:  # Eq. (13)
            if config.refinement == "difference":
                evidence = difference_evidence(generated, reconstructed)
            else:
                evidence = passes.evidence()
            refined = refine_mask(masks, evidence, config.refinement_threshold)
        refined, fell_back = or_target(refined, masks, config.minimum_refined_share)
        gap = mask_latents(z - z_0, m).square().sum(dim=(1, 2, 3))
        cells = (1 - m).sum(dim=(1, 2, 3)).clamp(min=1) * z_0.shape[1]
        carries = config.carry_detail and origin is not None
        started = backbone.decode_latents(origin) if carries else None
        return Generated(generated, refined, fell_back, (gap / cells).sqrt(), reconstructed, started)

    def _schedule(self, shares: list[float]) -> Schedule:
        """The levels of a batch, each image's the cleaner end, of its share, of the recipe's."""
        config, alphas = self.synthesize, self.backbone.alphas_cumprod
        whole = self.backbone.schedule(config.num_inference_steps)
        steps = whole.steps
        if min(shares) < 1:  # as many for all, so that they share their calls
            steps = max(1, round(sum(config.strength) / 2 * whole.steps))
        levels = {share: whole.up_to(share, steps, alphas) for share in set(shares)}
        if config.solver != "ddim":  # the inversion visits the same levels
            levels = {share: even_in_log_snr(each, alphas) for share, each in levels.items()}
        if len(levels) == 1:
            return levels[shares[0]]
        return Schedule.of_each([levels[share] for share in shares])


def _drawn(strength: tuple[float, float], generators: list[torch.Generator]) -> list[float]:
    """A strength for each image, from its own randomness where there is a choice."""
    low, high = strength
    if low == high:
        return [low] * len(generators)
    return [low + (high - low) * float(torch.rand((), generator=g, dtype=torch.float64)) for g in generators]


class _Passes:
    """The two denoisers of Eq. (8) and (9), and the evidence for Eq. (13) gathered on the way."""

    def __init__(
        self, method: DisentangledInversion, known: Known | None, m: Tensor, schedule: Schedule
    ) -> None:
        self.method, self.known, self.m, self.schedule = method, known, m, schedule
        self.a = schedule.a.to(m)
        self.plain = AttentionRegion(m)
        hide = (
            torch.ones(len(m), dtype=torch.bool, device=m.device) if method.fit.mask_background_keys else None
        )
        self.masked = AttentionRegion(m, hide_keys=hide)
        content = method.content.expand(len(m), -1)
        self.recorded = AttentionRegion(m, recorder=AttentionRecorder(content))
        # Four of the later half's levels are enough for the contrast.
        later = max(1, schedule.steps // 2)
        self.contrast_levels = {round(1 + i * (later - 1) / 3) for i in range(4)}
        self.contrasts: list[Tensor] = []

    def background(self, z: Tensor, level: int) -> Tensor:
        """eps_theta(z^m_t, t, C_2)."""
        return self._noise(z, level, self.method.C_2, self.masked, None)

    def defect(self, z: Tensor, level: int) -> Tensor:
        """eps_theta(z*_t, t, C_1), with guidance away from C_bg where the recipe asks for it."""
        config, late = self.method.synthesize, level <= max(1, self.schedule.steps // 2)
        record = config.refinement == "attention" and late
        eps = self._noise(z, level, self.method.C_1, self.recorded if record else self.plain, self.known)
        contrast = config.refinement == "contrast" and level in self.contrast_levels
        if contrast or config.guidance_scale != 1:
            background = self._noise(z, level, self.method.C_3, self.plain, self.known)
            if contrast:
                self.contrasts.append(contrast_evidence(eps, background, self.m))
            eps = background + config.guidance_scale * (eps - background)
        return eps

    def evidence(self) -> Tensor:
        """(B, 1, h, w) in [0, 1]: the mean attention share, or the mean contrast."""
        if self.method.synthesize.refinement == "attention":
            return self.recorded.recorder.mean()
        return torch.stack(self.contrasts).mean(dim=0)

    def _noise(
        self, z: Tensor, level: int, condition: Tensor, region: AttentionRegion, known: Known | None
    ) -> Tensor:
        timestep, a_t = self.schedule.timesteps[level], self.a[level]
        condition = condition.expand(len(z), -1, -1)
        return self.method.backbone.predict_noise(z, timestep, a_t, condition, region, known)
