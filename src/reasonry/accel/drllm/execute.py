"""Rows with programs of their own, computed together: block by block, those rows that run it.

Without a cache: for searching, for features and for experiments. `engine` is the way to text. Invariant: a row's numbers are those of
`Decoder.forward` with that row's program, up to the rounding of products with another number of rows.

Letters: B rows, T tokens, D width, L blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import Site, causal

Choose = Callable[[int, Tensor], Tensor]
"""(block, x [B, T, D] entering it) -> how often it runs for each row: [B], 0, 1 or 2."""


def fixed(counts: Tensor) -> Choose:
    """Programs that are known beforehand: counts [B, L]."""
    return lambda layer, x: counts[:, layer]


def execute(decoder: Decoder, ids: Tensor, choose: Choose) -> tuple[Tensor, Tensor]:
    """ids [B, T], padded on the right where they differ in length -> hidden states [B, T, D] after the final norm, and counts [B, L]."""
    x = decoder.embed_tokens(ids)
    cos, sin = decoder.rotation(torch.arange(ids.shape[1], device=ids.device).expand_as(ids), x.dtype)
    attend, counts = causal(), []
    for layer, block in enumerate(decoder.layers):
        n = choose(layer, x)
        counts.append(n)
        for done in range(int(n.max())):
            rows = n > done
            if bool(rows.all()):
                x = block(Site(layer, done), x, (cos, sin), attend, None, None)
            else:
                x = x.clone()
                x[rows] = block(Site(layer, done), x[rows], (cos[rows], sin[rows]), attend, None, None)
    return decoder.norm(x), torch.stack(counts, dim=1)
