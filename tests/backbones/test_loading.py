"""Backbones: the bundled kind and Stable-Diffusion-shaped pipelines through the same code."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.build import build_tokenizer
from augment.backbones.load import load_backbone
from augment.devices import choose_device, choose_dtype
from augment.errors import BackboneError
from augment.functional.masks import latent_mask
from augment.methods.base import TrainingBatch
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import BackboneConfig, FitConfig, SynthesizeConfig
from augment.training import Trainer


@pytest.fixture(scope="module", params=[("epsilon", False), ("v_prediction", True)], ids=["1.x", "2.x"])
def stable_diffusion(request, tmp_path_factory, write_stable_diffusion):
    return write_stable_diffusion(tmp_path_factory.mktemp("sd"), *request.param), request.param[0]


def load(folder, **changes):
    config = BackboneConfig(model=str(folder), **{"resolution": 64, **changes})
    return load_backbone(config, "cpu", "float32")


def test_a_saved_stable_diffusion_pipeline_loads(stable_diffusion):
    folder, prediction_type = stable_diffusion
    backbone = load(folder)
    assert isinstance(backbone.scheduler, DDIMScheduler)
    assert backbone.prediction_type == prediction_type
    assert backbone.factor == 2 and backbone.latent_channels == 4
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    z = backbone.encode_images(images)
    assert z.shape == (1, 4, 32, 32)
    assert torch.equal(z, backbone.encode_images(images))
    assert backbone.decode_latents(z).shape == images.shape


def test_without_a_region_the_network_is_diffusers_own(stable_diffusion):
    folder, _ = stable_diffusion
    backbone = load(folder)
    reference = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    generator = torch.Generator().manual_seed(1)
    z, condition = torch.randn(2, 4, 32, 32, generator=generator), torch.randn(2, 77, 32, generator=generator)
    t = torch.tensor([10, 900])
    with torch.no_grad():
        expected = reference(z, t, condition).sample
        assert torch.allclose(backbone.unet(z, t, condition).sample, expected, atol=1e-5)


def test_the_noise_is_what_the_prediction_type_says(stable_diffusion):
    folder, prediction_type = stable_diffusion
    backbone = load(folder)
    generator = torch.Generator().manual_seed(1)
    z, condition = (
        torch.randn(1, 4, 32, 32, generator=generator),
        torch.randn(1, 154, 32, generator=generator),
    )
    region, a_t = AttentionRegion(torch.zeros(1, 1, 32, 32)), backbone.alphas_cumprod[500]
    with torch.no_grad():
        output = backbone.predict(z, torch.tensor([500]), condition, region)
        noise = backbone.predict_noise(z, 500, a_t, condition, region)
    expected = output if prediction_type == "epsilon" else a_t.sqrt() * output + (1 - a_t).sqrt() * z
    assert torch.allclose(noise, expected)


def test_outside_the_mask_the_first_prompt_reaches_nothing_directly(stable_diffusion):
    """With no mask at all, the first prompt does not matter, whatever it says."""
    backbone = load(stable_diffusion[0])
    generator = torch.Generator().manual_seed(1)
    z, condition = (
        torch.randn(1, 4, 32, 32, generator=generator),
        torch.randn(1, 154, 32, generator=generator),
    )
    other = condition.clone()
    other[:, :77] += 3
    t = torch.tensor([500])
    with torch.no_grad():
        nowhere = AttentionRegion(torch.zeros(1, 1, 32, 32))
        assert torch.equal(*(backbone.predict(z, t, c, nowhere) for c in (condition, other)))
        somewhere = AttentionRegion(torch.ones(1, 1, 32, 32))
        assert not torch.allclose(*(backbone.predict(z, t, c, somewhere) for c in (condition, other)))


def test_the_method_trains_and_paints_on_it(stable_diffusion):
    """The same code as for the bundled model, from the loss to the refined mask."""
    backbone = load(stable_diffusion[0])
    synthesize = SynthesizeConfig(num_inference_steps=3, refinement="attention")
    method = DisentangledInversion(backbone, "bottle", "crack", FitConfig(), synthesize)
    generator = torch.Generator().manual_seed(0)
    images, masks = torch.rand(2, 3, 64, 64, generator=generator), torch.zeros(2, 1, 64, 64)
    masks[:, :, 10:40, 20:30] = 1
    z_0, m = backbone.encode_images(images), latent_mask(masks, (32, 32))
    before = [p.detach().clone() for p in backbone.unet.parameters()]
    trainer = Trainer(backbone.unet, learning_rate=1e-4)
    trainer.step(lambda step: method.loss(TrainingBatch(z_0, m, 1), generator))
    after = backbone.unet.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    generated = method.generate(images, masks, [torch.Generator().manual_seed(i) for i in range(2)])
    assert (generated.background_error == 0).all()
    assert torch.equal(generated.refined * masks, generated.refined)


def test_the_bundled_kind_round_trips(small_backbone, tmp_path):
    from augment.backbones.build import save_backbone

    backbone = load(small_backbone)
    save_backbone(backbone, tmp_path / "copy")
    again = load(tmp_path / "copy")
    for a, b in zip(backbone.unet.parameters(), again.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    a, b = (x.encode_prompts(["a photo of a washer with sks scratch"])[0] for x in (backbone, again))
    assert torch.equal(a.embedding, b.embedding) and torch.equal(a.token_ids, b.token_ids)


def test_tokens_have_the_same_numbers_in_every_process():
    texts = ["a photo of a b", "c d", "with a scratch"]
    code = f"from augment.backbones.build import build_tokenizer; print(build_tokenizer({texts}).get_vocab())"
    here = build_tokenizer(texts).get_vocab()
    for seed in "123":  # other orders of sets
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert ast.literal_eval(result.stdout) == here


def test_words_of_the_vocabulary_are_tokens_and_others_are_spelt(small_backbone):
    backbone = load(small_backbone)
    known, unknown, empty = backbone.encode_prompts(["scratch", "größe", ""])
    assert int(known.content.sum()) == 1
    assert int(unknown.content.sum()) > 1
    assert not empty.content.any()


def test_a_fitted_unet_takes_the_place_of_the_models_own(small_backbone, tmp_path):
    backbone = load(small_backbone)
    with torch.no_grad():
        for parameter in backbone.unet.parameters():
            parameter.add_(1)
    backbone.save_unet(tmp_path)
    config = BackboneConfig(model=str(small_backbone), resolution=64)
    fitted = load_backbone(config, "cpu", "float32", unet_folder=tmp_path)
    parameters = zip(backbone.unet.parameters(), fitted.unet.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-2) for a, b in parameters)


def test_a_missing_model_is_one_clear_line(tmp_path):
    for model in (str(tmp_path / "nothing"), "nobody/no-such-model"):
        with pytest.raises(BackboneError, match="cannot be loaded") as error:
            load(model)
        assert "\n" not in str(error.value) and "--recipe tiny" in str(error.value)


def test_a_resolution_the_grid_cannot_hold_is_refused(small_backbone):
    with pytest.raises(BackboneError, match="multiple of 16"):
        load(small_backbone, resolution=72)


def test_devices_and_dtypes_that_do_not_exist_are_refused():
    with pytest.raises(BackboneError, match="--device cpu"):
        choose_device("cuda:99")
    with pytest.raises(BackboneError, match="auto, float32 or bfloat16"):
        choose_dtype("float16", torch.device("cpu"))
    assert choose_dtype("float32", torch.device("cpu")) == torch.float32
