"""What saves memory changes no result by more than rounding."""

from __future__ import annotations

import pytest
import torch

from augment.backbones.attention_processor import AttentionRecorder, AttentionRegion
from augment.backbones.load import load_backbone
from augment.backbones.memory import card_bytes, explained_out_of_memory, settle_memory
from augment.errors import BackboneError
from augment.recipe import BackboneConfig, MemoryConfig, load_recipe

PLAIN = MemoryConfig("max", False, 0, 0, False, False, False, False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_stable_diffusion):
    return write_stable_diffusion(tmp_path_factory.mktemp("sd"))


def load(folder, dtype="float32", **memory):
    settings = MemoryConfig(**(vars(PLAIN) | memory))
    return load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", dtype, memory=settings)


@pytest.fixture
def call():
    generator = torch.Generator().manual_seed(0)
    m = torch.zeros(5, 1, 32, 32)
    m[:, :, 5:20, 8:16] = 1
    z, condition = (
        torch.randn(5, 4, 32, 32, generator=generator),
        torch.randn(5, 154, 32, generator=generator),
    )
    return z, torch.tensor([1, 100, 400, 700, 990]), condition, m


@torch.no_grad()
def test_weights_held_in_half_are_what_autocast_makes_of_them(folder, call):
    *args, m = call
    whole, half = load(folder, "bfloat16"), load(folder, "bfloat16", half_weights=True)
    assert half.unet.conv_in.weight.dtype == torch.bfloat16
    assert half.unet.conv_norm_out.weight.dtype == torch.float32
    sizes = [sum(p.nbytes for p in b.unet.parameters()) for b in (whole, half)]
    assert sizes[1] < 0.52 * sizes[0]
    assert torch.equal(*(b.predict(*args, AttentionRegion(m)) for b in (whole, half)))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    z = whole.encode_images(images)
    assert torch.equal(half.encode_images(images), z)
    assert torch.equal(half.decode_latents(z), whole.decode_latents(z))


@torch.no_grad()
def test_a_few_rows_at_a_time_are_the_whole_batch(folder, call):
    *args, m = call
    outputs, records = [], []
    for rows in (0, 2, 7):
        backbone = load(folder, painting_rows=rows)
        recorder = AttentionRecorder(torch.ones(5, 154, dtype=torch.bool))
        outputs.append(backbone.predict(*args, AttentionRegion(m, torch.arange(5) > 2, recorder)))
        records.append(recorder.total)
        assert records[-1] is None or records[-1].shape == (5, 1, 32, 32)
    assert all(torch.allclose(output, outputs[0], atol=1e-5) for output in outputs)
    assert all(r is None for r in records) or all(torch.allclose(r, records[0], atol=1e-5) for r in records)


def test_gradients_are_the_same_with_checkpoints(folder, call):
    *args, m = call
    found = []
    for is_checkpointed in (False, True):
        backbone = load(folder)
        if is_checkpointed:
            backbone.unet.enable_gradient_checkpointing()
        backbone.predict(*args, AttentionRegion(m)).square().mean().backward()
        found.append([p.grad for p in backbone.unet.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_parts_that_wait_come_for_their_calls(folder):
    backbone, images = load(folder), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    z, prompt = backbone.encode_images(images), backbone.encode_prompts(["a bottle"])[0]
    backbone.park("text_encoder", "autoencoder")
    moves = []
    for part in (backbone.text_encoder, backbone.autoencoder):
        whole = part.to
        part.to = lambda device, whole=whole: moves.append(str(device)) or whole(device)
    assert torch.equal(backbone.encode_images(images), z)
    assert torch.equal(backbone.encode_prompts(["a bottle"])[0].embedding, prompt.embedding)
    assert len(moves) == 4
    backbone.fetch()
    assert not backbone.waiting and len(moves) == 6


def test_the_autoencoder_takes_one_image_at_a_time(folder):
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, sliced = load(folder), load(folder, vae_slicing=True)
    assert sliced.autoencoder.use_slicing and not sliced.autoencoder.use_tiling
    assert torch.allclose(sliced.encode_images(images), plain.encode_images(images), atol=1e-5)
    assert load(folder, vae_tiling=True).autoencoder.use_tiling


def test_without_a_card_nothing_is_saved():
    assert card_bytes("cpu") is None
    found = settle_memory(load_recipe("tiny"), "cpu")
    assert found.memory == PLAIN and (found.fit.tuning, found.fit.optimizer) == ("full", "adamw")
    assert settle_memory(load_recipe("fast", ["memory.mode=8gb"]), "cpu").fit.tuning == "lora"


def test_a_full_card_is_one_line():
    with pytest.raises(BackboneError, match="--memory 8gb") as error, explained_out_of_memory("max"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried")
    assert "\n" not in str(error.value)
