from __future__ import annotations

import pytest
import torch
from torch import nn

from augment.errors import RecipeError
from augment.training import Trainer, step_generator


def make():
    torch.manual_seed(0)
    module = nn.Linear(4, 1)
    return Trainer(module, learning_rate=0.1, warmup_steps=3, decay_steps=20, ema_decay=0.9)


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
