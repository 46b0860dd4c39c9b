"""Pretraining, at the smallest size that is still all of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.backbones.load import load_backbone
from augment.errors import BackboneError, DataError, WorkspaceError
from augment.jobs import scene_pool
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


def test_it_goes_on_from_a_base_and_learns_from_the_users_images(whole, recipe, small_category, tmp_path):
    images = small_category / "train" / "good"
    config = replace(recipe.pretrain, base=str(whole.folder), steps=1, images=3)
    settled = replace(recipe, pretrain=config)
    result = pretrain(settled, tmp_path, device="cpu", dtype="float32", images=[images])
    base, trained = (
        load_backbone(BackboneConfig(model=str(folder), resolution=64), "cpu", "float32")
        for folder in (whole.folder, result.folder)
    )
    assert torch.equal(base.autoencoder.components, trained.autoencoder.components)
    gap = max(
        (a - b).abs().max() for a, b in zip(base.unet.parameters(), trained.unet.parameters(), strict=True)
    )
    assert 0 < gap < 0.01  # one small step away from the base
    pool = np.load(tmp_path / "work" / "pool.npz")
    assert len(pool["clean"]) == len(pool["kinds"]) == len(pool["defect"]) + 3
    with pytest.raises(DataError, match="no images"):
        pretrain(settled, tmp_path / "other", device="cpu", images=[tmp_path])


def test_other_processes_render_the_same_windows(monkeypatch):
    alone = list(scene_pool.render_windows(0, scene_pool.POOL, 3, 32))
    monkeypatch.setattr(scene_pool, "FEW", 0)
    for a, b in zip(alone, scene_pool.render_windows(0, scene_pool.POOL, 3, 32), strict=True):
        assert (a.category, a.defect) == (b.category, b.defect)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_a_base_of_another_kind_is_refused(whole, recipe, tmp_path):
    other = replace(recipe, pretrain=replace(recipe.pretrain, base=str(whole.folder), patch=16))
    with pytest.raises(BackboneError, match=r"pretrain\.patch = 16"):
        pretrain(other, tmp_path, device="cpu")


def test_work_of_another_recipe_is_refused(whole, recipe):
    other = replace(recipe, pretrain=replace(recipe.pretrain, learning_rate=1.0))
    with pytest.raises(WorkspaceError, match="learning_rate"):
        pretrain(other, whole.folder, device="cpu")
