"""Rows of a batch that are alike are computed once, and remembered for the next batches."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

Rows = Tensor | list[Tensor]
"""(B, ...), or several of these, such as a trajectory."""


class Once:
    """Computes functions of a batch's rows once for rows with the same key.

    What is computed is computed `size` rows at a time, filled up where fewer are left: a row's result then
    does not depend on how many rows of its batch were new.

    Args:
        size: rows a computation.
        remembered: keys whose results are kept for later batches; those used longest ago are forgotten.
    """

    def __init__(self, size: int, remembered: int):
        self._size, self._remembered = size, remembered
        self._known: OrderedDict[Hashable, dict[str, Rows]] = OrderedDict()

    def forget(self) -> None:
        """Remember nothing."""
        self._known.clear()

    def rows(self, keys: Sequence[Hashable]) -> Callable[..., Rows]:
        """For a batch with a key for each row: ``once(name, function, *tensors)``.

        It gives `function(*tensors)`, a tensor (B, ...) or a list of them, in which row i must depend on row
        i of the tensors alone, and that on its key alone. `name` tells functions apart.
        """
        for key in keys:
            self._known.setdefault(key, {})
            self._known.move_to_end(key)
        while len(self._known) > max(self._remembered, len(set(keys))):
            self._known.popitem(last=False)

        def once(name: str, function: Callable[..., Rows], *tensors: Tensor) -> Rows:
            new = {key: row for row, key in reversed([*enumerate(keys)]) if name not in self._known[key]}
            new = dict(sorted(new.items(), key=lambda item: item[1]))
            for start in range(0, len(new), self._size):
                chunk = [*new.items()][start : start + self._size]
                rows = [row for _, row in chunk]
                rows += rows[-1:] * (self._size - len(rows))
                made = function(*(tensor[rows] for tensor in tensors))
                for number, (key, _) in enumerate(chunk):
                    of_row = [part[number] for part in made] if isinstance(made, list) else made[number]
                    self._known[key][name] = of_row
            results = [self._known[key][name] for key in keys]
            if isinstance(results[0], list):
                return [torch.stack(parts) for parts in zip(*results, strict=True)]
            return torch.stack(results)

        return once


def each_row(name: str, function: Callable[..., Rows], *tensors: Tensor) -> Rows:
    """What takes the place of `Once.rows` where nothing is shared: the function of the whole batch."""
    return function(*tensors)


def row_keys(*tensors: Tensor) -> list[bytes]:
    """A key for each row, the same for rows that are equal in all tensors (B, ...), bit for bit."""
    digests = [hashlib.sha256() for _ in tensors[0]]
    for tensor in tensors:
        for digest, row in zip(digests, tensor.detach().cpu(), strict=True):
            digest.update(row.contiguous().numpy().tobytes())
    return [digest.digest() for digest in digests]
