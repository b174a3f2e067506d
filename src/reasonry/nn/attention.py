"""What a block attends to, as a function.

A network computes queries, keys and values; what they meet is the *memory*'s business: a plain causal prefix, an explicit mask, an
engine's key–value pool, a compressed state. So attention is a value handed to the forward pass, and a network never learns which it is.

Letters: B rows, T new tokens, S tokens attended to, Hq query heads, Hkv key–value heads, K head size, D width.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor


class Site(NamedTuple):
    """Where attention happens: a block, and how often a layer program has run it before (each pass has keys and values of its own)."""

    layer: int
    pass_: int = 0


class Attend(Protocol):
    """(site, x [B, T, D] the block's normalised input, q [B, T, Hq, K], k and v [B, T, Hkv, K], rotated) -> [B, T, Hq, K]."""

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attends."""
        ...


class EditKV(Protocol):
    """Changes keys and values before rotation: (site, k [B, T, Hkv, K], v) -> (k, v)."""

    def __call__(self, site: Site, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Edits."""
        ...


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(q kᵀ / √K + mask) v with grouped heads: q [B, T, Hq, K], k and v [B, S, Hkv, K] -> [B, T, Hq, K].

    `mask` is boolean (true: may attend) or additive, broadcastable to [B, Hq, T, S].
    """
    grouped = q.shape[2] != k.shape[2]
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )
    return out.transpose(1, 2)


def causal() -> Attend:
    """Each token sees itself and all before it; nothing is kept."""

    def attend(site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, causal=True)

    return attend


def masked(mask: Tensor) -> Attend:
    """Attention under an explicit mask [B or 1, T, T], true where a query may look; see `nn.masks` for builders."""

    def attend(site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, mask=mask[:, None])

    return attend
