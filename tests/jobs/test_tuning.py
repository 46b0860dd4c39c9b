"""Fits in little memory, and of a low-rank change only: trained, resumed, painted with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from augment.backbones.weights import weights_file
from augment.data.layouts import read_category
from augment.data.sample import Target
from augment.errors import RecipeError
from augment.jobs.fit import fit
from augment.jobs.synthesize import synthesize
from augment.progress import no_progress
from augment.recipe import Recipe, load_recipe
from augment.workspace import Workspace

LORA = ["fit.tuning=lora", "fit.lora.rank=2"]
SMALL = [
    "backbone.resolution=32", "fit.steps=2", "fit.crop_share=0.0", "fit.windows_per_image=1",
    "fit.normal_images=1", "synthesize.num_inference_steps=2",
]  # fmt: skip
SAVING = [
    "memory.gradient_checkpointing=true", "memory.training_rows=2", "memory.painting_rows=1",
    "memory.half_weights=true", "memory.offload=true", "memory.vae_slicing=true",
]  # fmt: skip


@pytest.fixture
def recipe(small_backbone):
    def make(*overrides, backbone=small_backbone):
        settings = [
            f"backbone.model={backbone}", "backbone.resolution=64", "window.minimum=32", "fit.steps=4",
            "fit.checkpoint_every=2", "fit.batch_size=2", "fit.normal_images=2", "fit.windows_per_image=2",
            "synthesize.num_inference_steps=3", "synthesize.batch_size=2",
        ]  # fmt: skip
        return load_recipe("tiny", [*settings, *overrides])

    return make


def targets(folder, *defects):
    category = read_category(folder, "parts")
    return [Target(category, defect) for defect in defects or ("scratch",)]


def run(folder, recipe, workspace, *defects, **options):
    options = {"device": "cpu", "dtype": "float32", **options}
    return fit(targets(folder, *defects), recipe, Workspace(workspace), **options)


def learnt(result):
    return safetensors.torch.load_file(weights_file(result.folder))


def same(one, other, atol=0.0):
    assert one.keys() == other.keys()
    return all(torch.allclose(one[name].float(), other[name].float(), rtol=0, atol=atol) for name in one)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_low_rank_fit_is_small_says_so_and_paints(small_category, recipe, tmp_path, kind):
    settings = recipe(f"fit.tuning={kind}", "fit.lora.rank=2")
    found = run(small_category, settings, tmp_path, "scratch", "spot")
    assert all(weights_file(r.folder).stat().st_size < 100_000 for r in found)
    assert all(any("lora_B" in name and value.any() for name, value in learnt(r).items()) for r in found)
    assert Recipe.read(found[0].folder / "recipe.yaml").fit.tuning == kind
    options = {"seed": 0, "fold": 0, "device": "cpu", "dtype": "float32"}
    (painted,) = synthesize(targets(small_category), 2, settings, Workspace(tmp_path), **options)
    assert painted.n == 2
    # The second of two defects starts from the model, not from the first one's change.
    (alone,) = run(small_category, settings, tmp_path / "alone", "spot")
    assert same(learnt(alone), learnt(found[1]))


def test_a_killed_low_rank_fit_ends_as_an_unbroken_one(small_category, recipe, tmp_path):
    def dying(*args, **kwargs):
        bar, steps = no_progress(*args, **kwargs), []

        def update(count):
            steps.append(count)
            if sum(steps) == 3:
                raise KeyboardInterrupt

        bar.update = update
        return bar

    settings = recipe(*LORA)
    (whole,) = run(small_category, settings, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(small_category, settings, tmp_path / "b", progress=dying)
    (resumed,) = run(small_category, settings, tmp_path / "b")
    assert resumed.steps == 4 and same(learnt(whole), learnt(resumed))


@pytest.mark.parametrize("tuning", [LORA, ["fit.tuning=full"]], ids=["lora", "full"])
def test_saving_memory_changes_neither_the_fit_nor_the_images(
    small_category, tmp_path, recipe, write_stable_diffusion, tuning
):
    """On Stable Diffusion's shape, in float32; what the mode was is in the record, not in the recipe."""
    model = write_stable_diffusion(tmp_path / "sd")
    plain = recipe(*tuning, *SMALL, backbone=model)
    saving = recipe(*tuning, *SMALL, *SAVING, backbone=model)
    (one,), (other,) = run(small_category, plain, tmp_path / "a"), run(small_category, saving, tmp_path / "b")
    assert same(learnt(one), learnt(other), atol=2e-4)
    record = json.loads((other.folder / "run.json").read_text())["memory"]
    assert (record["mode"], record["training_rows"], record["offload"]) == ("max", 2, True)
    assert Recipe.read(one.folder / "recipe.yaml").memory.training_rows is None
    # A fit begun in one way may go on in another.
    (again,) = run(small_category, saving, tmp_path / "a")
    assert again.skipped
    options = {"device": "cpu", "dtype": "float32"}
    sets = [
        synthesize(targets(small_category), 3, settings, Workspace(tmp_path / "a"), force=True, **options)[0]
        for settings in (plain, saving)
    ]
    entries = [json.loads(line) for line in (sets[1].folder / "manifest.jsonl").read_text().splitlines()]
    assert len(entries) == 3 and all(entry["background_error"] == 0 for entry in entries)
    assert json.loads((sets[1].folder / "run.json").read_text())["memory"]["painting_rows"] == 1


def test_adaptation_and_a_low_rank_change_do_not_go_together(small_category, recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"adapt\.steps=0"):
        run(small_category, replace(recipe(*LORA), adapt=recipe("adapt.steps=2").adapt), tmp_path)
