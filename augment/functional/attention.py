"""Masked attention (Eq. 10, 11, 12) and the defect's share of it (Eq. 13)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_cross_attention(query: Tensor, key: Tensor, value: Tensor, inside: Tensor) -> Tensor:
    """Eq. (10), (11). Cross-attention under C = [C_first, C_bg]: two softmaxes, blended by the mask.

    A position inside the mask attends to the first prompt only, one outside to the background prompt only.

    Args:
        query: (B, heads, N, d), N positions of the layer.
        key, value: (B, heads, 2 L, d), the first prompt's L tokens, then the background prompt's L tokens.
        inside: (B, N) mask resized to the layer, in [0, 1]; 1 = inside.

    Returns:
        (B, heads, N, d).
    """
    key_first, key_background = key.chunk(2, dim=2)
    value_first, value_background = value.chunk(2, dim=2)
    first = F.scaled_dot_product_attention(query, key_first, value_first)
    background = F.scaled_dot_product_attention(query, key_background, value_background)
    inside = inside[:, None, :, None].to(query.dtype)
    return inside * first + (1 - inside) * background


def background_self_attention(query: Tensor, key: Tensor, value: Tensor, inside: Tensor) -> Tensor:
    """Eq. (12), sharpened. Self-attention in which positions inside the hole offer no keys.

    Eq. (12) itself only takes the defect out of the input; the hole's (empty) positions still take part in
    the softmax. Here they do not. A mask that covers the whole layer hides nothing.

    Args:
        query, key, value: (B, heads, N, d).
        inside: (B, N) mask resized to the layer; any value above 0 is hidden.

    Returns:
        (B, heads, N, d).
    """
    visible = inside <= 0
    visible = visible | ~visible.any(dim=1, keepdim=True)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None, :])


def defect_share(query: Tensor, key: Tensor, content: Tensor) -> Tensor:
    """Eq. (13). How much of each position's attention the defect prompt takes from the background prompt.

    Differs from the paper: its softmax is over the tokens of one prompt, where a single defect token is 1
    everywhere and the start token takes nearly everything. Here the softmax runs over the content tokens of
    both prompts together, so that 1/2 means "the defect explains this position as well as the background".

    Args:
        query: (B, heads, N, d).
        key: (B, heads, 2 L, d), defect prompt first.
        content: (B, 2 L) bool, the content tokens (no start, end or padding).

    Returns:
        (B, N) in [0, 1], mean over heads.
    """
    logits = query.float() @ key.float().transpose(-1, -2) / query.shape[-1] ** 0.5  # (B, heads, N, 2L)
    logits = logits.masked_fill(~content[:, None, None, :], float("-inf"))
    first, background = logits.chunk(2, dim=-1)
    # Log-mean rather than log-sum: the prompt with more words must not win for that.
    n_first, n_background = (
        half.sum(dim=1).clamp(min=1).log()[:, None, None] for half in content.chunk(2, dim=1)
    )
    difference = (first.logsumexp(-1) - n_first) - (background.logsumexp(-1) - n_background)
    return torch.sigmoid(difference).mean(dim=1)


def resize_to_tokens(m: Tensor, tokens: int) -> Tensor:
    """A latent mask at the resolution of an attention layer: area-averaged, so soft at its edge.

    A U-Net halves its grid (rounding up) at each level; the level is found from the number of positions.

    Args:
        m: (B, 1, h, w) in [0, 1].
        tokens: N, the layer's number of positions.

    Returns:
        (B, N) in [0, 1].

    Raises:
        ValueError: no level of the grid has `tokens` positions.
    """
    height, width = m.shape[-2:]
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise ValueError(f"A grid of {m.shape[-2]} x {m.shape[-1]} has no level of {tokens} positions.")
    return F.interpolate(m.float(), size=(height, width), mode="area").flatten(1)
