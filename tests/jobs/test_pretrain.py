"""Pretraining, at the smallest size that is still all of it."""

from __future__ import annotations

import json

import pytest
import torch

from augment.backbones.load import load_backbone
from augment.jobs.pretrain import pretrain
from augment.progress import no_progress
from augment.recipe import BackboneConfig, load_recipe


@pytest.fixture(scope="module")
def recipe():
    settings = {
        "steps": 4,
        "batch_size": 4,
        "pool": 12,
        "codec_images": 8,
        "codec_steps": 3,
        "checkpoint_every": 2,
        "latent_channels": 4,
        "block_channels": [16, 32],
        "text_width": 32,
    }
    overrides = [f"pretrain.{key}={value}" for key, value in settings.items()]
    return load_recipe(
        "pretrain-tiny", [*overrides, "backbone.resolution=64", "synthesize.num_inference_steps=2"]
    )


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    return pretrain(recipe, tmp_path_factory.mktemp("whole"), device="cpu", dtype="float32")


def weights(folder):
    backbone = load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", "float32")
    return [*backbone.unet.parameters(), *backbone.text_encoder.parameters(), backbone.autoencoder.components]


def test_it_leaves_a_backbone_a_record_and_a_sheet(whole):
    assert whole.done and whole.steps == 4
    assert weights(whole.folder)
    assert json.loads((whole.folder / "pretrain.json").read_text())["steps"] == 4
    assert whole.sheet.stat().st_size > 10_000


def test_an_interrupted_pretraining_ends_with_the_same_weights(whole, recipe, tmp_path):
    def interrupting(*args, desc="", **kwargs):
        bar = no_progress(*args, desc=desc, **kwargs)
        if desc == "pretrain":
            update, seen = bar.update, []

            def counted(count):
                update(count)
                seen.append(count)
                if sum(seen) == 3:
                    raise KeyboardInterrupt

            bar.update = counted
        return bar

    options = {"device": "cpu", "dtype": "float32"}
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path, progress=interrupting, **options)
    assert not (tmp_path / "unet").exists()
    result = pretrain(recipe, tmp_path, **options)
    assert result.done
    for a, b in zip(weights(whole.folder), weights(tmp_path), strict=True):
        assert torch.equal(a, b)
