"""Rows that are alike are computed once."""

from __future__ import annotations

import torch

from augment.backbones.once import Once, each_row, row_keys


def test_like_rows_are_computed_once_in_batches_of_one_size():
    calls = []

    def double(x):
        calls.append(x.tolist())
        return 2 * x

    once = Once(2, 4).rows(["a", "b", "a", "c"])
    assert once("double", double, torch.tensor([1.0, 2, 1, 3])).tolist() == [2, 4, 2, 6]
    assert calls == [[1, 2], [3, 3]]


def test_results_are_remembered_by_name_and_forgotten_by_age():
    calls = []

    def noted(x):
        calls.append(x.tolist())
        return x + 1

    memory = Once(1, 2)
    for keys, name in ((["a"], "f"), (["a"], "f"), (["a"], "g"), (["b"], "f"), (["c"], "f"), (["a"], "f")):
        assert memory.rows(keys)(name, noted, torch.ones(1)).tolist() == [2]
    assert len(calls) == 5  # only the second was known: "a" was forgotten when "c" came
    assert len(memory.rows(["a", "b", "c", "d"])("f", noted, torch.ones(4))) == 4  # a batch is held whole


def test_lists_of_tensors_come_back_as_lists():
    once = Once(2, 2).rows(["a", "a", "b"])
    first, second = once("pair", lambda x: [x, -x], torch.tensor([1.0, 1, 5]))
    assert first.tolist() == [1, 1, 5] and second.tolist() == [-1, -1, -5]
    assert each_row("pair", lambda x: [x], torch.ones(2))[0].tolist() == [1, 1]


def test_keys_tell_rows_apart_by_every_tensor():
    x = torch.tensor([[1.0, 2], [1, 2], [1, 2]])
    y = torch.tensor([[0.0], [0], [1]])
    keys = row_keys(x, y)
    assert keys[0] == keys[1] != keys[2]
    assert row_keys(x)[0] == row_keys(x)[2]
