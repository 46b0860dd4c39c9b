from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from augment.errors import RecipeError
from augment.training import Trainer, step_generator


def make(**options):
    torch.manual_seed(0)
    module = nn.Linear(4, 1)
    return Trainer(module, learning_rate=0.1, warmup_steps=3, decay_steps=20, ema_decay=0.9, **options)


def loss_of(trainer):
    def loss(step):
        x = torch.randn(8, 4, generator=step_generator(5, step))
        return (trainer.module(x) - x.sum(1, keepdim=True)).square().mean()

    return loss


def test_a_resumed_training_equals_an_unbroken_one(tmp_path):
    unbroken, first, second = make(), make(), make()
    for _ in range(12):
        unbroken.step(loss_of(unbroken))
    for _ in range(5):
        first.step(loss_of(first))
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    while second.step_count < 12:
        second.step(loss_of(second))
    assert torch.equal(second.module.weight, unbroken.module.weight)
    assert torch.equal(second.average[0], unbroken.average[0])
    assert second.losses == unbroken.losses
    assert unbroken.losses[-1] < unbroken.losses[0]


@pytest.mark.parametrize("options", [{"optimizer": "fused"}, {"scale_loss": True}])
def test_a_fused_or_scaled_step_is_the_plain_one(options, tmp_path):
    plain, other, resumed = make(), make(**options), make(**options)
    for step in range(6):
        plain.step(loss_of(plain))
        other.step(loss_of(other))
        if step == 2:
            other.save(tmp_path / "checkpoint.pt")
    assert torch.allclose(other.module.weight, plain.module.weight, atol=1e-5)
    resumed.load(tmp_path / "checkpoint.pt")
    while resumed.step_count < 6:
        resumed.step(loss_of(resumed))
    assert resumed.scaler.state_dict() == other.scaler.state_dict()
    assert torch.equal(resumed.module.weight, other.module.weight)


def test_moments_in_8_bits_train_about_as_well_and_resume_exactly(tmp_path):
    pytest.importorskip("bitsandbytes")

    def train(steps, optimizer, checkpoint=None):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64))  # smaller ones keep 32 bits
        trainer = Trainer(module, learning_rate=1e-2, optimizer=optimizer)
        if checkpoint:
            trainer.load(checkpoint)
        x = torch.randn(32, 64)
        while trainer.step_count < steps:
            trainer.step(lambda step: (module(x) - x).square().mean())
        return trainer

    unbroken = train(60, "8bit")
    assert unbroken.losses[-1] < 1.5 * train(60, "adamw").losses[-1] < 0.01 * unbroken.losses[0]
    moments = unbroken.optimizer.state[unbroken.parameters[0]]
    assert moments["state1"].dtype == moments["state2"].dtype == torch.uint8
    train(20, "8bit").save(tmp_path / "checkpoint.pt")
    resumed = train(60, "8bit", tmp_path / "checkpoint.pt")
    assert all(map(torch.equal, resumed.parameters, unbroken.parameters))


def test_a_scaled_step_that_overflows_is_left_out_and_scaled_less_from_then_on():
    trainer = make(scale_loss=True)
    before, scale = trainer.module.weight.detach().clone(), trainer.scaler.get_scale()
    trainer.step(lambda step: trainer.module.weight.sum() * 1e35)
    assert torch.equal(trainer.module.weight, before) and trainer.scaler.get_scale() < scale
    trainer.step(loss_of(trainer))
    assert not torch.equal(trainer.module.weight, before)


def test_terms_of_a_loss_train_as_their_sum():
    whole, split = make(), make()
    for _ in range(4):
        whole.step(loss_of(whole))
        loss = loss_of(split)
        split.step(lambda step, loss=loss: (loss(step) * share for share in (0.25, 0.75)))
    assert torch.allclose(split.module.weight, whole.module.weight, atol=1e-5)
    assert split.losses == pytest.approx(whole.losses, rel=1e-5)


def test_an_optimizer_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(RecipeError, match="pip install bitsandbytes"):
        make(optimizer="8bit")


def test_the_average_is_used_and_put_back():
    trainer = make()
    for _ in range(5):
        trainer.step(loss_of(trainer))
    weight = trainer.module.weight.detach().clone()
    with trainer.averaged():
        assert torch.equal(trainer.module.weight, trainer.average[0])
        assert not torch.equal(trainer.module.weight, weight)
    assert torch.equal(trainer.module.weight, weight)


def test_a_loss_that_is_not_finite_stops_the_training():
    trainer = make()
    with pytest.raises(RecipeError, match="nan at step 0"):
        trainer.step(lambda step: trainer.module.weight.sum() * float("nan"))


def test_generators_depend_on_their_path_alone():
    a, b, c = (torch.randn(3, generator=step_generator(*path)) for path in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(a, b) and not torch.equal(a, c)
