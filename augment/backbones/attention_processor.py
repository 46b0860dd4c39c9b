"""The paper's masked attention as a diffusers attention processor.

Install it once with `unet.set_attn_processor(MaskedAttentionProcessor())`; each call then names its regions:
``unet(z, t, C, cross_attention_kwargs={"region": AttentionRegion(m)})``. Without a region it is plain
scaled-dot-product attention.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from augment.functional.attention import (
    background_self_attention,
    defect_share,
    masked_cross_attention,
    resize_to_tokens,
)


@dataclass
class AttentionRecorder:
    """Collects Eq. (13)'s defect share over layers and steps, at the latent grid's resolution.

    Attributes:
        content: (B, 2 L) bool, the content tokens of [C_def, C_bg].
        total: (B, 1, h, w) sum of the shares recorded so far; None before the first.
        count: number of maps in `total`.
    """

    content: Tensor
    total: Tensor | None = None
    count: int = 0

    def record(self, query: Tensor, key: Tensor, grid: tuple[int, int]) -> None:
        """Add one layer's share, if the layer is of middle resolution (a half or a quarter of the grid)."""
        tokens = query.shape[2]
        for scale in (2, 4):
            height, width = -(-grid[0] // scale), -(-grid[1] // scale)
            if tokens == height * width:
                share = defect_share(query, key, self.content).unflatten(1, (1, height, width))
                share = F.interpolate(share, size=grid, mode="bilinear", align_corners=False)
                self.total = share if self.total is None else self.total + share
                self.count += 1

    def mean(self) -> Tensor:
        """(B, 1, h, w) mean share in [0, 1].

        Raises:
            ValueError: no layer was recorded.
        """
        if self.total is None:
            raise ValueError("No cross-attention layer works at a half or a quarter of the latent grid.")
        return self.total / self.count


@dataclass
class AttentionRegion:
    """Where the first prompt rules (m = 1), and what the layers do there.

    Attributes:
        m: (B, 1, h, w) mask on the latent grid in {0, 1}.
        hide_keys: (B,) bool, the rows whose hole offers no keys in self-attention; None: no row.
        recorder: collects Eq. (13)'s maps from the cross-attention layers; None: nothing is materialised.
    """

    m: Tensor
    hide_keys: Tensor | None = None
    recorder: AttentionRecorder | None = None
    _resized: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def inside(self, tokens: int) -> Tensor:
        """(B, N) the mask at a layer of N positions, computed once a resolution."""
        if tokens not in self._resized:
            self._resized[tokens] = resize_to_tokens(self.m, tokens)
        return self._resized[tokens]

    def split(self, rows: int) -> list[AttentionRegion]:
        """The region of every `rows` rows, each with a recorder of its own where this one has one."""
        count = -(-len(self.m) // rows)
        hide = [None] * count if self.hide_keys is None else self.hide_keys.split(rows)
        content = [None] * count if self.recorder is None else self.recorder.content.split(rows)
        return [
            AttentionRegion(m, hide_keys=h, recorder=None if c is None else AttentionRecorder(c))
            for m, h, c in zip(self.m.split(rows), hide, content, strict=True)
        ]

    def take_records(self, parts: list[AttentionRegion]) -> None:
        """Record what the recorders of `split` have recorded."""
        if self.recorder is None or parts[0].recorder.total is None:
            return
        total = torch.cat([part.recorder.total for part in parts])
        self.recorder.total = total if self.recorder.total is None else self.recorder.total + total
        self.recorder.count += parts[0].recorder.count


class MaskedAttentionProcessor:
    """Eq. (10), (11) in cross-attention, Eq. (12) in self-attention; plain attention without a region."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        region: AttentionRegion | None = None,
    ) -> Tensor:
        """Attention of (B, N, channels) positions to themselves, or to (B, 2 L, d) prompt tokens."""
        if hidden_states.ndim != 3 or attention_mask is not None:
            raise ValueError(
                "Masked attention works on (B, N, channels) positions without an attention mask."
            )
        is_cross = encoder_hidden_states is not None
        context = encoder_hidden_states if encoder_hidden_states is not None else hidden_states
        query, key, value = (
            states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (B, heads, positions, d)
            for states in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        tokens = hidden_states.shape[1]
        if is_cross and region is not None:
            out = masked_cross_attention(query, key, value, region.inside(tokens))
            if region.recorder is not None:
                region.recorder.record(query, key, tuple(region.m.shape[-2:]))
        elif not is_cross and region is not None and region.hide_keys is not None:
            hidden = region.inside(tokens) * region.hide_keys[:, None]
            out = background_self_attention(query, key, value, hidden)
        else:
            out = F.scaled_dot_product_attention(query, key, value)
        out = out.transpose(1, 2).flatten(2).to(hidden_states.dtype)
        return attn.to_out[1](attn.to_out[0](out))


def stack_regions(m: Tensor, n_defect: int, hide_background_keys: bool) -> AttentionRegion:
    """The region of one batched forward: `n_defect` rows under C_1, the rest background rows under C_2.

    Args:
        m: (B, 1, h, w).
        n_defect: number of leading rows that see the defect.
        hide_background_keys: hide the hole's keys in the background rows.
    """
    if not hide_background_keys:
        return AttentionRegion(m)
    return AttentionRegion(m, hide_keys=torch.arange(len(m), device=m.device) >= n_defect)
