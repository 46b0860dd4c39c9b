from __future__ import annotations

import sys

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from augment.data.layouts import read_category
from augment.detectors.unet import UNetDetector
from augment.errors import BackboneError, RecipeError
from augment.progress import no_progress
from augment.recipe import BenchmarkConfig, UNetConfig


def config(**changes) -> BenchmarkConfig:
    unet = {"image_size": 64, "epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "encoder": "resnet18"}
    return BenchmarkConfig(unet=UNetConfig(**unet | changes))


@pytest.fixture
def package():
    return pytest.importorskip("segmentation_models_pytorch")


@pytest.fixture
def samples(small_category):
    category = read_category(small_category, "parts")
    return [*category.train_good, *category.defects["spot"]]


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0"])  # the second drops layers at random
def test_a_known_encoder_trains_reproducibly_and_leaves_the_global_random_state_alone(
    package, samples, encoder
):
    def maps(seed):
        detector = UNetDetector(config(encoder=encoder), seed=seed, device="cpu")
        detector.fit(samples, no_progress)
        images = [np.asarray(Image.open(sample.image)) for sample in samples[:3]]
        return np.stack([found.scores for found in detector.predict(images)])

    state = torch.get_rng_state()
    first = maps(0)
    assert first.shape == (3, 64, 64) and 0 <= first.min() < first.max() <= 1
    np.testing.assert_array_equal(first, maps(0))
    assert not np.array_equal(first, maps(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_normalised_as_the_encoders_weights_want(package, monkeypatch):
    settings = {"mean": [123.0, 102.0, 51.0], "std": [51.0, 51.0, 51.0], "input_range": [0, 255]}
    unet = package.Unet
    monkeypatch.setattr(package, "Unet", lambda name, **rest: unet(name, **rest | {"encoder_weights": None}))
    monkeypatch.setattr(package.encoders, "get_preprocessing_params", lambda name, weights: settings)
    network = UNetDetector(config(encoder_weights="imagenet"), seed=0, device="cpu").network.eval()
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) / 255 for name in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(network(image), network.unet((image - mean) / std))


def test_weights_come_from_a_file_that_may_lack_levels_that_are_not_used(package, tmp_path):
    unet = package.Unet("resnet18", encoder_weights=None, encoder_depth=5, classes=2)
    state = {name: torch.ones_like(value) for name, value in unet.encoder.state_dict().items()}
    file = tmp_path / "encoder.pth"
    torch.save({name: value for name, value in state.items() if not name.startswith("layer4")}, file)
    shallow = config(encoder_weights=str(file), encoder_depth=4)
    network = UNetDetector(shallow, seed=0, device="cpu").network
    loaded = network.unet.encoder.state_dict()
    assert all((loaded[name] == 1).all() for name in loaded if name.startswith(("conv1", "layer3")))
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 2, 64, 64)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    with pytest.raises(BackboneError, match=r"depth 5: it lacks .* such as layer4"):
        UNetDetector(config(encoder_weights=str(file)), seed=0, device="cpu")
    save_file(unet.encoder.state_dict(), tmp_path / "encoder.safetensors")
    UNetDetector(config(encoder_weights=str(tmp_path / "encoder.safetensors")), seed=0, device="cpu")
    file.write_bytes(b"no weights")
    with pytest.raises(BackboneError, match="cannot be read"):
        UNetDetector(shallow, seed=0, device="cpu")
    with pytest.raises(BackboneError, match="cannot be read"):
        UNetDetector(config(encoder_weights=str(tmp_path / "none.pth")), seed=0, device="cpu")


def test_without_the_package_the_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(BackboneError, match="pip install segmentation-models-pytorch"):
        UNetDetector(config(), seed=0, device="cpu")


def test_errors_name_what_is_wrong(package, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for changes, kind, words in (
        ({"encoder": "resnet81"}, RecipeError, "No encoder is called 'resnet81'.*resnet18"),
        ({"encoder_weights": "imagenette"}, RecipeError, "imagenette.*Available options are"),
        ({"encoder_weights": "imagenet"}, BackboneError, "resnet18.*connect once"),
        ({"encoder_depth": 2}, RecipeError, "encoder_depth must be 3, 4 or 5, not 2"),
    ):
        with pytest.raises(kind, match=words) as caught:
            UNetDetector(config(**changes), seed=0, device="cpu")
        assert "\n" not in str(caught.value)
