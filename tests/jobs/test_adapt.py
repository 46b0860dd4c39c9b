"""Category adaptation: once a category, shared by its fits, resumable."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from augment.backbones.load import load_backbone
from augment.data.layouts import read_category
from augment.errors import WorkspaceError
from augment.jobs.adapt import adapt
from augment.progress import no_progress
from augment.recipe import load_recipe
from augment.workspace import Workspace


@pytest.fixture
def recipe(small_backbone):
    settings = ["adapt.steps=4", "adapt.batch_size=2", "adapt.windows_per_image=2", "fit.checkpoint_every=2"]
    settings += [f"backbone.model={small_backbone}", "backbone.resolution=64", "window.minimum=32"]
    return load_recipe("tiny", settings)


def run(category, recipe, folder, progress=no_progress, **options):
    backbone = load_backbone(recipe.backbone, "cpu", "float32")
    before = backbone.unet.conv_in.weight.detach().clone()
    found = adapt(
        read_category(category, "parts"), recipe, Workspace(folder), backbone, progress=progress, **options
    )
    return found, backbone, not torch.equal(before, backbone.unet.conv_in.weight)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.unet.parameters(), other.unet.parameters(), strict=True))


def test_it_changes_the_unet_once_and_is_found_again(small_category, recipe, tmp_path):
    first, backbone, changed = run(small_category, recipe, tmp_path)
    assert changed and first.done and first.info()["steps"] == 4
    assert (first.folder / "loss.png").exists() and not (first.folder / "checkpoint.pt").exists()
    bars = []
    again, other, _ = run(
        small_category, recipe, tmp_path, lambda *a, **k: bars.append(k) or no_progress(*a, **k)
    )
    assert again.info() == first.info() and same(backbone, other) and not bars


def test_a_killed_one_ends_as_an_unbroken_one(small_category, recipe, tmp_path):
    def dying(*args, **kwargs):
        bar = no_progress(*args, **kwargs)
        steps = []

        def update(count):
            steps.append(count)
            if sum(steps) == 3:
                raise KeyboardInterrupt

        bar.update = update
        return bar

    _, whole, _ = run(small_category, recipe, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(small_category, recipe, tmp_path / "b", dying)
    _, resumed, _ = run(small_category, recipe, tmp_path / "b")
    assert same(whole, resumed)


def test_changed_images_or_settings_are_refused(small_category, recipe, tmp_path):
    run(small_category, recipe, tmp_path)
    image = next((small_category / "train" / "good").iterdir())
    Image.new("RGB", (72, 72)).save(image)
    with pytest.raises(WorkspaceError, match="has changed"):
        run(small_category, recipe, tmp_path)
    run(small_category, recipe, tmp_path, force=True)


def test_none_without_steps(small_category, recipe, tmp_path):
    from dataclasses import replace

    off = replace(recipe, adapt=replace(recipe.adapt, steps=0))
    assert run(small_category, off, tmp_path)[::2] == (None, False)
    assert not tmp_path.joinpath("adapted").exists()
