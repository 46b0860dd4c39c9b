from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from augment.data.layouts import read_category
from augment.detectors import unet
from augment.detectors.resizing import resize_image, resize_mask
from augment.detectors.unet import UNetDetector, focal_loss, initial_network, pooling_window
from augment.errors import DataError, RecipeError
from augment.metrics.detection import detection_scores
from augment.progress import no_progress
from augment.recipe import BenchmarkConfig, UNetConfig

SMALL = BenchmarkConfig(
    unet=UNetConfig(image_size=64, base_width=4, epochs=1, steps_per_epoch=3, batch_size=4, good_images=4)
)


def with_unet(**changes) -> BenchmarkConfig:
    return replace(SMALL, unet=replace(SMALL.unet, **changes))


@pytest.fixture
def samples(small_category):
    category = read_category(small_category, "parts")
    return [*category.train_good, *category.defects["scratch"], *category.defects["spot"]]


def images_of(samples):
    return [np.asarray(Image.open(sample.image)) for sample in samples]


def test_learns_to_find_the_defects_it_was_shown(samples):
    config = with_unet(epochs=40, steps_per_epoch=3, batch_size=8, learning_rate=3e-3, good_images=None)
    detector = UNetDetector(config, seed=0, device="cpu")
    detector.fit(samples, no_progress)
    maps = list(detector.predict(images_of(samples)))
    masks = [
        np.zeros((64, 64), bool)
        if sample.mask is None
        else resize_mask(np.asarray(Image.open(sample.mask)) > 0, (64, 64))
        for sample in samples
    ]
    labels = [mask.any() for mask in masks]
    scores = detection_scores([m.scores for m in maps], masks, [m.score for m in maps], labels)
    assert scores["pixel_auroc"] > 0.9 and scores["pixel_ap"] > 0.5


def test_the_same_seed_gives_the_same_maps_and_leaves_global_random_states_alone(samples):
    def maps(seed, **changes):
        detector = UNetDetector(with_unet(**changes), seed=seed, device="cpu")
        detector.fit(samples, no_progress)
        return np.stack([found.scores for found in detector.predict(images_of(samples[:2]))])

    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = maps(0)
    np.testing.assert_array_equal(first, maps(0))
    assert not np.array_equal(first, maps(1))
    assert not np.array_equal(first, maps(0, flips=True))
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_checkpoints_change_nothing_in_the_training_and_see_the_detector_ready(samples):
    images = images_of(samples[:3])

    def trained(checks):
        config = replace(with_unet(epochs=2, steps_per_epoch=5), oracle_checks=checks)
        detector = UNetDetector(config, seed=0, device="cpu")
        seen = []

        def look():
            seen.append([found.scores for found in detector.predict(images)])
            torch.rand(3), np.random.rand()
            detector.network.eval()

        detector.fit(samples, no_progress, look)
        return detector, seen

    plain, never = trained(0)
    checked, seen = trained(4)
    assert never == [] and len(seen) == 4
    assert checked.network.training and plain.network.training
    for key, value in plain.network.state_dict().items():
        assert torch.equal(value, checked.network.state_dict()[key]), key
    np.testing.assert_array_equal(seen[-1], [found.scores for found in plain.predict(images)])
    assert not np.array_equal(seen[0], seen[1])


def test_maps_have_the_detectors_size_whatever_the_images_have(samples):
    detector = UNetDetector(SMALL, seed=0, device="cpu")
    images = [np.zeros((50, 80, 3), np.uint8), np.zeros((200, 90), np.uint8)] * 3  # more than a batch
    found = list(detector.predict(iter(images)))
    assert len(found) == 6
    for answer in found:
        assert answer.scores.shape == (64, 64) and answer.scores.dtype == np.float32
        assert 0 <= answer.scores.min() <= answer.score <= answer.scores.max() <= 1
    assert list(detector.predict([])) == []


def test_half_of_a_batch_is_normal_and_defect_types_are_balanced(samples, monkeypatch):
    seen = []

    def record(logits, mask, gamma):
        seen.append(mask.flatten(1).any(dim=1).tolist())
        return focal_loss(logits, mask, gamma)

    monkeypatch.setattr(unet, "focal_loss", record)
    UNetDetector(SMALL, seed=0, device="cpu").fit(samples, no_progress)
    assert seen == [[False, False, True, True]] * 3


def test_the_learning_rate_falls_at_80_and_90_percent(samples, monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def record(self, *arguments, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    config = with_unet(steps_per_epoch=10, learning_rate=1e-3)
    UNetDetector(config, seed=0, device="cpu").fit(samples, no_progress)
    assert rates == pytest.approx([1e-3] * 8 + [2e-4, 4e-5])


def test_steps_without_a_number_are_one_pass_an_epoch(samples, monkeypatch):
    steps = []
    monkeypatch.setattr(unet, "focal_loss", lambda *arguments: steps.append(1) or focal_loss(*arguments))
    UNetDetector(with_unet(steps_per_epoch=None, epochs=2), seed=0, device="cpu").fit(samples, no_progress)
    assert len(steps) == 2 * 3  # 4 good + 8 defects, 4 a batch


def test_focal_loss_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 6, generator=generator)
    mask = torch.rand(2, 5, 6, generator=generator) > 0.5
    probability = logits.softmax(dim=1)
    p = torch.where(mask, probability[:, 1], probability[:, 0])
    for gamma in (0.0, 2.0):
        torch.testing.assert_close(focal_loss(logits, mask, gamma), (-((1 - p) ** gamma) * p.log()).mean())
    torch.testing.assert_close(
        focal_loss(logits, mask, 0.0), torch.nn.functional.cross_entropy(logits, mask.long())
    )


def test_turned_images_keep_their_masks():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    mask = image[..., 0] > 120
    views = set()
    for _ in range(60):
        turned, turned_mask = unet._turned(image, mask, rng)
        np.testing.assert_array_equal(turned[..., 0] > 120, turned_mask)
        views.add(turned.tobytes())
    assert len(views) == 8


def test_pooling_scales_with_the_image():
    assert [pooling_window(size) for size in (256, 128, 512)] == [21, 11, 41]


def test_resizing():
    grey = np.full((10, 20), 7, np.uint8)
    assert resize_image(grey, 32).shape == (32, 32, 3)
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    assert resize_mask(mask, (8, 2)).tolist() == [[True, False]] * 4 + [[False, False]] * 4


def test_weights_start_as_published():
    network = initial_network(16, seed=0)
    assert network.down[3][0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.down[3][1].weight.mean().item() == pytest.approx(1, abs=0.01)


def test_errors_name_what_is_wrong(samples):
    with pytest.raises(RecipeError, match=r"image_size.*multiple of 32.*100"):
        UNetDetector(with_unet(image_size=100), seed=0, device="cpu")
    with pytest.raises(RecipeError, match="batch_size"):
        UNetDetector(with_unet(batch_size=1), seed=0, device="cpu")
    good = [sample for sample in samples if sample.mask is None]
    with pytest.raises(DataError, match="6 normal and 0 anomalous"):
        UNetDetector(SMALL, seed=0, device="cpu").fit(good, no_progress)
    with pytest.raises(DataError, match="0 normal and 8 anomalous"):
        UNetDetector(SMALL, seed=0, device="cpu").fit(samples[6:], no_progress)


def test_the_estimate_grows_with_the_steps_and_changes_nothing(samples):
    short, long = (UNetDetector(with_unet(epochs=epochs), seed=0, device="cpu") for epochs in (10, 1000))
    before = copy.deepcopy(long.network.state_dict())
    assert 0 < short.estimate(samples) < long.estimate(samples)
    assert all(torch.equal(value, before[name]) for name, value in long.network.state_dict().items())


def test_the_last_layer_learns_at_a_rate_of_its_own(samples):
    def moved(rate):
        detector = UNetDetector(with_unet(head_learning_rate=rate), seed=0, device="cpu")
        before = copy.deepcopy(detector.network.state_dict())
        detector.fit(samples, no_progress)
        after = detector.network.state_dict()
        names = ("head.bias", "down.0.0.bias")
        return {name: float((after[name] - before[name]).abs().max()) for name in names}

    one, ten = moved(None), moved(10 * SMALL.unet.learning_rate)
    assert ten["head.bias"] == pytest.approx(10 * one["head.bias"], rel=0.2)  # Adam: about the rate a step
    assert ten["down.0.0.bias"] <= 1.5 * SMALL.unet.learning_rate * 3
