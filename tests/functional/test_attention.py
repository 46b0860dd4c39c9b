from __future__ import annotations

import math

import pytest
import torch

from augment.functional.attention import (
    background_self_attention,
    defect_share,
    masked_cross_attention,
    resize_to_tokens,
)


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(2, 2, 6, 4, generator=generator)
    key, value = torch.randn(2, 2, 2, 10, 4, generator=generator)  # 2 L = 10
    return query, key, value


def softmax_attention(query, keys, values):
    """One position's attention, by the definition."""
    weights = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in keys]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def test_masked_cross_attention_equals_a_literal_reference(qkv):
    query, key, value = qkv
    inside = torch.tensor([[1.0, 0, 0, 1, 0.25, 1], [0, 0, 0, 0, 0, 1]])
    out = masked_cross_attention(query, key, value, inside)
    for b in range(2):
        for h in range(2):
            for n in range(6):
                first = softmax_attention(query[b, h, n], key[b, h, :5], value[b, h, :5])
                background = softmax_attention(query[b, h, n], key[b, h, 5:], value[b, h, 5:])
                expected = inside[b, n] * first + (1 - inside[b, n]) * background
                assert torch.allclose(out[b, h, n], expected, atol=1e-5)


def test_outside_the_mask_the_first_prompt_is_not_seen(qkv):
    query, key, value = qkv
    inside = torch.zeros(2, 6)
    inside[:, :2] = 1
    other = value.clone()
    other[:, :, :5] += 7
    a, b = (masked_cross_attention(query, key, v, inside) for v in (value, other))
    assert torch.equal(a[:, :, 2:], b[:, :, 2:])
    assert not torch.allclose(a[:, :, :2], b[:, :, :2])


def test_hidden_keys_do_not_matter(qkv):
    _, key, value = qkv
    inside = torch.tensor([[0.0, 1, 0, 0.5] + [0] * 6, [0.0] * 10])
    other = value.clone()
    other[0, :, 1] += 9
    other[0, :, 3] -= 9
    assert torch.equal(*(background_self_attention(key, key, v, inside) for v in (value, other)))


def test_a_mask_over_everything_hides_nothing(qkv):
    _, key, value = qkv
    plain = torch.nn.functional.scaled_dot_product_attention(key, key, value)
    assert torch.allclose(background_self_attention(key, key, value, torch.ones(2, 10)), plain, atol=1e-6)


def test_defect_share_is_a_half_between_equal_prompts(qkv):
    query, key, _ = qkv
    twin = torch.cat([key[:, :, :5], key[:, :, :5]], dim=2)
    content = torch.tensor([[False, True, True, False, False] * 2] * 2)
    share = defect_share(query, twin, content)
    assert torch.allclose(share, torch.full_like(share, 0.5), atol=1e-6)


def test_defect_share_ignores_tokens_without_content_and_the_number_of_words(qkv):
    query, key, _ = qkv
    content = torch.tensor([[False, True, False, False, False, False, False, True, False, False]] * 2)
    share = defect_share(query, key, content)
    loud = key.clone()
    loud[:, :, 0] += 50  # the start token
    assert torch.allclose(share, defect_share(query, loud, content))
    doubled = key.clone()
    doubled[:, :, 2] = doubled[:, :, 1]  # the same word twice
    twice = content.clone()
    twice[:, 2] = True
    assert torch.allclose(share, defect_share(query, doubled, twice), atol=1e-6)
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize(("tokens", "side"), [(64, 8), (16, 4), (4, 2), (1, 1)])
def test_masks_are_averaged_to_the_level(tokens, side):
    m = torch.zeros(1, 1, 8, 8)
    m[0, 0, 0, 0] = 1
    inside = resize_to_tokens(m, tokens)
    assert inside.shape == (1, tokens)
    assert float(inside[0, 0]) == pytest.approx((side / 8) ** 2)
    assert float(inside.sum()) == pytest.approx((side / 8) ** 2)


def test_odd_grids_round_up_as_a_unet_does():
    assert resize_to_tokens(torch.ones(1, 1, 9, 5), 5 * 3).shape == (1, 15)
    with pytest.raises(ValueError, match="no level"):
        resize_to_tokens(torch.ones(1, 1, 8, 8), 15)
