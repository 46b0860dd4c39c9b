"""Algorithm 1 on a small random backbone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import load_backbone
from augment.functional.ddim import ddim_step, generate_defect, invert_background
from augment.functional.losses import region_error
from augment.functional.masks import latent_mask
from augment.functional.noising import add_noise, prediction_target, stratified_timesteps
from augment.methods.base import TrainingBatch
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import BackboneConfig, FitConfig, SynthesizeConfig

FIT = FitConfig()
SYNTHESIZE = SynthesizeConfig(num_inference_steps=4, refinement="none", temperature=1.0)


@pytest.fixture(scope="module")
def backbone(small_backbone):
    return load_backbone(BackboneConfig(model=str(small_backbone), resolution=64), "cpu", "float32")


def make(backbone, fit=FIT, **changes):
    return DisentangledInversion(backbone, "washer", "scratch", fit, replace(SYNTHESIZE, **changes))


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 64, 64, generator=generator)
    masks = torch.zeros(3, 1, 64, 64)
    masks[0, 0, 20:40, 10:30] = masks[1, 0, 5:15, 40:60] = masks[2, 0, 30:60, 30:60] = 1
    return images, masks


def generators(count=3, seed=7):
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def test_the_loss_equals_two_separate_forwards(backbone):
    """One batched forward against Eq. (5) written out, each pass on its own."""
    method = make(backbone, replace(FIT, regulariser_batch_size=None, region_weighting="paper"))
    source = torch.Generator().manual_seed(1)
    z_0 = torch.randn(2, 4, 8, 8, generator=source)
    m = (torch.rand(2, 1, 8, 8, generator=source) > 0.6).float()
    loss = method.loss(TrainingBatch(z_0, m, 2), torch.Generator().manual_seed(2))

    g = torch.Generator().manual_seed(2)
    eps, t = torch.randn(z_0.shape, generator=g), stratified_timesteps(1000, 2, g)
    a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
    z_t, region = add_noise(z_0, eps, a_t), AttentionRegion(m)
    target = prediction_target(z_0, eps, a_t, backbone.prediction_type)
    with torch.no_grad():
        known = backbone.surroundings(z_0, m, of_defect=True)
        scale = known.output_scale(a_t).sqrt()
        defect = backbone.predict(z_t, t, method.C_1.expand(2, -1, -1), region, known)
        background = backbone.predict((1 - m) * z_t, t, method.C_2.expand(2, -1, -1), region)
    expected = region_error(target / scale, defect / scale, m, "paper")  # the first term, of a known contrast
    expected += region_error(target, background, 1 - m, "paper")
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_normal_windows_teach_the_background_only(backbone):
    method = make(backbone)
    source = torch.Generator().manual_seed(1)
    z_0 = torch.randn(3, 4, 8, 8, generator=source)
    m = torch.zeros(3, 1, 8, 8)
    m[:, :, 2:5, 2:5] = 1
    a, b = (
        method.loss(TrainingBatch(z, m, 1), torch.Generator().manual_seed(2))
        for z in (z_0, z_0 + 5 * m * torch.tensor([0.0, 1, 1]).view(3, 1, 1, 1))
    )
    assert torch.equal(a, b)  # what a normal window holds in its random hole does not matter


def test_prior_preservation_teaches_what_a_normal_window_holds_in_its_hole(backbone):
    method = make(backbone, replace(FIT, prior_preservation=True))
    z_0 = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    m = torch.zeros(3, 1, 8, 8)
    m[:, :, 2:5, 2:5] = 1
    a, b = (
        method.loss(TrainingBatch(z, m, n), torch.Generator().manual_seed(2))
        for z, n in ((z_0, 0), (z_0 + 5 * m, 0))
    )
    assert torch.isfinite(a) and not torch.equal(a, b)


def test_the_regulariser_can_be_estimated_on_fewer_rows(backbone):
    source = torch.Generator().manual_seed(1)
    z_0, m = torch.randn(3, 4, 8, 8, generator=source), torch.zeros(3, 1, 8, 8)
    m[:, :, 2:5, 2:5] = 1
    calls = []
    spy = replace(backbone)
    spy.predict = lambda z, *rest: calls.append(len(z)) or backbone.predict(z, *rest)
    for rows in (None, 1):
        make(spy, replace(FIT, regulariser_batch_size=rows)).loss(
            TrainingBatch(z_0, m, 2), torch.Generator().manual_seed(2)
        )
    assert calls == [2 + 3, 2 + 1]


def test_a_step_of_crops_sees_squares_of_its_windows(backbone):
    z_0, m = torch.randn(2, 4, 16, 16), torch.zeros(2, 1, 16, 16)
    m[:, :, 12:, 12:] = 1
    shapes = []
    spy = replace(backbone)
    spy.predict = lambda z, *rest: shapes.append(tuple(z.shape)) or backbone.predict(z, *rest)
    make(spy).loss(TrainingBatch(z_0, m, 2, side=8), torch.Generator().manual_seed(2))
    assert shapes == [(2 + 1, 4, 8, 8)]


@pytest.mark.parametrize("hide_keys", [False, True])
def test_the_background_prediction_is_bit_identical_whatever_the_hole_held(backbone, hide_keys, scene):
    """Eq. (12): a property of the real network, not of an oracle."""
    images, masks = scene
    method = make(backbone, replace(FIT, mask_background_keys=hide_keys))
    z_0 = backbone.encode_images(images)
    m = latent_mask(masks, z_0.shape[-2:])
    region = AttentionRegion(m, hide_keys=torch.ones(3, dtype=torch.bool) if hide_keys else None)
    condition = method.C_2.expand(3, -1, -1)

    def background(z):
        return backbone.predict_noise((1 - m) * z, 500, backbone.alphas_cumprod[500], condition, region)

    with torch.no_grad():
        assert torch.equal(background(z_0), background(z_0 + 100 * m))
        assert not torch.equal(background(z_0), background(z_0 + (1 - m)))


def test_replay_lands_on_the_source_and_predict_has_the_inversions_gap(backbone, scene):
    images, masks = scene
    replay = make(backbone).generate(images, masks, generators())
    predict = make(backbone, background="predict").generate(images, masks, generators())
    assert (replay.background_error == 0).all()
    assert (predict.background_error > 0).all()
    assert replay.images.shape == (3, 3, 64, 64) and replay.images.min() >= 0 and replay.images.max() <= 1


def test_generation_equals_the_algorithm_without_shortcuts(backbone, scene):
    """The method against `invert_background` and `generate_defect` with plain closures."""
    images, masks = scene
    method = make(backbone, background="predict")
    z_0 = backbone.encode_images(images)
    m, schedule = latent_mask(masks, z_0.shape[-2:]), backbone.schedule(4)

    known = backbone.surroundings(z_0, m, z_0, of_defect=True)

    def denoiser(condition, known=None):
        def denoise(z, level):
            t, a_t = schedule.timesteps[level], schedule.a[level].float()
            return backbone.predict_noise(z, t, a_t, condition.expand(3, -1, -1), AttentionRegion(m), known)

        return denoise

    eps = torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators()])
    with torch.no_grad():
        trajectory = invert_background(denoiser(method.C_2), z_0, m, schedule)
        z = generate_defect(
            denoiser(method.C_1, known), denoiser(method.C_2), trajectory, m, eps, schedule, "predict"
        )
        expected = backbone.decode_latents(z)
    assert torch.allclose(method.generate(images, masks, generators()).images, expected, atol=1e-5)


def test_a_random_start_inverts_nothing_and_still_keeps_the_background(backbone, scene):
    """The ablation: without the inversion's calls, and with another hole."""
    images, masks = scene
    conditions = []
    spy = replace(backbone)
    spy.predict_noise = lambda z, t, a_t, condition, *rest: (
        conditions.append(condition[0]) or backbone.predict_noise(z, t, a_t, condition, *rest)
    )
    method = make(spy, start="random")
    random = method.generate(images, masks, generators())
    assert len(conditions) == 4 and all(torch.equal(condition, method.C_1) for condition in conditions)
    inverted = make(backbone).generate(images, masks, generators())
    assert (random.background_error == 0).all()
    inside = masks.expand_as(images) > 0
    assert (random.images - inverted.images)[inside].abs().mean() > 1e-3
    assert torch.equal(
        random.images, make(backbone, start="random").generate(images, masks, generators()).images
    )


def test_a_random_start_equals_the_algorithm_without_shortcuts(backbone, scene):
    images, masks = scene
    method = make(backbone, start="random", temperature=0.5)
    z_0 = backbone.encode_images(images)
    m, schedule = latent_mask(masks, z_0.shape[-2:]), backbone.schedule(4)
    known = backbone.surroundings(z_0, m, z_0, of_defect=True)
    noise = torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators()])
    a = schedule.a.float()
    with torch.no_grad():
        z = (1 - m) * add_noise(z_0, noise, a[4]) + m * 0.5 * noise
        for level in range(4, 0, -1):
            t, condition = schedule.timesteps[level], method.C_1.expand(3, -1, -1)
            eps = m * backbone.predict_noise(z, t, a[level], condition, AttentionRegion(m), known)
            source = add_noise(z_0, noise, a[level - 1]) if level > 1 else z_0
            z = (1 - m) * source + m * ddim_step(z, eps, a[level], a[level - 1])
        expected = backbone.decode_latents(z)
    assert torch.allclose(method.generate(images, masks, generators()).images, expected, atol=1e-5)


def test_the_same_seed_gives_the_same_image_and_another_another(backbone, scene):
    method = make(backbone)
    a, b, c = (method.generate(*scene, generators(seed=s)).images for s in (7, 7, 8))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_an_image_does_not_depend_on_its_batch(backbone, scene):
    images, masks = scene
    together = make(backbone).generate(images, masks, generators()).images
    alone = make(backbone).generate(images[1:2], masks[1:2], generators()[1:2]).images
    assert torch.allclose(together[1:2], alone, atol=1e-4)


@pytest.mark.parametrize("refinement", ["attention", "contrast", "difference", "none"])
@pytest.mark.parametrize("steps", [1, 5])
def test_refined_masks_lie_in_the_target_and_are_never_empty(backbone, scene, refinement, steps):
    images, masks = scene
    generated = make(backbone, refinement=refinement, num_inference_steps=steps).generate(
        images, masks, generators()
    )
    assert set(generated.refined.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(generated.refined * masks, generated.refined)
    assert (generated.refined.sum(dim=(1, 2, 3)) > 0).all()
    if refinement == "none":
        assert torch.equal(generated.refined, masks)


def test_a_refinement_that_leaves_nothing_falls_back_to_the_target(backbone, scene):
    images, masks = scene
    method = make(backbone, refinement="attention", refinement_threshold=1.1)
    generated = method.generate(images, masks, generators())
    assert generated.fell_back.all()
    assert torch.equal(generated.refined, masks)


def test_guidance_changes_the_hole_and_nothing_else(backbone, scene):
    images, masks = scene
    plain, guided = (
        make(backbone, guidance_scale=scale).generate(images, masks, generators()) for scale in (1.0, 4.0)
    )
    assert not torch.equal(plain.images, guided.images)
    assert (guided.background_error == 0).all()


def test_the_words_compared_by_eq_13_are_those_the_prompts_do_not_share(backbone):
    method = make(backbone)
    tokenizer, length = backbone.tokenizer, backbone.tokenizer.model_max_length
    ids = backbone.encode_prompts(["a photo of a washer with sks scratch"])[0].token_ids
    words = tokenizer.decode(ids[method.content[:length]])
    assert "scratch" in words and "washer" not in words


def test_a_painting_starts_from_its_example(backbone, scene):
    images, masks = scene
    examples = images.clone()
    examples[:, 0] = torch.where(masks[:, 0] > 0, 0.95, examples[:, 0])
    method = make(backbone, strength=(0.5, 0.5))
    plain = method.generate(images, masks, generators()).images
    painted = method.generate(images, masks, generators(), examples=examples).images
    from_noise = (
        make(backbone, strength=(1.0, 1.0)).generate(images, masks, generators(), examples=examples).images
    )
    assert torch.equal(from_noise, plain)  # at full strength, as in the paper, there is no example
    inside = masks.expand_as(images) > 0
    wanted = backbone.decode_latents(backbone.encode_images(examples))
    near, far = ((image - wanted)[inside].abs().mean() for image in (painted, plain))
    assert near < 0.5 * far


def test_each_image_strays_from_its_example_as_far_as_its_own_randomness_says(backbone, scene):
    """A range of strengths: results lie between those of its ends, and do not depend on the batch."""
    images, masks = scene
    examples = torch.where(masks > 0, 1 - images, images)

    def painted(strength, rows=slice(None)):
        method = make(backbone, strength=strength)
        given = (part[rows] for part in (images, masks))
        return method.generate(*given, generators()[rows], examples=examples[rows]).images

    ranged = painted((0.3, 0.9))
    for row in range(len(images)):
        alone = painted((0.3, 0.9), slice(row, row + 1))[0]
        assert torch.allclose(ranged[row], alone, atol=1e-4)
    assert torch.equal(ranged, painted((0.3, 0.9)))
    inside = masks.expand_as(images) > 0
    wanted = backbone.decode_latents(backbone.encode_images(examples))
    gaps = [(image - wanted)[inside].abs().mean() for image in (painted((0.3, 0.3)), ranged)]
    assert gaps[0] < gaps[1]


def test_a_reference_takes_the_place_of_what_the_hole_shows(backbone, scene):
    images, masks = scene
    other = torch.where(masks > 0, 1 - images, images)
    own, same, moved = (
        make(backbone).generate(images, masks, generators(), references).images
        for references in (None, images, other)
    )
    assert torch.equal(own, same) and not torch.equal(own, moved)


@pytest.mark.parametrize("background", ["replay", "predict"])
def test_images_of_one_source_and_mask_share_its_inversion(backbone, scene, background):
    """Fewer network calls; within rounding of what each image's own inversion gives."""
    images, masks = (part[[0, 0, 1, 1]] for part in scene)
    rows = []
    spy = replace(backbone)
    spy.predict_noise = lambda z, *rest: rows.append(len(z)) or backbone.predict_noise(z, *rest)
    settings = {"background": background, "batch_size": 4, "refinement": "difference"}
    own = make(spy, **settings).generate(images, masks, generators(4))
    own_rows = sum(rows)
    rows.clear()
    method = make(spy, **settings, samples_per_source=2)
    shared = method.generate(images, masks, generators(4))
    assert own_rows - sum(rows) == 4 * (4 - 2)  # steps x images less
    assert torch.allclose(shared.images, own.images, atol=1e-5)
    assert torch.allclose(shared.reconstructed, own.reconstructed, atol=1e-5)
    assert torch.equal(shared.refined, own.refined)
    assert not torch.equal(shared.images[0], shared.images[1])  # their noise differs
    rows.clear()
    again = method.generate(images[:2], masks[:2], generators(2))
    assert sum(rows) == 4 * (2 if background == "replay" else 4)  # what was inverted is remembered
    assert torch.allclose(again.images, own.images[:2], atol=1e-5)


def test_what_nobody_asks_for_is_not_decoded(backbone, scene):
    plain = make(backbone, carry_detail=True).generate(*scene, generators())
    spare = make(backbone, carry_detail=False).generate(*scene, generators())
    assert torch.equal(plain.images, spare.images) and torch.equal(plain.refined, spare.refined)
    assert plain.reconstructed is not None and spare.reconstructed is None


def test_the_second_order_solver_is_nearer_to_many_steps_than_ddim(backbone, scene):
    """With as few steps; the reference takes ten times as many."""
    many, few, better = (
        make(backbone, num_inference_steps=steps, solver=solver).generate(*scene, generators()).images
        for steps, solver in ((100, "ddim"), (10, "ddim"), (10, "dpm++2m"))
    )
    inside = scene[1].expand_as(many) > 0
    outside = ~inside
    assert (better - many)[inside].abs().mean() < 0.8 * (few - many)[inside].abs().mean()
    assert torch.allclose(better[outside], few[outside], atol=0.2)
