"""Other packages' random draws, seeded and without a trace."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def random_states(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Put the global random states of Python, numpy and torch back as they were, whatever is drawn inside.

    Args:
        device: its state is put back too.
        seed: where all of them start inside; None: where they are.
    """
    own = {"cuda": torch.cuda, "mps": torch.mps}.get(device.type)
    with contextlib.ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        device_state = own.get_rng_state() if own else None
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                torch.default_generator.manual_seed(seed)
                if own:
                    own.manual_seed(seed)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
            if own:
                own.set_rng_state(device_state)
