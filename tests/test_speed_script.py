"""benchmarks/speed.py end to end on very small shapes, and what it relies on: batches change nothing."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from augment.methods.disentangled_inversion import DisentangledInversion
from augment.recipe import FitConfig, SynthesizeConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    """The scripts `random_diffusion` and `speed`, imported as they import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield import_module("random_diffusion"), import_module("speed")
    for name in ("random_diffusion", "speed"):
        sys.modules.pop(name)


@pytest.fixture(scope="module", params=["1.5", "2.1"])
def backbone(request, scripts):
    """Stable Diffusion's layers, a tenth of its channels, random weights."""
    return scripts[0].build(request.param, torch.device("cpu"), narrow=10)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"background": "predict", "refinement": "attention"},
        {"solver": "dpm++2m", "samples_per_source": 2},
    ],
    ids=["replay", "literal", "second order, shared inversions"],
)
def test_an_image_does_not_depend_on_the_size_of_its_batch(backbone, changes):
    """In float32 on a CPU within a quarter of a grey level (found: 1e-4 of the range, a fortieth of a level).

    Kernels add in another order for another size, and random weights make the most of it.
    """
    config = replace(
        SynthesizeConfig(num_inference_steps=3, strength=(1.0, 1.0), inversion_calls=None), **changes
    )
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))[[0, 0, 1, 1]]
    masks = torch.zeros(4, 1, 64, 64)
    masks[:2, :, 8:40, 16:32] = masks[2:, :, 24:56, 24:56] = 1
    made = {}
    for size in (1, 2, 4):
        sized = replace(config, batch_size=size)
        method = DisentangledInversion(backbone, "bottle", "crack", FitConfig(), sized)
        parts = [
            method.generate(
                images[start : start + size],
                masks[start : start + size],
                [torch.Generator().manual_seed(i) for i in range(start, start + size)],
            )
            for start in range(0, 4, size)
        ]
        made[size] = torch.cat([part.images for part in parts])
    assert not torch.equal(made[1][0], made[1][1])  # one source, two noises
    for size in (2, 4):
        assert torch.allclose(made[size], made[1], atol=1e-3)


def test_the_script_runs_and_says_what_it_measured(scripts, tmp_path):
    table = tmp_path / "speed.csv"
    arguments = "--device cpu --model 1.5 --narrow 10 --resolution 64 --steps 5 --batch 2 -n 2 --iterations 1"
    rows = scripts[1].main([*arguments.split(), "--csv", str(table)])
    by_name = {row.what: row for row in rows}
    calls = {
        "literal, float32": 15,
        "+ replay (background)": 10,
        "+ batch of 2": 10,
        "+ half the inversion's calls (inversion_calls)": 8,  # strides of 2: levels 0, 2 and 4
        "+ 2 images a source (samples_per_source)": 7.5,
        "+ dpm++2m, 2 steps (solver)": 3,
    }
    assert {name: by_name[name].unet_calls for name in calls} == calls
    assert all(row.images_per_s > 0 for row in rows[:-1]) and rows[-1].what.startswith("fit")
    assert any(row.what.startswith("diffusers") for row in rows)
    with table.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(rows) and all(line["size"].startswith("reduced") for line in read)
