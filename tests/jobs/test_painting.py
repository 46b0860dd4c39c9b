"""What is made of a generated window: which mask is written, and what is pasted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.jobs.painting import PaintJob, paint
from augment.methods.base import Generated
from augment.recipe import Recipe

SIZE = Recipe().backbone.resolution


class Bayed:
    """Turns its masks white, all but a bay that reaches to their middle."""

    def __init__(self, drawn: bool) -> None:
        self.drawn = drawn

    def generate(self, images, masks, generators, references=None, examples=None) -> Generated:
        refined = masks.clone()
        middle = SIZE // 2
        refined[..., middle - 2 : middle + 2, middle:] = 0
        white = images * (1 - refined) + refined
        failed = torch.zeros(len(images))
        return Generated(white, refined, failed.bool(), failed, drawn=self.drawn)


def painted(drawn: bool, closing: float):
    image, mask = np.full((SIZE, SIZE), 60, np.uint8), np.zeros((SIZE, SIZE), bool)
    quarter = SIZE // 4
    mask[quarter:-quarter, quarter:-quarter] = True
    recipe = replace(Recipe(), window=replace(Recipe().window, full_frame=True))
    recipe = replace(recipe, synthesize=replace(recipe.synthesize, closing=closing, feather=0))
    job = PaintJob(image, mask, torch.Generator().manual_seed(0))
    return mask, paint(Bayed(drawn), [job], recipe)[0]


def test_a_narrow_bay_of_a_refined_mask_is_closed_within_the_target():
    mask, found = painted(drawn=False, closing=0.15)
    assert np.array_equal(found.mask, mask)
    bay = found.image == 60
    assert bay[mask].any() and bay[~mask].all()  # nothing was painted there; all else is


@pytest.mark.parametrize(("drawn", "closing"), [(True, 0.15), (False, 0.0)])
def test_a_shape_that_was_drawn_keeps_it_and_so_does_any_with_closing_off(drawn, closing):
    mask, found = painted(drawn, closing)
    assert np.array_equal(found.mask, mask & (found.image > 60))
    assert found.mask.sum() < mask.sum()
