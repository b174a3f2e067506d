"""Recorded model calls as one flat batch for the trainer's own network, and the log-probabilities it gives them.

Invariants. Nothing is padded in the network's matrix products, and a token that several rows have in common *with all before it* (the
prompt of a group, the query of every chunk, an answer given twice) is computed once. Attention is computed row by row, so no row sees
another. At most one chunk of logits is alive, forward or backward. Values and gradients are those of scoring the rows one at a time.

Letters: R rows, U distinct tokens (nodes of the trie of all rows), N trained tokens, W distinct ones among them, L tokens of a row,
D width, V vocabulary, Hq and Hkv query and key–value heads, K head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reasonry.core import Ids, Segment, UserError
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import Site, attention

LOGITS = 1 << 24
"""Logits made at once; bounds the memory of a large vocabulary."""
WASTE = 1.25
"""Most that padding may blow up a bucket of rows inside attention, where alone rows are padded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model call to be scored on its own context. Made from a segment, gone after the update."""

    ids: Ids
    """Context, then sampled ids."""
    positions: Ids
    """Position of each of `ids`."""
    trained: tuple[int, ...]
    """Places in `ids` of the tokens that carry loss, rising."""


def row_of(segment: Segment) -> Row:
    """The row of a segment, its mask respected. Raises UserError for one without ids, or whose attention is no plain causal prefix."""
    if segment.context is None or segment.ids is None:
        raise UserError(
            f"train: a segment with role {segment.role!r} has no token ids, so it can be read but not trained; use a local model"
        )
    if segment.groups is not None:
        raise UserError(
            f"train: a segment with role {segment.role!r} has attention groups, which this trainer cannot rebuild; leave it out"
        )
    if not segment.context:
        raise UserError(f"train: a segment with role {segment.role!r} has an empty context; a first token has no probability")
    ids = segment.context + segment.ids
    start = len(segment.context)
    mask = segment.mask if segment.mask is not None else (True,) * len(segment.ids)
    trained = tuple(start + i for i, on in enumerate(mask) if on)
    return Row(ids, segment.positions or tuple(range(len(ids))), trained)


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows laid out flat. An `Attend` for the decoder as well: it gathers each row's tokens, attends causally, and puts them back."""

    ids: Tensor
    """[U] int64."""
    positions: Tensor
    """[U] int64."""
    buckets: tuple[Tensor, ...]
    """Each [R', L']: which of the U tokens stand where in rows of like length; short rows repeat their last token behind their end."""
    back: Tensor
    """[U]: where each token's result stands among all buckets' results."""
    before: Tensor
    """[W]: the tokens of U whose hidden states predict a trained token."""
    wanted: Tensor
    """[W]: the ids they predict; each pair once."""
    spread: Tensor
    """[N]: where among the W pairs each trained token's is; in the order of the rows."""

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [1, U, Hq, K], k and v [1, U, Hkv, K] -> [1, U, Hq, K]."""
        out = [attention(q[0, at], k[0, at], v[0, at], causal=True).flatten(0, 1) for at in self.buckets]
        return torch.cat(out)[self.back][None]


def lay_out(rows: Sequence[Row], device: torch.device) -> Layout:
    """Merges the rows' common beginnings and sorts what is left into buckets. Tokens after a row's last trained one are left out."""
    nodes: dict[tuple[int, int, int], int] = {}
    paths: list[list[int]] = []
    pairs: dict[tuple[int, int], int] = {}
    spread: list[int] = []
    for row in rows:
        if not row.trained:
            continue
        node, path = -1, []
        for token, position in zip(row.ids[: row.trained[-1]], row.positions, strict=False):
            node = nodes.setdefault((node, token, position), len(nodes))
            path.append(node)
        paths.append(path)
        spread += [pairs.setdefault((path[i - 1], row.ids[i]), len(pairs)) for i in row.trained]

    owned = [False] * len(nodes)
    leaves: list[list[int]] = []
    for path in sorted(paths, key=len, reverse=True):
        if not owned[path[-1]]:  # a row that is the beginning of another needs no place of its own
            leaves.append(path)
            for node in path:
                owned[node] = True

    back = [0] * len(nodes)
    buckets: list[Tensor] = []
    offset = 0
    for bucket in _buckets(leaves):
        width = len(bucket[0])
        for r, path in enumerate(bucket):
            for column, node in enumerate(path):
                back[node] = offset + r * width + column
        buckets.append(torch.tensor([path + path[-1:] * (width - len(path)) for path in bucket], device=device))
        offset += len(bucket) * width
    keys = torch.tensor(list(nodes), dtype=torch.int64, device=device).reshape(-1, 3)
    predicted = torch.tensor(list(pairs), dtype=torch.int64, device=device).reshape(-1, 2)
    return Layout(
        ids=keys[:, 1],
        positions=keys[:, 2],
        buckets=tuple(buckets),
        back=torch.tensor(back, dtype=torch.int64, device=device),
        before=predicted[:, 0],
        wanted=predicted[:, 1],
        spread=torch.tensor(spread, dtype=torch.int64, device=device),
    )


def _buckets(paths: list[list[int]]) -> list[list[list[int]]]:
    """Paths, longest first, cut where padding would outgrow `WASTE`."""
    cuts: list[list[list[int]]] = []
    real = 0
    for path in paths:
        if cuts and len(cuts[-1][0]) * (len(cuts[-1]) + 1) <= WASTE * (real + len(path)):
            cuts[-1].append(path)
            real += len(path)
        else:
            cuts.append([path])
            real = len(path)
    return cuts


Read = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""(logits [n, V] in fp32, chosen ids [n]) -> what is wanted of them, each [n]."""


def chosen(logits: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """(log π of the chosen ids,)."""
    return (-F.cross_entropy(logits, ids, reduction="none"),)


def chosen_and_entropy(logits: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """(log π of the chosen ids, entropy of π in nats)."""
    logp = logits.log_softmax(-1)
    return logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


def read(decoder: Decoder, layout: Layout, temperature: float, what: Read = chosen) -> tuple[Tensor, ...]:
    """What `what` says of every trained token under the decoder's distribution at `temperature`; each [N] in fp32, differentiable.

    Chunks of logits are made again in the backward pass instead of being kept; a batch that is a single chunk keeps it.
    """
    hidden = decoder(layout.ids[None], layout.positions[None], layout).last[0][layout.before]

    def some(states: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        return what(decoder.logits(states).float() / temperature, ids)

    size = max(LOGITS // decoder.config.vocab_size, 1)
    if len(hidden) <= size:
        return tuple(x[layout.spread] for x in some(hidden, layout.wanted))
    parts = zip(hidden.split(size), layout.wanted.split(size), strict=True)
    chunks = [checkpoint(some, states, ids, use_reentrant=False, preserve_rng_state=False) for states, ids in parts]
    return tuple(torch.cat(column)[layout.spread] for column in zip(*chunks, strict=True))
