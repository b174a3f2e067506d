"""The baseline with a lossy memory of another kind: keys and values that leave the window are averaged four at a time, and the most recent
averages are attended to like tokens (Compressive Transformer, arXiv 1911.05507, with mean pooling). Nothing is learned."""

from __future__ import annotations

import torch
from torch import Tensor

from reasonry.accel.ahn.memory import Window
from reasonry.nn.attention import Attend, Site, attention


def pooled(window: Window, slots: int, block: int = 4) -> Attend:
    """Attention over whole sequences: sinks, window, and the last `slots` averages of `block` tokens that have all left the window."""

    def attend(site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T, s = q.shape[1], window.sinks
        blocks = max((T - s) // block, 0)
        t = torch.arange(T, device=q.device)[:, None]
        j, last = t.T, s + block * (torch.arange(blocks, device=q.device)[None, :] + 1) - 1
        near = (j <= t) & ((j < s) | (t - j < window.size))
        gone = last <= t - window.size
        kept = gone & (gone.sum(1, keepdim=True) - torch.arange(blocks, device=q.device) <= slots)
        keys, values = (torch.cat((y, y[:, s : s + block * blocks].unflatten(1, (blocks, block)).mean(2)), dim=1) for y in (k, v))
        return attention(q, keys, values, mask=torch.cat((near, kept), dim=1)[None, None])

    return attend


def slots_as_large(head_dim: int, heads: int, kv_heads: int) -> int:
    """As many averages as take the room of a state: K² Hq numbers against 2 K Hkv a slot."""
    return head_dim * heads // (2 * kv_heads)
