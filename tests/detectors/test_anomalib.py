from __future__ import annotations

import logging
import random
import signal
from dataclasses import replace

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.models import resnet18

from augment.data.layouts import read_category
from augment.detectors.anomalib import AnomalibDetector, TrainingImages
from augment.errors import BackboneError, DataError, RecipeError
from augment.progress import no_progress
from augment.recipe import AnomalibConfig, BenchmarkConfig
from augment.registry import DETECTORS

NAMES = [name for name in DETECTORS.entries() if name != "unet"]
SMALL = AnomalibConfig(
    image_size=64, max_epochs=1, batch_size=4, backbone="resnet18", coreset_sampling_ratio=0.2
)
RUN = ("patchcore", "padim", "dfm", "fre", "stfpm", "supersimplenet")  # quick, and each of another kind
TRANSFORMERS = {
    "anomaly_dino": "vit_small_patch14_dinov2",
    "dinomaly": "vit_small_patch14_dinov2",
    "inp_former": "vit_small_patch14_dinov2",
    "rad": "vit_small_patch16_dinov3",
    "super_add": "vit_small_patch16_dinov3",
    "foundad": "dinov2_vit_small_14",
    "general_ad": "vit_small_patch14_dinov2",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A ResNet-18's random weights without its last layer, which few models use."""
    generator = torch.Generator().manual_seed(0)
    state = resnet18().state_dict()
    for value in state.values():
        if value.ndim == 4:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({key: value for key, value in state.items() if not key.startswith("layer4")}, path)
    return str(path)


@pytest.fixture
def category(small_category):
    return read_category(small_category, "parts")


@pytest.fixture
def samples(category):
    return [*category.train_good, *category.defects["scratch"], *category.defects["spot"]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(name, weights=None, *, seed=0, checks=0, **changes) -> AnomalibDetector:
    detector = DETECTORS.get(name)
    changes = {"image_size": max(SMALL.image_size, detector.least_side)} | changes
    config = BenchmarkConfig(weights=weights, oracle_checks=checks, anomalib=replace(SMALL, **changes))
    return detector(config, seed=seed, device="cpu")


def images_of(samples):
    return [np.asarray(Image.open(sample.image)) for sample in samples]


def trained_maps(name, weights, samples, images, **changes):
    detector = make(name, weights, **changes)
    detector.fit(samples, no_progress)
    return list(detector.predict(images))


# --- all of them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_is_registered_under_its_name_and_says_what_it_learns_from(name):
    import anomalib.models.image

    detector, text = DETECTORS.get(name), DETECTORS.entries()[name]
    assert detector.name == name and hasattr(anomalib.models.image, detector.model_name)
    assert detector.uses_anomalies is ("uses anomalies" in text)
    assert detector.uses_anomalies is ("good images" not in text)


def test_every_image_model_of_anomalib_is_registered_or_left_out_for_a_reason():
    import anomalib.models.image

    ours = {DETECTORS.get(name).model_name for name in NAMES}
    left_out = {"WinClip", "VlmAd", "AnomalyVFM", "CFM", "Dfkde", "Ganomaly"}
    assert set(anomalib.models.image.__all__) == ours | left_out


@pytest.mark.parametrize("name", [name for name in NAMES if name != "draem"])
def test_what_cannot_be_downloaded_is_one_line_that_says_what_to_do(name, capfd):
    with pytest.raises(BackboneError, match=r"connect once.*(HF_HOME|TORCH_HOME|XDG_CACHE_HOME)") as caught:
        make(name, backbone=TRANSFORMERS.get(name, "resnet18"), image_size=256)
    assert "\n" not in str(caught.value) and "--weights" in str(caught.value)


@pytest.mark.parametrize("name", RUN)
def test_maps_are_finite_in_order_reproducible_and_without_a_trace(
    name, weights, samples, tmp_path, monkeypatch, capfd, caplog
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    create, level = timm.create_model, logging.getLogger("lightning.pytorch").level
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    samples = samples[::2]
    images = [*images_of(samples), np.zeros((50, 80), np.uint8)]  # two batches; grey, of another shape
    found = trained_maps(name, weights, samples, images)
    again = trained_maps(name, weights, samples, iter(images))

    side = max(64, DETECTORS.get(name).least_side)
    assert len(found) == len(images)
    for answer in found:
        assert answer.scores.shape == (side, side) and answer.scores.dtype == np.float32
        assert np.isfinite(answer.scores).all() and np.isfinite(answer.score)
        assert isinstance(answer.score, float)
    for one, two in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.scores, two.scores)
        assert one.score == two.score

    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    assert timm.create_model is create
    assert logging.getLogger("lightning.pytorch").level == level
    assert list(empty.iterdir()) == []
    assert capfd.readouterr() == ("", "") and caplog.records == []


def test_another_seed_gives_other_maps(weights, samples):
    images = images_of(samples[:1])
    first, second = (trained_maps("patchcore", weights, samples, images, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first[0].scores, second[0].scores)


@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_an_obvious_defect_stands_out(name, weights, category):
    good = images_of(category.test_good)
    bad = [image.copy() for image in good]
    for image in bad:
        image[24:40, 40:56] = (255, 0, 0)
    found = trained_maps(name, weights, category.train_good, good + bad)
    assert max(answer.score for answer in found[:3]) < min(answer.score for answer in found[3:])
    for answer in found[3:]:
        y, x = np.unravel_index(answer.scores.argmax(), answer.scores.shape)
        assert 18 <= y <= 40 and 32 <= x <= 54  # of 64 px, with a margin


# --- training --------------------------------------------------------------------------------------------


def test_checkpoints_change_nothing_in_the_training_and_see_the_detector_ready(weights, samples):
    images = images_of(samples[:2])

    def trained(checks):
        detector, seen = make("stfpm", weights, checks=checks, max_epochs=3), []

        def look():
            seen.append([answer.scores for answer in detector.predict(images)])
            torch.rand(3), np.random.rand()

        detector.fit(samples, no_progress, look)
        return detector, seen

    plain, never = trained(0)
    checked, seen = trained(3)
    assert never == [] and len(seen) == 3
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, checked.model.state_dict()[key]), key
    np.testing.assert_array_equal(seen[-1], [answer.scores for answer in plain.predict(images)])
    assert not np.array_equal(seen[0], seen[1])


def test_what_is_fitted_in_one_go_has_no_checkpoints(weights, samples):
    make("padim", weights, checks=3).fit(samples, no_progress, lambda: pytest.fail("called"))


def test_anomalies_change_nothing_where_a_detector_says_so(weights, category, samples):
    images = images_of(samples[:2])
    with_them = trained_maps("stfpm", weights, samples, images)
    without = trained_maps("stfpm", weights, category.train_good, images)
    np.testing.assert_array_equal(with_them[0].scores, without[0].scores)


def test_anomalies_and_their_masks_change_what_supersimplenet_learns(weights, category, samples):
    good, scratches = list(category.train_good), list(category.defects["scratch"])
    assert DETECTORS.get("supersimplenet").uses_anomalies
    masks = [sample.mask for sample in scratches]
    moved = [replace(s, mask=mask) for s, mask in zip(scratches, [*masks[1:], masks[0]], strict=True)]
    images = images_of(samples[:1])
    first = trained_maps("supersimplenet", weights, [*good, *scratches], images)
    second = trained_maps("supersimplenet", weights, [*good, *moved], images)
    assert not np.array_equal(first[0].scores, second[0].scores)


def test_half_of_what_supersimplenet_draws_is_normal_and_every_kind_of_anomaly_is_as_likely(category):
    spots = category.defects["spot"]
    synthetic = [replace(sample, is_synthetic=True) for sample in spots] * 5
    samples = [*category.train_good, *category.defects["scratch"][:1], *spots, *synthetic]
    shares = np.array(TrainingImages(samples, 32, lambda image: image, no_progress).weights())
    shares /= shares.sum()
    groups = np.split(shares, np.cumsum([6, 1, 4]))
    assert [group.sum() for group in groups] == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert all(np.ptp(group) < 1e-12 for group in groups)


def test_good_images_can_be_fewer(weights, samples):
    detector = make("patchcore", weights, good_images=3, coreset_sampling_ratio=0.5)
    detector.fit(samples, no_progress)
    assert len(detector.model.model.memory_bank) == 3 * 8 * 8 // 2


def test_ctrl_c_in_a_training_is_a_keyboard_interrupt_and_works_again_afterwards(weights, samples):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("stfpm", weights, checks=1).fit(samples, no_progress, interrupt)
    assert signal.getsignal(signal.SIGINT) is handler


def test_progress_is_reported_for_all_that_takes_time(weights, samples):
    seen = {}

    def progress(iterable=None, total=None, desc="", unit="it"):
        bar = no_progress(iterable, total=total, desc=desc, unit=unit)
        seen[desc] = total if iterable is None else len(iterable)
        return bar

    make("patchcore", weights).fit(samples, progress)
    assert seen == {"reading images": 6, "training patchcore": 2, "choosing patches": 76 - 1}


# --- errors ----------------------------------------------------------------------------------------------


def test_sizes_are_those_a_model_can_take():
    config = BenchmarkConfig(anomalib=AnomalibConfig(image_size=256))
    with pytest.raises(BackboneError):  # made for 252 px, then no weights
        DETECTORS.get("anomaly_dino")(config, seed=0, device="cpu")
    for name, changes, words in (
        ("efficient_ad", {"image_size": 128}, "image_size must be at least 256 for efficient_ad, not 128"),
        ("patchcore", {"image_size": 16}, "image_size must be at least 32"),
        ("patchcore", {"batch_size": 0}, "batch_size must be at least 1"),
    ):
        with pytest.raises(RecipeError, match=words):
            make(name, **changes)


def test_settings_a_model_cannot_take_are_one_line(weights):
    for name, changes, words in (
        ("patchcore", {"backbone": "resnet81"}, r"timm has no network 'resnet81'.*resnet18"),
        ("patchcore", {"layers": ("layer2", "layer9")}, "no layer 'layer9'.*layer1"),
        ("dfm", {"layers": ("layer9",)}, "no layer 'layer9'"),
        ("fastflow", {"backbone": "resnet34"}, "fastflow cannot be made.*resnet34 is not supported"),
    ):
        with pytest.raises(RecipeError, match=words) as caught:
            make(name, weights if "layers" in changes else None, **changes)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="source_images must be a folder"):
        make("draem", source_images="no/such/folder")


def test_samples_it_needs_and_lacks_are_named(weights, category, samples):
    with pytest.raises(DataError, match="patchcore learns from normal images, but was given 0 normal and 4"):
        make("patchcore", weights).fit(category.defects["spot"], no_progress)
    with pytest.raises(DataError, match="normal and anomalous images, but was given 6 normal and 0"):
        make("supersimplenet", weights).fit(category.train_good, no_progress)


def test_a_diverged_training_is_an_error_of_its_own(weights, samples):
    detector = make("stfpm", weights)
    detector.fit(samples, no_progress)
    next(detector.model.model.student_model.parameters()).data.fill_(torch.nan)
    with pytest.raises(DataError, match="stfpm gives maps that are not finite"):
        list(detector.predict(images_of(samples[:1])))


def test_weights_that_do_not_fit_are_named(weights, tmp_path):
    state = torch.load(weights)
    torch.save({key: value for key, value in state.items() if "layer3.0" not in key}, tmp_path / "less.pth")
    torch.save({"conv1.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "other.pth")
    (tmp_path / "notes.pth").write_text("not weights")
    for file, changes, words in (
        ("none.pth", {}, "none.pth do not exist"),
        ("notes.pth", {}, "notes.pth are not those of resnet18"),
        ("less.pth", {}, "tensors are missing, such as layer3.0.conv1.weight"),
        ("other.pth", {}, "are not those of resnet18"),
    ):
        with pytest.raises(BackboneError, match=words) as caught:
            make("patchcore", str(tmp_path / file), **changes)
        assert "\n" not in str(caught.value)
    with pytest.raises(BackboneError, match=r"layer4.*"):
        make("cflow", weights)  # its layers are 2 to 4
    assert make("cflow", weights, layers=("layer1", "layer2")).model.model.pool_layers == ["layer1", "layer2"]


def test_the_weights_of_the_file_are_those_that_are_used(weights):
    state = torch.load(weights)
    network = make("patchcore", weights).model.model.feature_extractor.feature_extractor
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_images_are_normalised_where_the_model_wants_it(weights, category):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    padim, draem = make("padim", weights), make("draem", image_size=70)
    assert draem.image_size == 64  # a multiple of 32
    normalised, plain = (
        TrainingImages(category.train_good[:1], 64, detector.transform, no_progress)[0].image
        for detector in (padim, draem)
    )
    assert 0 <= plain.min() < plain.max() <= 1
    torch.testing.assert_close(normalised.as_subclass(torch.Tensor), (plain - mean) / std)
